"""A store whose operations fail on request: the k-th of some kind, once or from then on, writes perhaps half done.

To see what a power cut leaves after a failure, put it on top of a `RecordingStore`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from tests.support.memorystore import failure
from tests.support.recordingstore import RecordedFile
from vaultfs.store.api import Space, Store, StoreFile

CHANGES = frozenset({"create", "delete", "rename", "make_folder", "write", "allocate", "truncate"})
SYNCS = frozenset({"sync", "sync_folder"})
READS = frozenset({"open", "exists", "names", "read", "read_cached", "size"})


@dataclass(slots=True)
class Fault:
    """Fail the operation number `at` (from 0) of those of these `kinds` whose path begins with `below`.

    With `lasting` all later ones fail too. A failing write first writes `written` bytes of what it was given.
    """

    errno: int
    at: int = 0
    kinds: frozenset[str] = CHANGES | SYNCS
    below: str = ""
    lasting: bool = False
    written: int = 0
    seen: int = 0
    """How many operations it has looked at."""
    fired: int = 0
    """How many it has failed."""

    def strikes(self, kind: str, path: str) -> bool:
        """Count an operation; whether it fails."""
        if kind not in self.kinds or not path.startswith(self.below):
            return False
        number, self.seen = self.seen, self.seen + 1
        hit = number == self.at or (self.lasting and number > self.at)
        self.fired += hit
        return hit


class FaultyFile:
    """One open object of a `FaultyStore` (see `StoreFile`)."""

    def __init__(self, inner: StoreFile, store: "FaultyStore", path: str) -> None:
        self._inner = inner
        self._store = store
        self._path = path

    def read(self, size: int, offset: int) -> bytes:
        self._store.check("read", self._path)
        return self._inner.read(size, offset)

    def read_cached(self, buffer: bytearray | memoryview, offset: int) -> int | None:
        self._store.check("read_cached", self._path)
        return self._inner.read_cached(buffer, offset)

    def write(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        fault = self._store.struck("write", self._path)
        if fault is None:
            self._inner.write(buffers, offset)
            return
        if part := b"".join(buffers)[: fault.written]:
            self._inner.write([part], offset)
        raise failure(fault.errno, self._path)

    def read_ahead(self, size: int, offset: int) -> None:
        self._inner.read_ahead(size, offset)

    def write_back(self) -> None:
        self._inner.write_back()

    def allocate(self, size: int) -> None:
        self._store.check("allocate", self._path)
        self._inner.allocate(size)

    def truncate(self, size: int) -> None:
        self._store.check("truncate", self._path)
        self._inner.truncate(size)

    def sync(self) -> None:
        fault = self._store.struck("sync", self._path)
        if fault is None:
            self._inner.sync()
            return
        if isinstance(self._inner, RecordedFile):
            self._inner.fail_sync()
        raise failure(fault.errno, self._path)

    def size(self) -> int:
        self._store.check("size", self._path)
        return self._inner.size()

    def close(self) -> None:
        self._inner.close()


class FaultyStore:
    """A `Store` over another one; it behaves until a fault is put into `faults`."""

    def __init__(self, inner: Store, *faults: Fault) -> None:
        self._inner = inner
        self.faults = list(faults)
        self._lock = Lock()

    def struck(self, kind: str, path: str) -> Fault | None:
        """The fault that makes an operation fail, if any."""
        with self._lock:
            struck = [fault for fault in self.faults if fault.strikes(kind, path)]
        return struck[0] if struck else None

    def check(self, kind: str, path: str) -> None:
        """Raise OSError if the operation is to fail."""
        if (fault := self.struck(kind, path)) is not None:
            raise failure(fault.errno, path)

    @property
    def writable(self) -> bool:
        return self._inner.writable

    @property
    def description(self) -> str:
        return f"faulty {self._inner.description}"

    def open(self, path: str, *, write: bool = False) -> FaultyFile:
        self.check("open", path)
        return FaultyFile(self._inner.open(path, write=write), self, path)

    def create(self, path: str) -> FaultyFile:
        self.check("create", path)
        return FaultyFile(self._inner.create(path), self, path)

    def exists(self, path: str) -> bool:
        self.check("exists", path)
        return self._inner.exists(path)

    def delete(self, path: str) -> None:
        self.check("delete", path)
        self._inner.delete(path)

    def rename(self, old: str, new: str) -> None:
        self.check("rename", old)
        self._inner.rename(old, new)

    def make_folder(self, path: str) -> None:
        self.check("make_folder", path)
        self._inner.make_folder(path)

    def names(self, folder: str) -> list[str]:
        self.check("names", folder)
        return self._inner.names(folder)

    def sync_folder(self, folder: str) -> None:
        self.check("sync_folder", folder)
        self._inner.sync_folder(folder)

    def space(self) -> Space:
        return self._inner.space()

    def close(self) -> None:
        self._inner.close()
