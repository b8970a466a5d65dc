"""What the filesystem asks of a store; a local directory today, an object store later.

Paths are relative, `/`-separated and lower-case ASCII (`objects/ab/cdef…`, `root.0`, `journal/00000001`).
Offsets and sizes are bytes. Every method may raise `OSError` with the errno of the real failure;
none retries a failed sync. A store and its files may be used from several threads at once.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Space:
    """Room in the store: all sizes in bytes, `available` is what an ordinary user may still use."""

    total: int
    free: int
    available: int


class StoreFile(Protocol):
    """An open object. Positions are absolute: there is no file offset. Losing the last reference closes it."""

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset`; fewer only at the end of the object."""
        ...

    def read_cached(self, buffer: bytearray | memoryview, offset: int) -> int | None:
        """Fill the buffer from `offset` as far as `read` would, and say how far.

        None instead of waiting for the disk (preadv2(2), RWF_NOWAIT): the buffer holds anything then.
        """
        ...

    def read_ahead(self, size: int, offset: int) -> None:
        """Have `size` bytes from `offset` brought in, so that reading them need not wait soon.

        A hint: it never fails. Of more than a MiB it may wait for most itself.
        """
        ...

    def write(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        """Write all the buffers, one after the other, at `offset`; a short write is an OSError.

        Memoryviews are of single bytes. After an OSError any part of the bytes may have been written.
        """
        ...

    def allocate(self, size: int) -> None:
        """Make room for the first `size` bytes and lengthen the object to them, or do nothing.

        Overwriting and syncing them needs no more room then, and as little else as the store can arrange. A store
        that cannot reserve room does nothing: the object keeps its length. New bytes read as zeros. Raises
        OSError(ENOSPC) when there is no such room; the object may have grown by then.
        """
        ...

    def truncate(self, size: int) -> None:
        """Set the object's length in bytes."""
        ...

    def write_back(self) -> None:
        """Have what was written carried to the disk, so that a sync has less to wait for. A hint: never fails."""
        ...

    def sync(self) -> None:
        """Make the object's content and length durable (fdatasync(2)); its name is its folder's business.

        After an OSError nothing is known of any unsynced byte, and a later success does not change that.
        """
        ...

    def size(self) -> int:
        """The object's length in bytes."""
        ...

    def close(self) -> None:
        """Close; a failure to write back that surfaces here is raised."""
        ...


class Store(Protocol):
    """A folder of objects, reached relative to one directory descriptor."""

    @property
    def writable(self) -> bool:
        """Whether the store was opened for writing."""
        ...

    @property
    def description(self) -> str:
        """Where the store is, for messages."""
        ...

    def open(self, path: str, *, write: bool = False) -> StoreFile:
        """Open a regular file. FileNotFoundError if missing; OSError(EINVAL) for anything but a regular file."""
        ...

    def create(self, path: str) -> StoreFile:
        """Make a new, empty object open for reading and writing (O_EXCL); FileExistsError if taken."""
        ...

    def exists(self, path: str) -> bool:
        """Whether an object of that path is there; OSError(EINVAL) for anything but a regular file."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; FileNotFoundError if missing."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give an object another path, replacing what is there."""
        ...

    def make_folder(self, path: str) -> None:
        """Make a folder; nothing happens if it is there. OSError(EINVAL) if anything else is."""
        ...

    def names(self, folder: str) -> list[str]:
        """The names in a folder (`""` is the store itself), of objects, folders and whatever else is there, sorted."""
        ...

    def sync_folder(self, folder: str) -> None:
        """Make creations, renames and deletions in a folder durable (fsync(2)); a store without such syncs returns."""
        ...

    def space(self) -> Space:
        """Room left (statvfs(3))."""
        ...

    def close(self) -> None:
        """Release the store; open objects stay usable."""
        ...


def read_file(store: Store, path: str) -> bytes:
    """All of a stored file; raises OSError."""
    file = store.open(path)
    try:
        return file.read(file.size(), 0)
    finally:
        file.close()


def write_new_file(store: Store, path: str, buffers: Sequence[bytes]) -> None:
    """Make a file of these bytes, durable once the folders it is in are; raises OSError, also if it is there."""
    file = store.create(path)
    try:
        file.write(buffers, 0)
        file.sync()
    finally:
        file.close()


def is_failure(error: Exception) -> bool:
    """Whether a store or its disk fails, and not what is in it: an object that is missing or none at all is no failure.

    `error` is an OSError, or a Damaged that was made of one.
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno not in (errno.ENOENT, errno.EINVAL)
