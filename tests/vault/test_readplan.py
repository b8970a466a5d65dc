"""A read into buffers that were used before gives the file's bytes, wherever they come from, and no others."""

import random
from functools import partial

import pytest

from tests.vault.harness import ROOT, SMALL_CHUNK, new_store, open_inline, small_limits
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.scratch import ReadBuffers
from vaultfs.vault.waits import resolve

CHUNK = SMALL_CHUNK


def write_in_pieces(vault: Inline, name: bytes, seed: int) -> tuple[int, bytes]:
    """A file with holes, short chunks that were made longer, chunks in slots and chunks in memory; its bytes."""
    rng = random.Random(seed)
    content = bytearray()
    inode = vault.create_inode(ROOT, name, 0o100600).id
    for step in range(40):
        offset = rng.randrange(30 * CHUNK)
        piece = rng.randbytes(rng.choice([7, CHUNK // 2, CHUNK, 3 * CHUNK, 5 * CHUNK + 9]))
        if step % 9 == 8:
            content = content[: offset // 2].ljust(offset, b"\0")
            vault.setattr(inode, SetAttr(size=offset // 2))
            vault.setattr(inode, SetAttr(size=offset))
        else:
            content = content.ljust(offset, b"\0")
            content[offset : offset + len(piece)] = piece
            vault.write(inode, offset, piece)
        if step % 13 == 12:
            vault.vault.checkpoint()
    return inode, bytes(content)


@pytest.mark.parametrize("seed", range(5))
def test_buffers_that_were_used_leave_nothing_behind(seed: int) -> None:
    with small_limits():
        vault = open_inline(new_store())
        files = [write_in_pieces(vault, b"%d" % number, 10 * seed + number) for number in range(3)]
        rng = random.Random(seed)
        buffers = ReadBuffers()
        for _ in range(600):
            inode, content = rng.choice(files)
            offset = rng.randrange(len(content) + CHUNK)
            size = rng.choice([1, CHUNK // 3, CHUNK, 4 * CHUNK, 40 * CHUNK])
            plan = resolve(partial(vault.vault.read_plan, inode, offset, size))
            answer = plan.run_cached(buffers)
            assert answer is not None
            assert answer == content[offset : offset + size]
            assert plan.run() == answer
        vault.vault.close()


def test_what_run_gives_is_the_callers_alone() -> None:
    with small_limits():
        vault = open_inline(new_store())
        inode, content = write_in_pieces(vault, b"a", 1)
        first = vault.read_view(inode, 0, 8 * CHUNK)
        vault.read_view(inode, 8 * CHUNK, 8 * CHUNK)
        assert first == content[: 8 * CHUNK]
        vault.vault.close()
