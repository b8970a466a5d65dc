"""A store in a local directory: every access goes through descriptors below one directory descriptor."""

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Self

from vaultfs.store.api import Space
from vaultfs.store.descriptors import not_regular, open_folder, open_regular, open_root
from vaultfs.store.linux import fallocate, start_write_back, will_need

_LARGE = 1 << 20  # bytes
_IOV_MAX = os.sysconf("SC_IOV_MAX")
# The layout has 259 folders; their descriptors are kept open, so that opening an object is one openat(2).
_MAX_FOLDERS = 300
_UNTOLD = 1 << 50
_ZEROS = memoryview(bytes(1 << 20))
# A number no descriptor can have (the kernel's sysctl nr_open stays below it), and Python lets through to EBADF.
_CLOSED = 0x7FFF_FFFF


class DirectoryFile:
    """One open object of a `DirectoryStore` (see `store.api.StoreFile`)."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # What is read is asked for whole, and what comes next is said by `read_ahead`: the kernel's guess would only
        # read twice as much around each chunk.
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        if self._fd != _CLOSED:
            os.close(self._fd)

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the object."""
        if size > _LARGE:
            self.read_ahead(size, offset)
        data = os.pread(self._fd, size, offset)
        if len(data) == size or not data:
            return data
        return self._read_on(data, size, offset)

    def _read_on(self, data: bytes, size: int, offset: int) -> bytes:
        parts = [data]
        done = len(data)
        while done < size and (data := os.pread(self._fd, size - done, offset + done)):
            parts.append(data)
            done += len(data)
        return b"".join(parts)

    def read_cached(self, buffer: bytearray | memoryview, offset: int) -> int | None:
        """Like `read`, into a buffer, but None instead of waiting for the disk."""
        try:
            done = os.preadv(self._fd, (buffer,), offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return None
            raise
        # A short read is either the end of the object or the end of what is cached.
        return None if done < len(buffer) and offset + done < self.size() else done

    def read_ahead(self, size: int, offset: int) -> None:
        """Have the kernel read these bytes into the page cache; of a large part that is waited for."""
        with contextlib.suppress(OSError):
            if size > _LARGE:
                self._read_through(size, offset)
            else:
                will_need(self._fd, offset, size)

    def _read_through(self, size: int, offset: int) -> None:
        """Send them to nowhere, which copies nothing.

        The kernel reads ahead of whoever reads on and on by itself, into larger pages and with less work than by any
        advice: in half the time. That takes a descriptor of its own, whose reads are not said to be random.
        """
        end = offset + size
        fd = os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            with open(os.devnull, "wb", buffering=0) as nowhere:
                while offset < end and (sent := os.sendfile(nowhere.fileno(), fd, offset, end - offset)):
                    offset += sent
        finally:
            os.close(fd)

    def write(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        """Write all the buffers, one after the other, at `offset`."""
        total = sum(map(len, buffers))
        if len(buffers) > _IOV_MAX:
            buffers = (b"".join(buffers),)
        done = os.pwritev(self._fd, buffers, offset)
        if done != total:
            self._write_on(b"".join(buffers), done, offset)

    def _write_on(self, data: bytes, done: int, offset: int) -> None:
        """Go on after a short write: usually the next one tells why (ENOSPC, EDQUOT, EIO)."""
        view = memoryview(data)
        while done < len(view):
            step = os.pwrite(self._fd, view[done:], offset + done)
            if step == 0:
                raise OSError(errno.EIO, "the store took no more bytes")
            done += step

    def allocate(self, size: int) -> None:
        """Make room for `size` bytes where the file system can, and fill what is new with zeros.

        Room that is only reserved (fallocate(2) alone) costs a commit of the file system's own journal whenever bytes
        in it are synced for the first time: 1.5 times the time of an fdatasync(2) that finds written blocks.
        """
        start = self.size()
        if size > start and fallocate(self._fd, size):
            for offset in range(start, size, len(_ZEROS)):
                self.write((_ZEROS[: size - offset],), offset)

    def truncate(self, size: int) -> None:
        """Set the object's length in bytes."""
        os.ftruncate(self._fd, size)

    def write_back(self) -> None:
        """Have the kernel begin to write dirty pages, without waiting for them."""
        start_write_back(self._fd)

    def sync(self) -> None:
        """Make the object's content and length durable (fdatasync(2))."""
        os.fdatasync(self._fd)

    def size(self) -> int:
        """The object's length in bytes."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        """Close; every later use fails with EBADF."""
        fd, self._fd = self._fd, _CLOSED
        if fd != _CLOSED:
            os.close(fd)


class DirectoryStore:
    """A `store.api.Store` in the directory `path`, which may itself be reached through links; nothing below may.

    Raises StoreUnusable if there is no such directory, or it cannot be read (or written, for `write`).
    """

    def __init__(self, path: str | Path, *, write: bool) -> None:
        self._description = os.fspath(path)
        self._writable = write
        self._lock = Lock()
        self._folders = {"": open_root(self._description, write=write)}

    @property
    def writable(self) -> bool:
        """Whether the store was opened for writing."""
        return self._writable

    @property
    def description(self) -> str:
        """The path the store was opened by."""
        return self._description

    def open(self, path: str, *, write: bool = False) -> DirectoryFile:
        """Open a regular file. FileNotFoundError if missing; OSError(EINVAL) for anything but a regular file."""
        parent, name = self._place(path)
        return DirectoryFile(open_regular(name, os.O_RDWR if write else os.O_RDONLY, parent, path))

    def create(self, path: str) -> DirectoryFile:
        """Make a new, empty object open for reading and writing; FileExistsError if taken."""
        parent, name = self._place(path)
        return DirectoryFile(open_regular(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, parent, path))

    def exists(self, path: str) -> bool:
        """Whether a regular file is there; OSError(EINVAL) if something else is."""
        try:
            parent, name = self._place(path)
            mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(mode):
            raise not_regular(path)
        return True

    def delete(self, path: str) -> None:
        """Remove an object; FileNotFoundError if missing."""
        parent, name = self._place(path)
        os.unlink(name, dir_fd=parent)

    def rename(self, old: str, new: str) -> None:
        """Give an object another path, replacing what is there."""
        old_parent, old_name = self._place(old)
        new_parent, new_name = self._place(new)
        os.rename(old_name, new_name, src_dir_fd=old_parent, dst_dir_fd=new_parent)

    def make_folder(self, path: str) -> None:
        """Make a folder; nothing happens if it is there. OSError(EINVAL) if something else is."""
        parent, name = self._place(path)
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            os.close(open_folder(name, parent, path))

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted."""
        # A descriptor of its own: listing moves the position, which the kept one shares with every thread.
        fd = open_folder(".", self._folder(folder), folder)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def sync_folder(self, folder: str) -> None:
        """Make creations, renames and deletions in a folder durable (fsync(2))."""
        fd = self._folder(folder)
        try:
            os.fsync(fd)
        except OSError as error:
            # File systems that cannot sync a folder (FAT by FUSE, SMB) say so like this; EIO is a real failure.
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise

    def space(self) -> Space:
        """Room left (statvfs(3)); a file system that does not tell, as some by FUSE, has all one could want."""
        found = os.statvfs(self._folder(""))
        if not found.f_blocks:
            return Space(_UNTOLD, _UNTOLD, _UNTOLD)
        unit = found.f_frsize
        return Space(found.f_blocks * unit, found.f_bfree * unit, found.f_bavail * unit)

    def close(self) -> None:
        """Release the store's descriptors; open objects stay usable."""
        with self._lock:
            folders, self._folders = self._folders, {}
        for fd in folders.values():
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, path: str) -> tuple[int, str]:
        """The folder's descriptor, and the name in it."""
        folder, slash, name = path.rpartition("/")
        if name in ("", ".", "..") or (slash and not folder):
            raise OSError(errno.EINVAL, "not a path within the store", path)
        return self._folder(folder), name

    def _folder(self, path: str) -> int:
        """The kept descriptor of a folder; none is ever closed before the store, so none can be reused under us."""
        fd = self._folders.get(path)
        if fd is not None:
            return fd
        if not self._folders:
            raise OSError(errno.EBADF, "the store is closed", path)
        parent, name = self._place(path)
        with self._lock:
            if path not in self._folders:
                if len(self._folders) >= _MAX_FOLDERS:
                    raise OSError(errno.EMFILE, "too many folders in use", path)
                self._folders[path] = open_folder(name, parent, path)
            return self._folders[path]
