"""Bugs that lost data or a whole vault once, each as small as it could be made and named for what it lost."""

import errno
import logging
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.crashstore import crash_states
from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.crashing import CHUNK
from tests.vault.harness import (
    KEYS,
    ROOT,
    differences,
    new_store,
    nothing_loaded_late,
    open_inline,
    options,
    small_limits,
    snapshot,
)
from tests.vault.walker import assert_clean, object_names
from vaultfs.errors import NoSpace, WriteFailed
from vaultfs.format.layout import object_folders
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.vault import Vault

EXCHANGE, WHITEOUT = 2, 4
SEGMENT = 4 * CHUNK
"""Bytes of a segment with `small_limits`."""


@pytest.fixture(autouse=True)
def _small_limits(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.CRITICAL, "vaultfs")
    with small_limits(), nothing_loaded_late():
        yield


@pytest.fixture
def store() -> MemoryStore:
    return new_store()


def new_file(vault: Inline, name: bytes, size: int = 0, parent: int = ROOT) -> int:
    """A file with bytes of its own; its inode id, which the vault remembers."""
    inode = vault.create_inode(parent, name, stat.S_IFREG | 0o644)
    vault.vault.remember(inode.id)
    if size:
        vault.write(inode.id, 0, data_of(name, size))
    return inode.id


