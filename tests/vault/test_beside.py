"""Checkpoints in a thread of their own, while the owner goes on: nothing is lost, nothing waits for ever."""

import errno
import random
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crashstore import CrashSimulator, crash_states
from tests.support.faultystore import SYNCS, Fault, FaultyFile, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.harness import (
    KEYS,
    ROOT,
    SMALL_CHUNK,
    differences,
    new_store,
    open_inline,
    options,
    small_limits,
    snapshot,
)
from tests.vault.walker import object_names, reachable
from vaultfs.cli.importing import Importer
from vaultfs.errors import NoSpace, NotFound, ReadOnly, WriteFailed
from vaultfs.vault.beside import CheckpointsBeside
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault

PATIENCE = 30.0  # seconds


@pytest.fixture(autouse=True)
def _small_limits() -> Iterator[None]:
    with small_limits():
        yield


class SlowFile(FaultyFile):
    def sync(self) -> None:
        assert isinstance(self._store, SlowStore)
        self._store.wait()
        super().sync()


class SlowStore(FaultyStore):
    """Syncs in other threads than the one that made it wait until `go_on` is set; `waiting` tells that one does."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.waiting = threading.Event()
        self.go_on = threading.Event()
        self._owner = threading.get_ident()

    def wait(self) -> None:
        if threading.get_ident() != self._owner:
            self.waiting.set()
            assert self.go_on.wait(PATIENCE)

    def create(self, path: str) -> FaultyFile:
        return SlowFile(super().create(path)._inner, self, path)


def new_file(vault: Inline, name: bytes, data: bytes) -> int:
    inode = vault.create_inode(ROOT, name, stat.S_IFREG | 0o644).id
    vault.write(inode, 0, data)
    return inode


def begin_one(beside: CheckpointsBeside, vault: Inline) -> list[bytes]:
    """Make files until a checkpoint is under way; their names."""
    names: list[bytes] = []
    while beside._step is None:
        names.append(b"file %d" % len(names))
        new_file(vault, names[-1], names[-1] * 300)
        beside.keep_up()
    return names


def fill(vault: Inline, beside: CheckpointsBeside, made: dict[bytes, bytes]) -> None:
    """Make files, and note which, until that fails."""
    for number in range(1000):
        name, content = b"more %d" % number, random.Random(number).randbytes(20_000)
        new_file(vault, name, content)
        made[name] = content
        beside.keep_up()


def interrupted(vault: Inline, store: SlowStore) -> None:
    """Ctrl-C while a checkpoint waits for the disk."""
    with CheckpointsBeside(vault.vault) as beside:
        begin_one(beside, vault)
        assert store.waiting.wait(PATIENCE)
        threading.Timer(0.2, store.go_on.set).start()
        raise KeyboardInterrupt


def test_the_owner_goes_on_while_a_checkpoint_waits_for_the_disk() -> None:
    inner = new_store()
    store = SlowStore(inner)
    vault = open_inline(store)
    with CheckpointsBeside(vault.vault) as beside:
        names = begin_one(beside, vault)
        generation = vault.vault.generation
        assert store.waiting.wait(PATIENCE)
        new_file(vault, b"meanwhile", b"content" * 200)
        beside.keep_up()
        assert vault.read(vault.lookup(ROOT, b"meanwhile").id, 0, 7) == b"content"
        assert vault.vault.generation == generation
        store.go_on.set()
    assert vault.vault.generation > generation
    shown = snapshot(vault)
    vault.vault.close()
    again = open_inline(inner)
    assert not differences(shown, snapshot(again))
    assert {name for name, _ in again.list_directory(ROOT)} == {*names, b"meanwhile"}


def test_who_needs_room_waits_for_the_checkpoint_under_way() -> None:
    """And for no other: what it commits is room enough."""
    inner = new_store()
    store = SlowStore(inner)
    vault = Vault.open(store, KEYS, options())
    with CheckpointsBeside(vault) as beside:
        inline = Inline(vault, beside.checkpoint)
        begin_one(beside, inline)
        assert store.waiting.wait(PATIENCE)
        generation = vault.generation
        threading.Timer(0.2, store.go_on.set).start()
        for number in range(60):  # more than may wait at once
            new_file(inline, b"more %d" % number, bytes(2000))
        assert store.go_on.is_set()
        assert vault.generation > generation
    vault.close()
    assert len(open_inline(inner).list_directory(ROOT)) >= 60


@pytest.mark.expects_log("nothing can be changed until it is mounted again", "Input/output error")
@pytest.mark.parametrize("kinds", [SYNCS, frozenset({"write"})], ids=["sync", "write"])
def test_a_disk_that_fails_beside_is_heard_of(kinds: frozenset[str]) -> None:
    inner = new_store()
    store = FaultyStore(inner)
    vault = Vault.open(store, KEYS, options())
    with CheckpointsBeside(vault) as beside:
        inline = Inline(vault, beside.checkpoint)
        names = begin_one(beside, inline)
        store.faults.append(Fault(errno.EIO, kinds=kinds, lasting=True))
        with pytest.raises((ReadOnly, WriteFailed)):
            fill(inline, beside, {})
    assert vault.read_only
    vault.close()
    again = open_inline(inner)
    for name in names:  # the records of all of them had been written
        assert again.read(again.lookup(ROOT, name).id, 0, 30_000) == name * 300


def test_a_full_store_ends_it_and_loses_nothing() -> None:
    inner = MemoryStore(capacity=8 << 20)
    Vault.create(inner, KEYS, chunk_size=SMALL_CHUNK)
    vault = Vault.open(inner, KEYS, options())
    made: dict[bytes, bytes] = {}
    with CheckpointsBeside(vault) as beside, pytest.raises(NoSpace):
        fill(Inline(vault, beside.checkpoint), beside, made)
    assert len(made) > 50
    shown = snapshot(Inline(vault))
    vault.close()
    inner.capacity = None
    again = open_inline(inner)
    assert not differences(shown, snapshot(again))
    for name, content in made.items():
        assert again.read(again.lookup(ROOT, name).id, 0, 30_000) == content


def test_the_end_waits_for_what_is_under_way_whatever_happened() -> None:
    store = SlowStore(new_store())
    vault = open_inline(store)
    with pytest.raises(KeyboardInterrupt):
        interrupted(vault, store)
    assert not vault.vault._checkpointer.running
    vault.vault.close()


def test_a_vault_that_is_closed_meanwhile_forgets_nothing_unsynced() -> None:
    """It forgot what was not synced, and the checkpoint went on and committed that."""
    inner = new_store()
    vault = open_inline(inner)
    new_file(vault, b"file", b"content" * 300)
    job = vault.vault.begin_checkpoint()
    assert job is not None
    unsynced = vault.vault._core.objects.handles.unsynced()
    assert unsynced
    with pytest.raises(WriteFailed):
        vault.vault.close()
    assert vault.vault._core.objects.handles.unsynced() == unsynced
    job.run()
    assert not vault.vault._core.objects.handles.unsynced()


@pytest.fixture
def tree(tmp_path: Path) -> dict[bytes, bytes]:
    """A folder with files of all sizes: in their entries, of a few chunks, of several segments. Content by path."""
    rng = random.Random(7)
    contents: dict[bytes, bytes] = {}
    for number in range(90):
        folder = tmp_path / f"folder {number % 7}"
        folder.mkdir(exist_ok=True)
        path = folder / f"file {number}"
        path.write_bytes(rng.randbytes(rng.choice([0, 100, 700, 3000, 9000])))
        contents[str(path.relative_to(tmp_path)).encode()] = path.read_bytes()
    return contents


def test_an_import_survives_a_power_cut_at_any_moment(tmp_path: Path, tree: dict[bytes, bytes]) -> None:
    """Each file is there whole, or cut short where the import was, or not at all; nothing is wrong or missing."""
    inner = new_store()
    recording = RecordingStore(inner)
    vault = Vault.open(recording, KEYS, options())
    Importer(vault, lambda done: None, lambda: None).run(str(tmp_path), vault.getattr(ROOT))
    vault.close()
    rng = random.Random(11)
    simulator = CrashSimulator(recording.log)
    for at in sorted(rng.sample(range(len(recording.log)), 40)):
        for store in crash_states(simulator, at, rng=rng, limit=8):
            again = open_inline(store)
            for path, content in tree.items():
                found = found_content(again, path)
                assert found is None or content.startswith(found), (path, store.description)
            again.vault.close()
            assert reachable(store).keys() <= object_names(store)
    whole = open_inline(inner)
    for path, content in tree.items():
        assert found_content(whole, path) == content


def found_content(vault: Inline, path: bytes) -> bytes | None:
    """A file's content; None if there is no such file."""
    try:
        return vault.read(vault.walk(path).id, 0, 20_000)
    except NotFound:
        return None
