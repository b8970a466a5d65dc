"""A store in memory: fast, copied in no time, of a size to be chosen, and the ground the crash simulation stands on."""

import errno
import os
from collections.abc import Sequence
from threading import RLock

from tests.support.image import PAGE, Image
from vaultfs.store.api import Space

Folder = dict[str, Image | None]
"""What a folder holds: its objects' images, and None for each folder in it."""

_ENDLESS = 1 << 50


def failure(code: int, path: str = "") -> OSError:
    """The OSError (of the right subclass) the kernel would answer with."""
    return OSError(code, os.strerror(code), path)


class MemoryFile:
    """One open object of a `MemoryStore` (see `StoreFile`); renaming and deleting do not trouble it."""

    def __init__(self, store: "MemoryStore", image: Image, *, write: bool) -> None:
        self._store = store
        self._image: Image | None = image
        self._write = write

    def _open(self, *, write: bool = False) -> Image:
        if self._image is None or (write and not self._write):
            raise failure(errno.EBADF)
        return self._image

    def read(self, size: int, offset: int) -> bytes:
        with self._store.lock:
            return self._open().read(size, offset)

    def read_cached(self, buffer: bytearray | memoryview, offset: int) -> int | None:
        if self._store.cold:
            return None
        data = self.read(len(buffer), offset)
        buffer[: len(data)] = data
        return len(data)

    def write(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        data = b"".join(buffers)
        with self._store.lock:
            image = self._open(write=True)
            self._store.take(image.new_pages(len(data), offset))
            image.write(data, offset)

    def read_ahead(self, size: int, offset: int) -> None:
        pass

    def write_back(self) -> None:
        pass

    def allocate(self, size: int) -> None:
        with self._store.lock:
            image = self._open(write=True)
            if self._store.allocates:
                self._store.take(image.new_pages(size, 0))
                image.allocate(size)

    def truncate(self, size: int) -> None:
        with self._store.lock:
            image = self._open(write=True)
            before = image.pages
            image.truncate(size)
            self._store.take(image.pages - before)

    def sync(self) -> None:
        self._open()

    def size(self) -> int:
        return self._open().size

    def close(self) -> None:
        self._image = None


class MemoryStore:
    """A `Store` of at most `capacity` bytes in whole pages; `allocates` says whether its files can reserve room.

    What is deleted frees its room at once, even while it is open. While it is `cold`, nothing can be read without
    waiting.
    """

    def __init__(
        self,
        tree: dict[str, Folder] | None = None,
        *,
        writable: bool = True,
        capacity: int | None = None,
        allocates: bool = True,
        cold: bool = False,
        description: str = "memory",
    ) -> None:
        """The images in `tree` stay as they are: each is copied when it is opened."""
        self.lock = RLock()
        self.tree = {"": {}} if tree is None else tree
        self.writable = writable
        self.capacity = capacity
        self.allocates = allocates
        self.cold = cold
        self.description = description
        self._used = 0
        if capacity is not None:
            self._used = PAGE * sum(image.pages for folder in self.tree.values() for image in folder.values() if image)
        self._own: set[int] = set()

    def copy(self, *, writable: bool = True) -> "MemoryStore":
        """A store with the same content that changes on its own from now on."""
        with self.lock:
            tree: dict[str, Folder] = {
                path: {name: image and image.copy() for name, image in folder.items()}
                for path, folder in self.tree.items()
            }
            return MemoryStore(
                tree, writable=writable, capacity=self.capacity, allocates=self.allocates, cold=self.cold
            )

    def take(self, pages: int) -> None:
        """Count pages as used. Raises OSError(ENOSPC)."""
        if self.capacity is None:
            return
        if pages > 0 and self._used + pages * PAGE > self.capacity:
            raise failure(errno.ENOSPC)
        self._used += pages * PAGE

    def open(self, path: str, *, write: bool = False) -> MemoryFile:
        with self.lock:
            folder, name = self._place(path, write=write)
            if name not in folder:
                raise failure(errno.ENOENT, path)
            image = folder[name]
            if image is None:
                raise failure(errno.EINVAL, path)
            if id(image) not in self._own:
                image = folder[name] = image.copy()
                self._own.add(id(image))
            return MemoryFile(self, image, write=write)

    def create(self, path: str) -> MemoryFile:
        with self.lock:
            folder, name = self._place(path, write=True)
            if name in folder:
                raise failure(errno.EEXIST, path)
            image = folder[name] = Image()
            self._own.add(id(image))
            return MemoryFile(self, image, write=True)

    def exists(self, path: str) -> bool:
        with self.lock:
            try:
                folder, name = self._place(path)
            except FileNotFoundError:
                return False
            if name in folder and folder[name] is None:
                raise failure(errno.EINVAL, path)
            return name in folder

    def delete(self, path: str) -> None:
        with self.lock:
            folder, name = self._place(path, write=True)
            if name not in folder:
                raise failure(errno.ENOENT, path)
            image = folder[name]
            if image is None:
                raise failure(errno.EISDIR, path)
            del folder[name]
            self.take(-image.pages)

    def rename(self, old: str, new: str) -> None:
        with self.lock:
            folder, name = self._place(old, write=True)
            new_folder, new_name = self._place(new, write=True)
            if name not in folder:
                raise failure(errno.ENOENT, old)
            replaced = new_folder.get(new_name)
            if folder[name] is None or (new_name in new_folder and replaced is None):
                raise failure(errno.EISDIR, new)
            if replaced is not None and replaced is not folder[name]:
                self.take(-replaced.pages)
            new_folder[new_name] = folder.pop(name)

    def make_folder(self, path: str) -> None:
        with self.lock:
            folder, name = self._place(path, write=True)
            if folder.get(name) is not None:
                raise failure(errno.EINVAL, path)
            folder[name] = None
            self.tree.setdefault(path, {})

    def names(self, folder: str) -> list[str]:
        with self.lock:
            return sorted(self._folder(folder))

    def sync_folder(self, folder: str) -> None:
        self._folder(folder)

    def space(self) -> Space:
        total = _ENDLESS if self.capacity is None else self.capacity
        free = max(total - self._used, 0)
        return Space(total, free, free)

    def close(self) -> None:
        """Nothing is held."""

    def _folder(self, path: str) -> Folder:
        """The folder's content, or the kernel's error for a path that leads to none."""
        if (found := self.tree.get(path)) is not None:
            return found
        folder, name = self._place(path)
        raise failure(errno.EINVAL if name in folder else errno.ENOENT, path)

    def _place(self, path: str, *, write: bool = False) -> tuple[Folder, str]:
        """The folder and the name in it."""
        folder, slash, name = path.rpartition("/")
        if name in ("", ".", "..") or (slash and not folder):
            raise failure(errno.EINVAL, path)
        if write and not self.writable:
            raise failure(errno.EROFS, path)
        return self._folder(folder), name
