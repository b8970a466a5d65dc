"""A file with data in some of its segments only reads the same after each commit, wherever the holes are."""

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import SMALL_CHUNK, SMALL_LIMITS, open_inline, put_file
from vaultfs.vault.inode import SetAttr

SEGMENT = SMALL_LIMITS["CHUNKS_PER_SEGMENT"] * SMALL_CHUNK  # bytes of a file in one object
INLINE_CHUNKS = SMALL_LIMITS["INLINE_CHUNKS"]


@pytest.mark.parametrize("chunks", [1, INLINE_CHUNKS + 1])
@pytest.mark.parametrize("segments", [(0,), (1,), (0, 1), (1, 0), (2, 1), (1, 200), (200, 0)])
def test_data_between_holes_reads_back_after_each_commit(
    store: MemoryStore, segments: tuple[int, ...], chunks: int
) -> None:
    vault = open_inline(store)
    file = put_file(vault, b"file")
    written: dict[int, bytes] = {}
    for number in segments:
        written[number * SEGMENT] = b"%03d" % number + b"x" * (chunks * SMALL_CHUNK - 3)
        vault.write(file, number * SEGMENT, written[number * SEGMENT])
        vault.vault.close()
        vault = open_inline(store)
        file = vault.walk(b"file").id
        assert vault.getattr(file).size == max(written) + chunks * SMALL_CHUNK
        for place in (0, *(number * SEGMENT for number in (1, 2, 3, 200))):
            if place < vault.getattr(file).size:
                expected = written.get(place, b"")
                assert vault.read(file, place, 3 * SMALL_CHUNK)[: len(expected)] == expected[: 3 * SMALL_CHUNK]
                assert not any(vault.read(file, place + len(expected), SMALL_CHUNK))


@pytest.mark.parametrize("kept", [0, 1])
def test_what_was_cut_off_and_written_further_on_leaves_a_hole(store: MemoryStore, kept: int) -> None:
    vault = open_inline(store)
    file = put_file(vault, b"file", b"old" * SMALL_CHUNK)
    vault.write(file, SEGMENT, b"old")
    assert vault.vault.checkpoint()
    vault.setattr(file, SetAttr(size=kept))
    vault.write(file, SEGMENT + 5, b"new")
    vault.vault.close()
    vault = open_inline(store)
    file = vault.walk(b"file").id
    assert vault.read(file, 0, 3 * SMALL_CHUNK) == b"old"[:kept].ljust(3 * SMALL_CHUNK, b"\0")
    assert vault.read(file, SEGMENT, 100) == b"\0" * 5 + b"new"
