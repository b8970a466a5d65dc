"""The handle cache never mixes files up, never loses sight of unsynced writes, and never forgets a failed sync."""

import errno
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock

import pytest

from tests.support.faultystore import SYNCS, Fault, FaultyStore
from tests.support.memorystore import MemoryFile, MemoryStore
from tests.support.recordingstore import RecordingStore, Sync, SyncFolder
from vaultfs.store import handles
from vaultfs.store.directory import DirectoryStore
from vaultfs.store.handles import HandleCache


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryStore]:
    with DirectoryStore(tmp_path, write=True) as made:
        made.make_folder("f")
        yield made


def make(cache: HandleCache, *paths: str) -> None:
    """Make objects that hold their own path, and sync them."""
    for path in paths:
        cache.create(path)
        cache.write(path, [path.encode()], 0)
    cache.sync(paths)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_objects_stay_open_up_to_the_limit(store: DirectoryStore) -> None:
    cache = HandleCache(store, 10)
    paths = [f"f/{number}" for number in range(30)]
    store.names("f")
    base = open_descriptors()
    make(cache, *paths)
    for path in paths * 2:
        assert cache.get(path).read(10, 0) == path.encode()
    assert open_descriptors() == base + 10
    cache.close()
    assert open_descriptors() == base


def test_the_longest_unused_goes_first(store: DirectoryStore) -> None:
    cache = HandleCache(store, 3)
    make(cache, "a", "b", "c")
    first = cache.get("a")
    make(cache, "d")
    assert cache.get("a") is first
    store.delete("b")
    with pytest.raises(FileNotFoundError):
        cache.get("b")


def test_an_evicted_file_in_use_goes_on_reading_its_own_object(store: DirectoryStore) -> None:
    cache = HandleCache(store, 1)
    make(cache, "a", "b", "c")
    held = cache.get("a")
    for path in ("b", "c") * 10:
        assert cache.get(path).read(10, 0) == path.encode()
    assert held.read(10, 0) == b"a"


def test_unsynced_files_are_kept_beyond_the_limit_until_synced(store: DirectoryStore) -> None:
    cache = HandleCache(store, 4)
    paths = [f"f/{number}" for number in range(20)]
    store.names("f")
    base = open_descriptors()
    for path in paths:
        cache.create(path)
    assert cache.unsynced() == paths
    assert open_descriptors() == base + 20
    cache.sync(paths[:18])
    assert cache.unsynced() == paths[18:]
    assert open_descriptors() == base + 4
    cache.close()


def test_every_change_makes_unsynced(store: DirectoryStore) -> None:
    cache = HandleCache(store, 1)
    make(cache, "a", "b")
    for change in (
        lambda: cache.write("a", [b"x"], 0),
        lambda: cache.truncate("a", 0),
    ):
        assert cache.unsynced() == []
        change()
        cache.get("b")
        assert cache.unsynced() == ["a"]
        cache.sync(["a"])
    cache.close()


def test_only_what_is_unsynced_is_synced() -> None:
    recorded = RecordingStore(MemoryStore())
    recorded.make_folder("f")
    cache = HandleCache(recorded, 4)
    make(cache, "a", "f/b", "f/c")
    assert cache.unsynced_folders() == ["", "f"]
    cache.sync_folders(["f", "", "f", "elsewhere"])
    assert cache.unsynced_folders() == []
    start = len(recorded.log)
    cache.write("a", [b"x"], 0)
    cache.sync(["a", "f/b", "missing", "a"])
    cache.sync_folders(["", "f"])
    syncs = [step for step in recorded.log.operations[start:] if isinstance(step, Sync | SyncFolder)]
    assert syncs == [Sync(recorded.log.nodes["a"])]


def test_a_failed_sync_is_never_forgotten() -> None:
    faulty = FaultyStore(MemoryStore())
    cache = HandleCache(faulty, 1)
    make(cache, "a", "b")
    cache.write("a", [b"lost"], 0)
    faulty.faults = [Fault(errno.EIO, kinds=SYNCS)]
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            cache.sync(["a"])
        assert caught.value.errno == errno.EIO
        cache.write("a", [b"more"], 0)
        cache.get("b")
    assert cache.unsynced() == ["a"]
    assert faulty.faults[0].seen == 1, "the store is not asked again"
    cache.drop("a")
    cache.sync(["a"])
    assert cache.unsynced() == []