def data_of(name: bytes, size: int) -> bytes:
    unit = name + b" holds this."
    return (unit * (size // len(unit) + 1))[:size]


def content(vault: Inline, path: bytes) -> bytes:
    inode = vault.walk(path)
    return vault.read(inode.id, 0, inode.size)


def crashed(store: MemoryStore) -> Inline:
    """The vault opened again after its process died, with all it had written."""
    return open_inline(store.copy())


def reopened(vault: Inline, store: MemoryStore) -> Inline:
    vault.vault.close()
    return open_inline(store)


def test_a_file_unlinked_while_open_made_the_vault_impossible_to_open(store: MemoryStore) -> None:
    vault = open_inline(store)
    vault.vault.open_inode(new_file(vault, b"a", CHUNK))
    vault.unlink(ROOT, b"a")
    vault.vault.checkpoint()
    assert crashed(store).list_directory(ROOT) == []
    vault.vault.close()
    reopened(open_inline(store), store).vault.close()
    assert_clean(store)


def test_a_whiteout_renamed_onto_itself_made_the_vault_impossible_to_open(store: MemoryStore) -> None:
    vault = open_inline(store)
    new_file(vault, b"a", 100)
    vault.rename(ROOT, b"a", ROOT, b"a", WHITEOUT)
    assert content(vault, b"a") == data_of(b"a", 100)
    assert content(crashed(store), b"a") == data_of(b"a", 100)


def test_replaying_a_write_over_two_segments_freed_the_chunks_it_had_written(store: MemoryStore) -> None:
    vault = open_inline(store)
    new_file(vault, b"a", 3 * SEGMENT)
    vault = reopened(vault, store)
    inode = vault.walk(b"a")
    vault.write(inode.id, 0, data_of(b"new", 2 * SEGMENT))
    expected = data_of(b"new", 2 * SEGMENT) + data_of(b"a", 3 * SEGMENT)[2 * SEGMENT :]
    vault.fsync()
    store = store.copy()
    vault = open_inline(store)
    vault.write(vault.walk(b"a").id, 0, expected[:CHUNK])
    assert content(vault, b"a") == expected
    assert content(reopened(vault, store), b"a") == expected


def test_exchanging_a_hard_link_of_an_evicted_shard_was_journaled_twice(store: MemoryStore) -> None:
    vault = open_inline(store)
    linked = new_file(vault, b"a", 10)
    vault.link(linked, ROOT, b"also a")
    new_file(vault, b"b", 20)
    vault.vault.checkpoint()
    vault.setattr(linked, SetAttr(uid=7))
    vault.vault.evict()
    vault.rename(ROOT, b"b", ROOT, b"a", EXCHANGE)
    assert content(vault, b"a") == data_of(b"b", 20)
    assert not differences(snapshot(vault), snapshot(crashed(store)))


def test_a_hard_linked_file_was_gone_once_its_shard_was_evicted(store: MemoryStore) -> None:
    vault = open_inline(store)
    linked = new_file(vault, b"a", 10)
    vault.link(linked, ROOT, b"also a")
    vault.vault.checkpoint()
    vault.vault.evict()
    assert vault.getattr(linked).nlink == 2
    vault.unlink(ROOT, b"a")
    assert content(vault, b"also a") == data_of(b"a", 10)


def test_a_change_below_an_evicted_directory_could_not_be_committed(store: MemoryStore) -> None:
    vault = open_inline(store)
    above = vault.create_inode(ROOT, b"d", stat.S_IFDIR | 0o755)
    below = vault.create_inode(above.id, b"d", stat.S_IFDIR | 0o755)
    file = new_file(vault, b"a", 10, below.id)
    vault.vault.checkpoint()
    vault.write(file, 0, b"changed")
    vault.vault.evict()
    assert vault.vault.checkpoint()
    assert content(reopened(vault, store), b"d/d/a").startswith(b"changed")


def test_a_write_during_a_checkpoint_went_to_a_segment_the_checkpoint_deleted(store: MemoryStore) -> None:
    """The frozen epoch cuts off the last chunk of a segment; the next one writes into that segment again."""
    vault = open_inline(store)
    file = new_file(vault, b"a")
    vault.write(file, 2 * CHUNK, data_of(b"old", CHUNK))
    vault.vault.checkpoint()
    vault.setattr(file, SetAttr(size=CHUNK))
    job = vault.vault.begin_checkpoint()
    assert job is not None
    vault.write(file, 0, data_of(b"new", CHUNK))
    vault.fsync(file)
    job.run()
    assert job.finish()
    job.clean_up()
    assert content(vault, b"a") == data_of(b"new", CHUNK)
    assert content(crashed(store), b"a") == data_of(b"new", CHUNK)
    assert content(reopened(vault, store), b"a") == data_of(b"new", CHUNK)


def test_a_file_cut_to_its_first_segment_had_that_overwritten(store: MemoryStore) -> None:
    """Its map becomes inline without ever having been looked at, and all its slots were taken to be free."""
    vault = open_inline(store)
    file = new_file(vault, b"a", CHUNK)
    vault.write(file, SEGMENT + CHUNK, data_of(b"end", CHUNK))
    vault = reopened(vault, store)
    file = vault.walk(b"a").id
    vault.setattr(file, SetAttr(size=SEGMENT))
    vault.vault.checkpoint()
    vault.write(file, CHUNK, data_of(b"more", 2 * CHUNK))
    expected = data_of(b"a", CHUNK) + data_of(b"more", 2 * CHUNK) + bytes(CHUNK)
    assert content(vault, b"a") == expected
    assert content(crashed(store), b"a") == expected


@pytest.mark.parametrize("through_journal", [False, True])
def test_lengthening_a_large_file_just_opened_lost_all_of_it(store: MemoryStore, through_journal: bool) -> None:
    vault = open_inline(store)
    size = 9 * SEGMENT
    new_file(vault, b"a", size)
    vault = reopened(vault, store)
    vault.setattr(vault.walk(b"a").id, SetAttr(size=size + 5 * SEGMENT))
    vault = crashed(store) if through_journal else reopened(vault, store)
    assert content(vault, b"a") == data_of(b"a", size) + bytes(5 * SEGMENT)


def test_a_large_file_whose_last_write_missed_the_disk_lost_all_of_it(store: MemoryStore) -> None:
    vault = open_inline(store)
    size = 9 * SEGMENT
    new_file(vault, b"a", size)
    vault.vault.close()
    recording = RecordingStore(store)
    vault = open_inline(recording)
    vault.write(vault.walk(b"a").id, CHUNK, data_of(b"lost", CHUNK))
    lost = data_of(b"a", size)[:CHUNK] + data_of(b"lost", CHUNK) + data_of(b"a", size)[2 * CHUNK :]
    for state in crash_states(recording.log, len(recording.log), rng=random.Random(1), limit=64):
        assert content(open_inline(state), b"a") in (data_of(b"a", size), lost)


@pytest.mark.parametrize("known", [True, False])
def test_a_power_cut_after_a_kill_lost_what_recovery_had_committed(store: MemoryStore, known: bool) -> None:
    """A killed process leaves chunks, and new objects' names, in memory: what recovery finds it must make durable."""
    vault = open_inline(store)
    new_file(vault, b"a" if known else b"other", CHUNK)
    vault.vault.close()
    recording = RecordingStore(store)
    vault = open_inline(recording)
    file = vault.walk(b"a").id if known else new_file(vault, b"a")
    vault.write(file, 0, data_of(b"new", CHUNK))
    assert content(open_inline(recording), b"a") == data_of(b"new", CHUNK)
    for state in crash_states(recording.log, len(recording.log), rng=random.Random(1), limit=64):
        assert content(open_inline(state), b"a") == data_of(b"new", CHUNK)


def reopened_with_a(store: MemoryStore) -> tuple[RecordingStore, FaultyStore, Inline]:
    """The store after a file was committed, what makes it fail, and its vault, opened again."""
    vault = open_inline(store)
    new_file(vault, b"a", CHUNK)
    vault.vault.close()
    recording = RecordingStore(store)
    faulty = FaultyStore(recording)
    return recording, faulty, open_inline(faulty)


@contextmanager
def killed_before_the_sync_of_a_root(recording: RecordingStore, faulty: FaultyStore) -> Iterator[None]:
    """What is done in here ends there: the kernel is never asked for the sync that fails."""
    faulty.faults.append(Fault(errno.EIO, kinds=frozenset({"sync"}), below="root", lasting=True))
    yield
    recording.log.operations[-1:] = []


def test_a_kill_while_closing_and_a_power_cut_made_the_vault_impossible_to_open(store: MemoryStore) -> None:
    """The clean root was read from the page cache, the journal of the root on disk deleted."""
    recording, faulty, vault = reopened_with_a(store)
    new_file(vault, b"b", CHUNK)
    vault.vault.checkpoint()
    with killed_before_the_sync_of_a_root(recording, faulty), pytest.raises(Exception, match="closed"):
        vault.vault.close()
    log = recording.log
    killed = len(log)
    vault = open_inline(recording)
    for position in range(killed, len(log) + 1):
        for state in crash_states(log, position, rng=random.Random(1), limit=16):
            assert content(open_inline(state), b"b") == data_of(b"b", CHUNK)


def test_a_kill_in_a_checkpoint_and_a_power_cut_leave_what_the_root_on_disk_names(store: MemoryStore) -> None:
    """Recovery reads the newer root from the page cache: until it is synced, what the older one names has to stay."""
    recording, faulty, vault = reopened_with_a(store)
    vault.unlink(ROOT, b"a")
    with killed_before_the_sync_of_a_root(recording, faulty):
        assert not vault.vault.checkpoint()
    log = recording.log
    killed = len(log)
    assert open_inline(recording).list_directory(ROOT) == []
    assert_clean(store)
    for position in range(killed, len(log) + 1):
        for state in crash_states(log, position, rng=random.Random(1), limit=16):
            vault = open_inline(state)
            assert not list(vault.list_directory(ROOT)) or content(vault, b"a") == data_of(b"a", CHUNK)


def test_a_refused_write_left_an_object_behind_for_ever(store: MemoryStore) -> None:
    faulty = FaultyStore(store)
    vault = open_inline(faulty)
    file = new_file(vault, b"a")
    faulty.faults.append(Fault(errno.ENOSPC, kinds=frozenset({"write"}), below="journal", lasting=True))
    with pytest.raises(NoSpace):
        vault.write(file, 0, data_of(b"a", CHUNK))
    faulty.faults.clear()
    vault.vault.close()
    assert_clean(store)


def test_an_object_that_no_record_names_goes_with_recovery(store: MemoryStore) -> None:
    """The process was killed between a chunk and its record, and no root has ever known of the object."""
    faulty = FaultyStore(store)
    vault = open_inline(faulty)
    file = new_file(vault, b"a")
    faulty.faults.append(Fault(errno.EIO, kinds=frozenset({"write"}), below="journal", lasting=True))
    with pytest.raises(WriteFailed):
        vault.write(file, 0, data_of(b"a", CHUNK))
    assert object_names(store)
    open_inline(store).vault.close()
    assert_clean(store)


def test_two_syncs_at_once_answered_before_the_content_was_durable(store: MemoryStore) -> None:
    vault = open_inline(store)
    new_file(vault, b"a", CHUNK)
    vault.vault.close()
    recording = RecordingStore(store)
    vault = open_inline(recording)
    file = vault.walk(b"a").id
    vault.write(file, 0, data_of(b"new", CHUNK))
    first = vault.vault.begin_sync(file)
    vault.fsync(file)
    for state in crash_states(recording.log, len(recording.log), rng=random.Random(1), limit=64):
        assert content(open_inline(state), b"a") == data_of(b"new", CHUNK)
    first.run()


def test_a_refused_rename_came_back_with_the_next_opening(store: MemoryStore) -> None:
    """A journal append fails after all of it was written: what follows goes on from the record before."""
    faulty = FaultyStore(store)
    vault = Inline(Vault.open(faulty, KEYS, options()))
    new_file(vault, b"a", 10)
    new_file(vault, b"b", 20)
    failing = frozenset({"write", "truncate"})
    faulty.faults.append(Fault(errno.ENOSPC, kinds=failing, below="journal", written=1 << 20, lasting=True))
    with pytest.raises(NoSpace):
        vault.rename(ROOT, b"a", ROOT, b"b")
    faulty.faults.clear()
    new_file(vault, b"c", 30)
    vault.fsync()
    assert not differences(snapshot(vault), snapshot(crashed(store)))


def test_a_deleted_file_nobody_looked_into_leaves_no_objects(store: MemoryStore) -> None:
    """Its objects are only looked up by the checkpoint, from what its entry says."""
    vault = open_inline(store)
    sizes = {b"none": 0, b"inline": 200, b"one": 2 * CHUNK, b"nodes": 20 * SEGMENT}
    for name, size in sizes.items():
        new_file(vault, name, size)
    vault = reopened(vault, store)
    for name in sizes:
        vault.unlink(ROOT, name)
    new_file(vault, b"left", CHUNK)
    after_a_kill = crashed(store)
    assert [name for name, _ in after_a_kill.list_directory(ROOT)] == [b"left"]
    vault.vault.close()
    assert_clean(store)
    objects = [name for folder in object_folders() for name in store.names(folder)]
    # The top directory's and the file's: the orphans' table was never needed.
    assert len(objects) == 2
