"""Keeps the store's objects open between uses, and knows which of them have changes that are not durable yet.

No descriptor is ever closed under a reader: the cache only forgets a file, and its last reference closes it.
A file with unsynced changes is never forgotten, because the kernel reports a failed write-back to descriptors
that were open when it happened (fsync(2)); so all writing goes through the cache.
"""

import contextlib
import errno
import resource
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock

from vaultfs.store.api import Store, StoreFile
from vaultfs.store.syncguard import SyncGuard

# Bytes written to an object until it is synced before anybody asks.
_MUCH = 32 << 20


class _Unsynced:
    """Something with changes that are not durable: an object, or a folder with new names in it."""

    __slots__ = ("_guard", "_sync", "busy", "changes", "path", "synced")

    def __init__(self, path: str, sync: Callable[[], None]) -> None:
        self.path = path
        self.changes = 0
        """How many changes have begun or ended, in this life as an unsynced thing."""
        self.synced = 0
        """How many of them are durable."""
        self.busy = 0
        """Changes that have begun and not ended: a sync running meanwhile need not cover them."""
        self._sync = sync
        self._guard = SyncGuard(path)

    def sync(self, lock: Lock) -> None:
        """Make the changes counted so far durable; `lock` guards the counters. OSError now means OSError for ever."""
        with lock:
            wanted = self.changes
        self._guard.run(partial(self._cover, lock, wanted))

    def _cover(self, lock: Lock, wanted: int) -> None:
        if self.synced >= wanted:
            return
        with lock:
            covered = self.changes
        self._sync()
        with lock:
            self.synced = covered

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left to sync; read under the lock that guards the counters."""
        return self.busy == 0 and self.synced == self.changes


class _UnsyncedFile(_Unsynced):
    """An unsynced object, and the open file that will be told if the kernel fails to write it back."""

    __slots__ = ("file", "written")

    def __init__(self, path: str, file: StoreFile) -> None:
        super().__init__(path, file.sync)
        self.file = file
        self.written = 0
        """The bytes written since the last sync of it began, about."""


class HandleCache:
    """Open files of a store by path; usable from several threads at once.

    Keeps about `limit` files open, more only if more are unsynced. Files are open for writing if the store is
    writable. Methods raise what the store raises.
    """

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._lock = Lock()
        self._clean: OrderedDict[str, StoreFile] = OrderedDict()
        self._unsynced: dict[str, _UnsyncedFile] = {}
        self._folders: dict[str, _Unsynced] = {}
        # Written since the last write-back, by path.
        self._written: dict[str, StoreFile] = {}
        self._drops = 0

    def get(self, path: str) -> StoreFile:
        """The object's file, for reading only. FileNotFoundError if the object is missing."""
        with self._lock:
            file = self._clean.get(path)
            if file is not None:
                self._clean.move_to_end(path)
                return file
            unsynced = self._unsynced.get(path)
            if unsynced is not None:
                return unsynced.file
        return self._get_closed(path)

    def create(self, path: str) -> None:
        """Make a new object; it and its folder are unsynced. FileExistsError if there is one."""
        file = self._with_descriptors(lambda: self._store.create(path))
        folder = path.rpartition("/")[0]
        with self._lock:
            unsynced = self._unsynced[path] = _UnsyncedFile(path, file)
            unsynced.changes += 1
            if folder not in self._folders:
                self._folders[folder] = _Unsynced(folder, partial(self._store.sync_folder, folder))
            self._folders[folder].changes += 1
            surplus = self._surplus()
        del surplus  # closes, outside the lock

    def write(self, path: str, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        """Write to an object (`StoreFile.write`), which is unsynced from now on."""
        unsynced = self._begin(path)
        try:
            unsynced.file.write(buffers, offset)
            unsynced.written += sum(map(len, buffers))
        finally:
            self._end(unsynced)

    def truncate(self, path: str, size: int) -> None:
        """Set an object's length in bytes; it is unsynced from now on."""
        unsynced = self._begin(path)
        try:
            unsynced.file.truncate(size)
        finally:
            self._end(unsynced)

    @property
    def unsynced_count(self) -> int:
        """How many objects are unsynced; each holds a descriptor."""
        return len(self._unsynced)

    def unsynced(self) -> list[str]:
        """The objects with changes that no successful sync has covered, longest waiting first."""
        with self._lock:
            return list(self._unsynced)

    def unsynced_folders(self) -> list[str]:
        """The folders with new objects whose names no successful sync has covered."""
        with self._lock:
            return list(self._folders)

    def sync(self, paths: Iterable[str]) -> None:
        """Make all changes made to these objects before the call durable; those with none cost nothing.

        An object whose sync has failed once fails every time: the kernel may have thrown the bytes away, and
        would report success for what is left (fsync(2)).
        """
        with self._lock:
            found = [unsynced for path in paths if (unsynced := self._unsynced.get(path)) is not None]
        if len(found) > 1:
            # All at once on their way, they share the commits of the file system's journal: a third of the time.
            for unsynced in found:
                unsynced.file.write_back()
        for unsynced in found:
            unsynced.written = 0
            unsynced.sync(self._lock)
            self._settle(unsynced)

    def write_back(self) -> None:
        """Have all that was written since the last call carried to the disk (`StoreFile.write_back`).

        An object that got a lot is synced: a disk may keep what it is sent in a memory of its own, and whoever syncs
        it in the end would wait for all of that. Raises OSError, which the next sync of that object does as well.
        """
        with self._lock:
            written, self._written = self._written, {}
            large = [path for path in written if self._unsynced[path].written >= _MUCH]
        for file in written.values():
            file.write_back()
        self.sync(large)

    def read_ahead(self, path: str, size: int, offset: int) -> None:
        """Have a part of an object brought in (`StoreFile.read_ahead`), if there is such an object."""
        with contextlib.suppress(OSError):
            self.get(path).read_ahead(size, offset)

    def sync_folders(self, folders: Iterable[str]) -> None:
        """Make the names of objects created in these folders before the call durable; fails as `sync` does."""
        for folder in folders:
            with self._lock:
                unsynced = self._folders.get(folder)
            if unsynced is None:
                continue
            unsynced.sync(self._lock)
            with self._lock:
                if unsynced.is_clean and self._folders.get(folder) is unsynced:
                    del self._folders[folder]

    def drop(self, path: str) -> None:
        """Forget an object that is to be deleted, unsynced changes and all."""
        with self._lock:
            self._drops += 1
            forgotten = self._clean.pop(path, None), self._unsynced.pop(path, None), self._written.pop(path, None)
        del forgotten  # closes, outside the lock

    def close(self) -> None:
        """Forget everything; what is unsynced stays so."""
        with self._lock:
            self._drops += 1
            forgotten = self._clean, self._unsynced, self._written
            self._clean, self._unsynced, self._folders, self._written = OrderedDict(), {}, {}, {}
        del forgotten  # closes, outside the lock

    def _get_closed(self, path: str) -> StoreFile:
        """Open an object that was not open a moment ago."""
        while True:
            with self._lock:
                drops = self._drops
            file = self._with_descriptors(lambda: self._store.open(path, write=self._store.writable))
            with self._lock:
                # An object dropped meanwhile may be this one, and must not come back.
                if self._drops == drops:
                    unsynced = self._unsynced.get(path)
                    file = self._clean.setdefault(path, file) if unsynced is None else unsynced.file
                    surplus = self._surplus()
                    break
        del surplus  # closes, outside the lock
        return file

    def _with_descriptors(self, opening: Callable[[], StoreFile]) -> StoreFile:
        """Open something, if need be at the cost of everything clean."""
        try:
            return opening()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
        with self._lock:
            forgotten, self._clean = self._clean, OrderedDict()
        del forgotten  # closes, outside the lock
        return opening()

    def _surplus(self) -> list[StoreFile]:
        """Take the longest unused of the files over the limit out of the cache."""
        over = len(self._clean) + len(self._unsynced) - self._limit
        return [self._clean.popitem(last=False)[1] for _ in range(min(over, len(self._clean)))]

    def _begin(self, path: str) -> _UnsyncedFile:
        """Hold on to an object's file from before its first byte changes."""
        file = self.get(path)
        with self._lock:
            unsynced = self._unsynced.get(path)
            if unsynced is None:
                self._clean.pop(path, None)
                unsynced = self._unsynced[path] = _UnsyncedFile(path, file)
            unsynced.busy += 1
            unsynced.changes += 1
            self._written[path] = unsynced.file
            return unsynced

    def _end(self, unsynced: _Unsynced) -> None:
        with self._lock:
            unsynced.busy -= 1
            unsynced.changes += 1

    def _settle(self, unsynced: _UnsyncedFile) -> None:
        """Count an object among the clean ones again if nothing was changed since its sync began."""
        surplus: list[StoreFile] = []
        with self._lock:
            if unsynced.is_clean and self._unsynced.get(unsynced.path) is unsynced:
                self._written.pop(unsynced.path, None)
                del self._unsynced[unsynced.path]
                self._clean[unsynced.path] = unsynced.file
                surplus = self._surplus()
        del surplus  # closes, outside the lock


def descriptor_limit() -> int:
    """How many descriptors the process may have open (setrlimit(2))."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_descriptor_limit() -> int:
    """Raise the process's soft limit on open descriptors to the hard one (setrlimit(2)); the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return descriptor_limit()