def test_a_failed_folder_sync_is_never_forgotten() -> None:
    faulty = FaultyStore(MemoryStore(), Fault(errno.EIO, kinds=SYNCS))
    cache = HandleCache(faulty, 1)
    cache.create("a")
    for _ in range(3):
        with pytest.raises(OSError) as caught:
            cache.sync_folders([""])
        assert caught.value.errno == errno.EIO
        cache.create(f"b{_}")
    assert cache.unsynced_folders() == [""]


class SlowFile:
    """A file whose sync waits, so that a test can do something meanwhile."""

    def __init__(self, inner, begun: threading.Event, go_on: threading.Event, fails: bool) -> None:
        self._inner, self._begun, self._go_on, self._fails = inner, begun, go_on, fails
        self.syncs = 0

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    def sync(self) -> None:
        self.syncs += 1
        self._begun.set()
        assert self._go_on.wait(10)
        if self._fails:
            raise OSError(errno.EIO, "worn out")


class SlowStore(MemoryStore):
    """A memory store of slow files."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.begun, self.go_on, self.fails = threading.Event(), threading.Event(), fails
        self.file: SlowFile | None = None

    @property
    def syncs(self) -> int:
        return self.file.syncs if self.file else 0

    def create(self, path: str):
        self.file = SlowFile(super().create(path), self.begun, self.go_on, self.fails)
        return self.file


def test_a_write_during_a_sync_stays_unsynced() -> None:
    store = SlowStore()
    cache = HandleCache(store, 4)
    cache.create("a")
    worker = threading.Thread(target=lambda: cache.sync(["a"]))
    worker.start()
    assert store.begun.wait(10)
    cache.write("a", [b"x"], 0)
    store.go_on.set()
    worker.join()
    assert cache.unsynced() == ["a"]
    cache.sync(["a"])
    assert (cache.unsynced(), store.syncs) == ([], 2)


def test_a_sync_in_the_middle_of_a_write_does_not_cover_it(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = RecordingStore(MemoryStore())
    cache = HandleCache(recorded, 4)
    make(cache, "a")
    file = cache.get("a")
    write = file.write

    def write_slowly(buffers: Sequence[bytes], offset: int) -> None:
        cache.sync(["a"])
        write(buffers, offset)

    monkeypatch.setattr(type(file), "write", lambda _, buffers, offset: write_slowly(buffers, offset))
    cache.write("a", [b"x"], 0)
    monkeypatch.undo()
    assert cache.unsynced() == ["a"]
    start = len(recorded.log)
    cache.sync(["a"])
    assert [step for step in recorded.log.operations[start:] if isinstance(step, Sync)], "the write is not durable yet"
    assert cache.unsynced() == []


def test_a_name_made_during_a_sync_of_its_folder_stays_unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = RecordingStore(MemoryStore())
    recorded.make_folder("f")
    cache = HandleCache(recorded, 4)
    late = ["f/late"]
    sync_folder = recorded.sync_folder

    def sync_slowly(folder: str) -> None:
        sync_folder(folder)
        if late:
            cache.create(late.pop())

    monkeypatch.setattr(recorded, "sync_folder", sync_slowly)
    cache.create("f/a")
    cache.sync_folders(["f"])
    assert cache.unsynced_folders() == ["f"]
    start = len(recorded.log)
    cache.sync_folders(["f"])
    assert [step for step in recorded.log.operations[start:] if isinstance(step, SyncFolder)]
    assert cache.unsynced_folders() == []


def test_a_sync_that_ends_late_forgets_no_newer_names(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.make_folder("f")
    cache = HandleCache(store, 4)
    sync, late = handles._Unsynced.sync, ["f/late"]

    def sync_and_dawdle(unsynced: handles._Unsynced, lock: Lock) -> None:
        sync(unsynced, lock)
        if late:
            name = late.pop()
            cache.sync_folders(["f"])
            cache.create(name)

    monkeypatch.setattr(handles._Unsynced, "sync", sync_and_dawdle)
    cache.create("f/a")
    cache.sync_folders(["f"])
    assert cache.unsynced_folders() == ["f"]


@pytest.mark.parametrize("forget", [lambda cache: cache.drop("a"), HandleCache.close], ids=["drop", "close"])
def test_an_object_dropped_while_it_is_opened_does_not_come_back(
    monkeypatch: pytest.MonkeyPatch, forget: Callable[[HandleCache], None]
) -> None:
    store = MemoryStore()
    cache = HandleCache(store, 4)
    make(cache, "a")
    cache.close()
    opening = store.open

    def open_slowly(path: str, *, write: bool = False) -> MemoryFile:
        file = opening(path, write=write)
        monkeypatch.undo()
        forget(cache)
        store.delete("a")
        return file

    monkeypatch.setattr(store, "open", open_slowly)
    with pytest.raises(FileNotFoundError):
        cache.get("a")


def test_two_syncs_of_the_same_changes_are_one_and_fail_together() -> None:
    store = SlowStore(fails=True)
    cache = HandleCache(store, 4)
    cache.create("a")
    errors: list[int | None] = []

    def sync() -> None:
        try:
            cache.sync(["a"])
        except OSError as error:
            errors.append(error.errno)

    workers = [threading.Thread(target=sync) for _ in range(3)]
    for worker in workers:
        worker.start()
    assert store.begun.wait(10)
    store.go_on.set()
    for worker in workers:
        worker.join()
    assert (errors, store.syncs) == ([errno.EIO] * 3, 1)


def test_a_dropped_object_is_not_brought_back_by_a_sync_under_way() -> None:
    store = SlowStore()
    cache = HandleCache(store, 4)
    cache.create("a")
    worker = threading.Thread(target=lambda: cache.sync(["a"]))
    worker.start()
    assert store.begun.wait(10)
    cache.drop("a")
    store.delete("a")
    store.go_on.set()
    worker.join()
    with pytest.raises(FileNotFoundError):
        cache.get("a")


def test_a_read_only_store_is_read(store: DirectoryStore) -> None:
    make(HandleCache(store, 1), "a")
    with DirectoryStore(store.description, write=False) as reader:
        cache = HandleCache(reader, 1)
        assert cache.get("a").read(10, 0) == b"a"
        with pytest.raises(OSError):
            cache.write("a", [b"x"], 0)
        cache.close()


def test_running_out_of_descriptors_closes_what_is_clean(store: DirectoryStore) -> None:
    cache = HandleCache(store, 1000)
    paths = [f"f/{number}" for number in range(50)]
    make(cache, *paths)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        cache.create("one more")
        assert cache.get("f/3").read(10, 0) == b"f/3"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    cache.close()


class Churn:
    """What the threads of the next test do to one cache, and what went wrong."""

    def __init__(self, store: DirectoryStore) -> None:
        self.store = store
        self.cache = HandleCache(store, 3)
        self.paths = [f"f/{number:02}" for number in range(24)]
        self.wrong: list[object] = []
        make(self.cache, *self.paths)

    def read(self, rng: random.Random) -> None:
        path = rng.choice(self.paths)
        file = self.cache.get(path)
        for _ in range(5):
            self.check(path, file.read(100, 0))

    def write(self, rng: random.Random) -> None:
        path = rng.choice(self.paths)
        self.cache.write(path, [path.encode()], 0)
        if rng.random() < 0.3:
            self.cache.sync(self.cache.unsynced())

    def replace(self, rng: random.Random) -> None:
        path = f"f/new{rng.random()}"
        make(self.cache, path)
        self.check(path, self.cache.get(path).read(100, 0))
        self.cache.drop(path)
        self.store.delete(path)

    def check(self, path: str, data: bytes) -> None:
        if data != path.encode():
            self.wrong.append((path, data))

    def run(self, work, seed: int, deadline: float) -> None:
        rng = random.Random(seed)
        try:
            while time.monotonic() < deadline and not self.wrong:
                work(rng)
        except BaseException as error:
            self.wrong.append(error)


def test_threads_never_read_another_objects_bytes(store: DirectoryStore) -> None:
    """Tiny cache, many objects, deletions: descriptor numbers are reused all the time."""
    churn = Churn(store)
    deadline = time.monotonic() + 1
    threads = [
        threading.Thread(target=churn.run, args=(work, seed, deadline))
        for seed, work in enumerate((churn.read, churn.read, churn.read, churn.write, churn.write, churn.replace))
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert churn.wrong == []
    churn.cache.sync(churn.cache.unsynced())
    assert churn.cache.unsynced() == []
    for path in churn.paths[:4]:
        churn.cache.get(path)  # the last thing done may have been to drop one: now it is as full as it gets
    base = open_descriptors()
    churn.cache.close()
    assert open_descriptors() == base - 3


def test_the_descriptor_limit_is_raised() -> None:
    script = (
        "import resource as r; from vaultfs.store.handles import raise_descriptor_limit as f;"
        "hard = r.getrlimit(r.RLIMIT_NOFILE)[1]; r.setrlimit(r.RLIMIT_NOFILE, (64, hard));"
        "assert f() == hard == f() == r.getrlimit(r.RLIMIT_NOFILE)[0]"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])


def test_what_was_written_is_written_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[MemoryFile] = []
    monkeypatch.setattr(MemoryFile, "write_back", lambda file: started.append(file))  # noqa: PLW0108 - bound by that
    cache = HandleCache(MemoryStore(), 10)
    for path in ("a", "b", "c"):
        cache.create(path)
        cache.write(path, [b"x"], 0)
    cache.write("a", [b"y"], 1)
    cache.drop("b")
    cache.sync(["c"])
    cache.write_back()
    assert started == [cache.get("a")]
    cache.write_back()
    assert len(started) == 1
    cache.write("c", [b"z"], 0)
    cache.write_back()
    assert started[1:] == [cache.get("c")]
    assert cache.unsynced() == ["a", "c"], "it is no sync"


def test_an_object_that_got_a_lot_is_synced_with_that() -> None:
    store = RecordingStore(MemoryStore())
    cache = HandleCache(store, 10)
    for path in ("large", "small"):
        cache.create(path)
    for _ in range(2):
        for number in range(32):
            cache.write("large", [bytes(1 << 20)], number << 20)
            cache.write("small", [b"x"], number)
            cache.write_back()
    assert sum(isinstance(step, Sync) for step in store.log.operations) == 2
    assert cache.unsynced() == ["small"]


def test_a_sync_that_failed_before_anybody_asked_fails_whoever_asks() -> None:
    store = FaultyStore(MemoryStore())
    cache = HandleCache(store, 10)
    cache.create("large")
    cache.write("large", [bytes(32 << 20)], 0)
    store.faults.append(Fault(errno.EIO, kinds=SYNCS))
    with pytest.raises(OSError, match="Input/output"):
        cache.write_back()
    with pytest.raises(OSError, match="Input/output"):
        cache.sync(["large"])


def test_objects_synced_together_are_on_their_way_before_the_first_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(MemoryFile, "write_back", lambda _: steps.append("begin"))
    monkeypatch.setattr(MemoryFile, "sync", lambda _: steps.append("sync"))
    cache = HandleCache(MemoryStore(), 10)
    for path in ("a", "b", "c"):
        cache.create(path)
        cache.write(path, [b"x"], 0)
    cache.sync(["a", "b", "c"])
    assert steps == ["begin"] * 3 + ["sync"] * 3
    assert cache.unsynced() == []


def test_reading_ahead_of_what_is_not_there_is_no_error(store: DirectoryStore) -> None:
    cache = HandleCache(store, 10)
    make(cache, "f/a")
    cache.read_ahead("f/a", 1 << 20, 0)
    cache.read_ahead("f/missing", 1 << 20, 0)
    assert cache.get("f/a").read(10, 0) == b"f/a"
    cache.close()
