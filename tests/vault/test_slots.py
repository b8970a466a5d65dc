"""However a file is overwritten, its segments have slots for what checkpoints put there, and no leaf names more."""

import random

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import SMALL_CHUNK, open_inline, put_file
from tests.vault.walker import assert_clean
from vaultfs.format import constants
from vaultfs.sealing import maps
from vaultfs.vault import content, segment
from vaultfs.vault.state import State

SLOTS = 16
"""In place of 4,032 for 1,024 chunks, where a segment has four."""


@pytest.fixture
def few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (constants, maps, content, segment):
        monkeypatch.setattr(module, "MAX_SLOTS", SLOTS)


def test_no_chunk_goes_to_a_slot_that_a_reader_refuses(store: MemoryStore, few_slots: None) -> None:
    """Chunks are written whole and changed in part, in turn with every step of checkpoints."""
    vault = open_inline(store)
    size = 4 * SMALL_CHUNK
    inode = put_file(vault, b"hot", bytes(size))
    expected = bytearray(size)
    vault.vault.open_inode(inode)
    rng = random.Random(16)
    highest, job = 0, None
    for number in range(600):
        if rng.random() < 0.7:
            offset, data = rng.randrange(4) * SMALL_CHUNK, rng.randbytes(SMALL_CHUNK)
        else:
            offset, data = rng.randrange(size - 9), rng.randbytes(9)
        vault.write(inode, offset, data)
        expected[offset : offset + len(data)] = data
        step = rng.random()
        if job is None and step < 0.2:
            job = vault.vault.begin_checkpoint()
        elif job is not None and step < 0.4:
            job.run()
            assert job.finish()
            job.clean_up()
            job = None
            assert_others_are_free(vault.vault._state, inode)
        file = vault.vault._state.contents[inode]
        highest = max(highest, *(found.end for found in file.committed.values()), 0)
        if number % 100 == 0:
            again = open_inline(store.copy())
            assert again.read(again.walk(b"hot").id, 0, size) == expected
    assert SLOTS // 2 < highest <= SLOTS
    if job is not None:
        job.run()
        assert job.finish()
        job.clean_up()
    vault.vault.release(inode)
    vault.vault.close()
    assert_clean(store)
    again = open_inline(store)
    assert again.read(again.walk(b"hot").id, 0, size) == expected


def assert_others_are_free(state: State, inode: int) -> None:
    """No slot is taken but those that the committed map names, and those that this epoch's changes have used."""
    file = state.contents[inode]
    for found in file.committed.values():
        named = {entry.slot for _, entry in maps.leaf_entries(found.leaf or b"")}
        named |= {found.node.slot} if found.node is not None else set()
        chunks = [chunk for chunk in file.active.chunks.values() if isinstance(chunk, segment.SlotRef)]
        named |= {chunk.entry.slot for chunk in chunks if chunk.segment is found}
        named |= {slot for where, slot in state.active.let_go_slots if where is found}
        assert found.taken == len(named)
