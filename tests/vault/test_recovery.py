"""What recovery makes of chunks that records name and that do not verify: told if they were synced, else skipped."""

import errno
import logging
import random
import stat

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.crashing import CHUNK
from tests.vault.harness import ROOT, open_inline, put_file
from tests.vault.walker import object_names
from vaultfs.errors import Damaged, JournalDamaged
from vaultfs.format.layout import object_path, slot_offset
from vaultfs.sealing.records import Synced
from vaultfs.store.api import read_file
from vaultfs.vault.apply import RENAME_EXCHANGE
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.recovery import covered_by_syncs

SIZE = 3 * CHUNK
"""Bytes of the file: chunks that all go to one object."""


@pytest.fixture(autouse=True)
def _quiet(with_small_limits: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs.recovery")


@pytest.fixture
def vault(store: MemoryStore) -> Inline:
    return open_inline(store)


@pytest.fixture
def data() -> bytes:
    return random.Random(5).randbytes(SIZE)


def without_chunk(store: MemoryStore, before: set[bytes], slot: int) -> MemoryStore:
    """The store as a killed process leaves it, but for a slot of the one new object, that never reached the disk."""
    store = store.copy()
    (name,) = object_names(store) - before
    file = store.open(object_path(name), write=True)
    file.write([bytes(CHUNK)], slot_offset(slot, CHUNK))
    return store


def content(vault: Inline, name: bytes) -> bytes:
    inode = vault.walk(name)
    return vault.read(inode.id, 0, inode.size)


def test_a_chunk_that_was_synced_is_never_skipped(store: MemoryStore, vault: Inline, data: bytes) -> None:
    before = object_names(store)
    vault.fsync(put_file(vault, b"file", data))
    again = open_inline(without_chunk(store, before, 1))
    inode = again.walk(b"file")
    assert inode.size == SIZE
    assert again.read(inode.id, 0, CHUNK) == data[:CHUNK]
    with pytest.raises(Damaged):
        again.read(inode.id, CHUNK, CHUNK)
    assert again.read(inode.id, 2 * CHUNK, CHUNK) == data[2 * CHUNK :]


def test_a_chunk_that_was_not_synced_ends_the_file(store: MemoryStore, vault: Inline, data: bytes) -> None:
    before = object_names(store)
    file = put_file(vault, b"file", data)
    vault.write(file, SIZE, b"and a little more")
    assert content(open_inline(without_chunk(store, before, 1)), b"file") == data[:CHUNK]


def test_what_is_written_after_a_cut_is_kept(store: MemoryStore, vault: Inline, data: bytes) -> None:
    """The chunk that was lost is cut off, so nothing is missing before what came later."""
    before = object_names(store)
    file = put_file(vault, b"file", data)
    vault.setattr(file, SetAttr(size=10))
    vault.write(file, 10, b" and on")
    vault.setattr(file, SetAttr(size=CHUNK + 10))
    vault.write(file, CHUNK + 10, b" and further")
    found = content(open_inline(without_chunk(store, before, 1)), b"file")
    assert found == (data[:10] + b" and on").ljust(CHUNK + 10, b"\0") + b" and further"


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("names", [1, 2])
@pytest.mark.parametrize("how", ["unlink", "rename over"])
def test_what_a_removal_needs_is_read_before_anything_changes(
    store: MemoryStore, vault: Inline, data: bytes, is_open: bool, names: int, how: str
) -> None:
    """Recovery has nothing in memory, and a change that stopped half-way to have something read would be half made."""
    folder = vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o755).id
    for name in (b"before", b"file"):
        file = put_file(vault, name, data)
        for number in range(1, names):
            vault.link(file, folder, b"%b %d" % (name, number))
    put_file(vault, b"new", b"new content")
    before = vault.walk(b"before").id
    vault.open_inode(before)
    for path in [b"before", *(b"folder/before %d" % number for number in range(1, names))]:
        vault.unlink(vault.walk(path.rpartition(b"/")[0]).id, path.rpartition(b"/")[2])
    assert vault.vault.checkpoint()
    file = vault.walk(b"file").id
    if is_open:
        vault.open_inode(file)
    for number in range(1, names):
        vault.unlink(folder, b"file %d" % number)
    if how == "unlink":
        vault.unlink(ROOT, b"file")
    else:
        vault.rename(ROOT, b"new", ROOT, b"file")
    vault.fsync()
    again = open_inline(store.copy())
    left = {b"folder", b"new"} if how == "unlink" else {b"folder", b"file"}
    assert dict(again.list_directory(ROOT)).keys() == left
    assert again.list_directory(again.walk(b"folder").id) == []
    again.vault.close()


