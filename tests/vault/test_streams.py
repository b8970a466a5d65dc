"""A stream whose pieces end within chunks, as the kernel writes it out, is stored as if it had come at once."""

import random
from itertools import accumulate, pairwise

import pytest

from tests.support.crashstore import crash_states
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.harness import KEYS, ROOT, open_inline, vault_with
from vaultfs.format.constants import CHUNK_SIZE_DEFAULT, MAX_RECORD_SIZE
from vaultfs.format.layout import slot_offset
from vaultfs.sealing.records import Write, encode_record
from vaultfs.vault.fileio import MAX_WRITE
from vaultfs.vault.inline import Inline
from vaultfs.vault.segment import Segment
from vaultfs.vault.vault import OpenOptions, Vault

PAGE = 4096
PIECES = [1 << 20, 5 * CHUNK_SIZE_DEFAULT + 3 * PAGE, 1 << 20, 1 << 20, 999_999]
"""Bytes of each request: the second caught the writer in the middle of a chunk, and so are all after it."""


def stream(vault: Inline, inode: int, content: bytes) -> None:
    """Write it in pieces."""
    for start, stop in pairwise((0, *accumulate(PIECES))):
        vault.write(inode, start, content[start:stop])


def slots_of(vault: Inline, inode: int) -> list[int]:
    """The slots of the chunks, from the first chunk on."""
    return [slot for _, slot, _ in vault.vault.read_plan(inode, 0, sum(PIECES)).places()]


@pytest.fixture
def content() -> bytes:
    return random.Random(1).randbytes(sum(PIECES))


def test_its_chunks_stand_in_order_in_one_slot_each(content: bytes) -> None:
    vault = vault_with({})
    inode = vault.create_inode(ROOT, b"video", 0o100600).id
    stream(vault, inode, content)
    assert vault.read(inode, 0, len(content)) == content
    chunks = -(-len(content) // CHUNK_SIZE_DEFAULT)
    assert slots_of(vault, inode) == list(range(chunks - 1)), "all but the short last one are there at once"
    store = vault.vault.store
    vault.vault.close()
    again = open_inline(store, OpenOptions())
    assert again.walk(b"video").id == inode
    assert again.read(inode, 0, len(content)) == content
    assert slots_of(again, inode) == list(range(chunks))


@pytest.mark.parametrize("synced", [False, True])
def test_a_power_cut_takes_only_what_was_not_synced(content: bytes, synced: bool) -> None:
    store = MemoryStore()
    Vault.create(store, KEYS)
    recording = RecordingStore(store)
    vault = open_inline(recording, OpenOptions())
    inode = vault.create_inode(ROOT, b"video", 0o100600).id
    first, both = sum(PIECES[:2]), sum(PIECES[:3])
    vault.write(inode, 0, content[: PIECES[0]])
    vault.write(inode, PIECES[0], content[PIECES[0] : first])
    vault.fsync(inode)
    vault.write(inode, first, content[first:both])
    if synced:
        vault.fsync(inode)
    else:
        vault.vault.write_out()
    sizes = set()
    for state in crash_states(recording.log, len(recording.log), rng=random.Random(1), limit=64):
        after = open_inline(state, OpenOptions())
        found = after.walk(b"video")
        assert after.read(found.id, 0, both) == content[: found.size]
        sizes.add(found.size)
    assert sizes == {both} if synced else min(sizes) == first


def test_a_file_that_comes_in_one_piece_is_stored_once(content: bytes) -> None:
    """Whether it ends with a page or not: nothing says that it will go on."""
    vault = vault_with({})
    inode = vault.create_inode(ROOT, b"photo", 0o100600).id
    size = 5 * CHUNK_SIZE_DEFAULT + 10 * PAGE
    vault.write(inode, 0, content[:size])
    assert [slot for _, slot, _ in vault.vault.read_plan(inode, 0, size).places()] == list(range(6))


def test_the_longest_write_fits_into_one_record(content: bytes) -> None:
    """While its segment moves all of it goes into the journal; one of 4 MiB was synced, and then not found."""
    vault = vault_with({"video": content})
    inode = vault.walk(b"video").id
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Segment, "should_move", lambda *_: True)
        vault.write(inode, 0, b"x")
        assert vault.vault.begin_checkpoint() is not None
    new = random.Random(2).randbytes(MAX_WRITE)
    assert vault.vault.write(inode, 3 * PAGE, new + b"and more", False) == MAX_WRITE
    vault.fsync(inode)
    after = open_inline(vault.vault.store, OpenOptions())
    assert after.read(after.walk(b"video").id, 3 * PAGE, MAX_WRITE) == new


def test_a_record_no_reader_would_take_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode_record(Write(1024, 1, 0o100600, 0, b"", (), ((0, bytes(MAX_RECORD_SIZE)),)))


def test_writing_over_free_slots_touches_no_slot_in_use(content: bytes) -> None:
    """A page that a run of slots ends in is written whole, where what is behind them may be overwritten."""
    vault = vault_with({"video": content})
    inode = vault.walk(b"video").id
    assert vault.read(inode, 0, 1) == content[:1]
    segment = vault.vault.read_plan(inode, 0, 1)._parts[0].segment  # type: ignore[union-attr]
    chunk = CHUNK_SIZE_DEFAULT
    for number in (1, 2, 3, 5):  # they go to new slots, and theirs are free after the next checkpoints
        vault.write(inode, number * chunk, content[:chunk])
    vault.vault.checkpoint()
    vault.vault.checkpoint()
    assert [slot for slot in range(8) if slot in segment._free] == [1, 2, 3, 5]
    before = stored(segment)
    vault.write(inode, 6 * chunk, content[: 2 * chunk])
    assert (first := slot_offset(1, chunk)) % PAGE
    changed = [at for at, (old, new) in enumerate(zip(before, stored(segment), strict=False)) if old != new]
    assert first <= changed[0]
    assert slot_offset(3, chunk) < changed[-1] < slot_offset(3, chunk) + PAGE, "slot 3 is free"
    before = stored(segment)
    vault.write(inode, 8 * chunk, content[:chunk])
    changed = [at for at, (old, new) in enumerate(zip(before, stored(segment), strict=False)) if old != new]
    assert changed[-1] < slot_offset(4, chunk), "slot 4 is in use"
    vault.fsync(inode)
    expected = bytearray(content)
    for number in (1, 2, 3, 5):
        expected[number * chunk : (number + 1) * chunk] = content[:chunk]
    expected[6 * chunk : 8 * chunk] = content[: 2 * chunk]
    expected[8 * chunk : 9 * chunk] = content[:chunk]
    assert vault.read(inode, 0, len(content)) == expected
    after = open_inline(vault.vault.store, OpenOptions())
    assert after.read(after.walk(b"video").id, 0, len(content)) == expected


def stored(segment: Segment) -> bytes:
    """The object's bytes."""
    file = segment._objects.open(segment.path)
    return bytes(file.read(file.size(), 0))
