"""A store that writes down, in order, everything that changes it, for the crash simulation to play back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock

from tests.support.memorystore import MemoryFile, MemoryStore
from vaultfs.store.api import Space

GONE = 0
"""In a `Step`: the name is taken away."""
FOLDER = -1
"""In a `Step`: the name becomes a folder."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written to the file `node`; files are numbered from 1 and keep their number whatever their name."""

    node: int
    offset: int
    data: bytes = field(repr=False)
    size: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file cut or lengthened to `size` bytes."""

    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Allocate:
    """A file lengthened to `size` bytes, if it was shorter."""

    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Sync:
    """A file's sync that succeeded."""

    node: int


@dataclass(frozen=True, slots=True)
class FailedSync:
    """A file's sync that failed: no later one makes the changes before it durable (fsync(2))."""

    node: int


@dataclass(frozen=True, slots=True)
class Step:
    """A name in a folder that from now on means a file (its number), FOLDER, or GONE."""

    folder: str
    name: str
    node: int


@dataclass(frozen=True, slots=True)
class Names:
    """A creation or deletion (one step), or a rename (the new name, then the old one)."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class SyncFolder:
    """A folder's sync that succeeded."""

    folder: str


FileChange = Write | Truncate | Allocate
Operation = FileChange | Sync | FailedSync | Names | SyncFolder


class OperationLog:
    """The operations in the order they took effect, and the durable state they started from."""

    def __init__(self, initial: MemoryStore) -> None:
        self.initial = initial
        self.operations: list[Operation] = []
        self.nodes: dict[str, int] = {}
        """The files' numbers by path, as of now."""
        self.initial_nodes: dict[str, int] = {}
        self.lock = RLock()
        self._last_node = 0
        for folder, content in initial.tree.items():
            for name, image in content.items():
                if image is not None:
                    path = f"{folder}/{name}" if folder else name
                    self.initial_nodes[path] = self.new_node(path)

    def __len__(self) -> int:
        return len(self.operations)

    def new_node(self, path: str) -> int:
        """Number a new file."""
        self._last_node += 1
        self.nodes[path] = self._last_node
        return self._last_node

    def append(self, operation: Operation) -> None:
        """Write an operation down."""
        self.operations.append(operation)


class RecordedFile:
    """One open object of a `RecordingStore` (see `StoreFile`)."""

    def __init__(self, inner: MemoryFile, log: OperationLog, node: int) -> None:
        self._inner = inner
        self._log = log
        self._node = node

    def read(self, size: int, offset: int) -> bytes:
        return self._inner.read(size, offset)

    def read_cached(self, buffer: bytearray | memoryview, offset: int) -> int | None:
        return self._inner.read_cached(buffer, offset)

    def write(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        data = b"".join(buffers)
        with self._log.lock:
            self._inner.write([data], offset)
            self._log.append(Write(self._node, offset, data, len(data)))

    def read_ahead(self, size: int, offset: int) -> None:
        pass

    def write_back(self) -> None:
        pass

    def allocate(self, size: int) -> None:
        with self._log.lock:
            before = self._inner.size()
            self._inner.allocate(size)
            if self._inner.size() != before:
                self._log.append(Allocate(self._node, size))

    def truncate(self, size: int) -> None:
        with self._log.lock:
            self._inner.truncate(size)
            self._log.append(Truncate(self._node, size))

    def sync(self) -> None:
        with self._log.lock:
            self._inner.sync()
            self._log.append(Sync(self._node))

    def fail_sync(self) -> None:
        """Write down that a sync failed."""
        with self._log.lock:
            self._log.append(FailedSync(self._node))

    def size(self) -> int:
        return self._inner.size()

    def close(self) -> None:
        self._inner.close()


class RecordingStore:
    """A `Store` over a `MemoryStore`, whose present content counts as durable."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner
        self.log = OperationLog(inner.copy())

    @property
    def writable(self) -> bool:
        return self._inner.writable

    @property
    def description(self) -> str:
        return f"recorded {self._inner.description}"

    def open(self, path: str, *, write: bool = False) -> RecordedFile:
        with self.log.lock:
            return RecordedFile(self._inner.open(path, write=write), self.log, self.log.nodes[path])

    def create(self, path: str) -> RecordedFile:
        with self.log.lock:
            file = self._inner.create(path)
            node = self.log.new_node(path)
            self.log.append(Names((_step(path, node),)))
            return RecordedFile(file, self.log, node)

    def exists(self, path: str) -> bool:
        return self._inner.exists(path)

    def delete(self, path: str) -> None:
        with self.log.lock:
            self._inner.delete(path)
            del self.log.nodes[path]
            self.log.append(Names((_step(path, GONE),)))

    def rename(self, old: str, new: str) -> None:
        with self.log.lock:
            self._inner.rename(old, new)
            if old == new:
                return
            node = self.log.nodes[new] = self.log.nodes.pop(old)
            self.log.append(Names((_step(new, node), _step(old, GONE))))

    def make_folder(self, path: str) -> None:
        with self.log.lock:
            known = path in self._inner.tree
            self._inner.make_folder(path)
            if not known:
                self.log.append(Names((_step(path, FOLDER),)))

    def names(self, folder: str) -> list[str]:
        return self._inner.names(folder)

    def sync_folder(self, folder: str) -> None:
        with self.log.lock:
            self._inner.sync_folder(folder)
            self.log.append(SyncFolder(folder))

    def space(self) -> Space:
        return self._inner.space()

    def close(self) -> None:
        self._inner.close()


def _step(path: str, node: int) -> Step:
    folder, _, name = path.rpartition("/")
    return Step(folder, name, node)