def test_an_exchange_gives_up_no_content_and_does_not_end_recovery(
    store: MemoryStore, vault: Inline, data: bytes
) -> None:
    """What had one name has the other one, and what came after that is not lost with a chunk that was never synced."""
    before = object_names(store)
    put_file(vault, b"file", data)
    put_file(vault, b"other", b"small")
    vault.rename(ROOT, b"file", ROOT, b"other", RENAME_EXCHANGE)
    put_file(vault, b"later", b"changes")
    again = open_inline(without_chunk(store, before, 1))
    assert content(again, b"other") == data[:CHUNK]
    assert content(again, b"file") == b"small"
    assert content(again, b"later") == b"changes"


@pytest.mark.parametrize("missing", [True, False])
def test_a_synced_change_to_a_chunk_that_may_still_come_is_waited_for(
    store: MemoryStore, vault: Inline, data: bytes, missing: bool
) -> None:
    """A missing object may be there the next time. A chunk that is broken stays so, and the rest opens."""
    before = object_names(store)
    file = put_file(vault, b"file", data)
    assert vault.vault.checkpoint()
    (name,) = (each for each in object_names(store) - before if segment_size(store, each) > SIZE)
    vault.write(file, CHUNK + 10, b"patch")
    vault.fsync()
    left = store.copy()
    if missing:
        left.delete(object_path(name))
        with pytest.raises(JournalDamaged, match="missing"):
            open_inline(left)
        assert "quarantine" not in left.tree
        return
    left.open(object_path(name), write=True).write([bytes(CHUNK)], slot_offset(1, CHUNK))
    again = open_inline(left)
    assert again.vault.lacks_changes
    assert left.names("quarantine")
    assert again.read(again.walk(b"file").id, 0, CHUNK) == data[:CHUNK]


def segment_size(store: MemoryStore, name: bytes) -> int:
    return len(read_file(store, object_path(name)))


def test_a_chunk_that_a_disk_fails_to_give_is_kept_for_the_next_time(
    store: MemoryStore, vault: Inline, data: bytes
) -> None:
    """It was not synced, so that nothing waits for it; but nothing says that it is not there."""
    before = object_names(store)
    put_file(vault, b"file", data)
    left = store.copy()
    (name,) = object_names(store) - before
    open_inline(FaultyStore(left, Fault(errno.EIO, kinds=frozenset({"read"}), below=object_path(name), lasting=True)))
    assert name in object_names(left)
    assert left.names("quarantine")


def test_a_sync_that_is_noted_late_takes_nothing_back() -> None:
    """Two syncs at once are noted in the order they end in."""
    assert covered_by_syncs([(8, Synced(5, 7)), (9, Synced(5, 3)), (10, Synced(6, 2))]) == {5: 7, 6: 2}


@pytest.mark.parametrize("size", [400, 500])
def test_what_was_written_over_all_of_a_broken_chunk_is_there(
    store: MemoryStore, vault: Inline, data: bytes, size: int
) -> None:
    """Nothing of the chunk is needed for that."""
    file = put_file(vault, b"file", data[:400])
    vault.vault.open_inode(file)
    assert vault.vault.checkpoint()
    path = vault.vault._state.contents[file].committed[0].path
    vault.write(file, 0, data[-size:])
    vault.fsync()
    left = store.copy()
    left.open(path, write=True).write([bytes(100)], slot_offset(0, CHUNK))
    assert content(open_inline(left), b"file") == data[-size:]


@pytest.mark.parametrize(("size", "replaced"), [(0, True), (10, False)])
def test_only_a_file_that_was_cut_to_nothing_replaces_another_without_its_lost_chunk(
    store: MemoryStore, vault: Inline, data: bytes, size: int, replaced: bool
) -> None:
    """Of anything longer a part may be missing, for which the old content is not given up."""
    before = object_names(store)
    put_file(vault, b"other", b"old")
    file = put_file(vault, b"file", data)
    vault.setattr(file, SetAttr(size=size))
    vault.write(file, size, b"new")
    vault.rename(ROOT, b"file", ROOT, b"other")
    put_file(vault, b"later", b"changes")
    again = open_inline(without_chunk(store, before, 0))
    assert content(again, b"other") == (b"new" if replaced else b"old")
    names = {name for name, _ in again.list_directory(ROOT)}
    assert names == ({b"other", b"later"} if replaced else {b"other", b"file"})


def test_what_was_behind_a_lost_chunk_does_not_come_back_when_the_file_grows(
    store: MemoryStore, vault: Inline, data: bytes
) -> None:
    before = object_names(store)
    put_file(vault, b"file", data)
    again = open_inline(without_chunk(store, before, 1))
    again.setattr(again.walk(b"file").id, SetAttr(size=SIZE))
    assert content(again, b"file") == data[:CHUNK].ljust(SIZE, b"\0")
