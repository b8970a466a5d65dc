"""Reads a vault's files piece by piece for copies: data without holes, and around what is damaged."""

from collections.abc import Callable, Iterator

from vaultfs.cli.lookahead import FileAhead, Lookahead
from vaultfs.cli.walking import TreeWalk
from vaultfs.errors import Damaged
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode

PIECE = 1 << 20
"""Bytes. Much larger ones come in memory that the kernel has to clear first, each time."""

Loss = Callable[[int, int, str], None]
"""Told of bytes that cannot be read: start, end, and why."""

Pieces = Callable[[Inode, Loss], Iterator[tuple[int, bytes | memoryview]]]
"""(offset, bytes) of a file's data."""


def data_pieces(inline: Inline, lookahead: Lookahead, inode: Inode, lost: Loss) -> Iterator[tuple[int, memoryview]]:
    """(offset, bytes) of a file's data; holes and what cannot be read are left out, the latter told to `lost`.

    The file's beginning is begun by `lookahead` already.
    """
    ahead = FileAhead(lookahead, inline, inode.id, begun=True)
    offset = 0
    while True:
        try:
            found = inline.data_range(inode.id, offset)
        except Damaged as damage:
            lost(offset, inode.size, str(damage))
            return
        if found is None:
            return
        start, end = found
        for position in range(start, end, PIECE):
            ahead.reading(position)
            yield from _piece(inline, inode, position, min(position + PIECE, end), lost)
        offset = end


def _piece(inline: Inline, inode: Inode, start: int, end: int, lost: Loss) -> Iterator[tuple[int, memoryview]]:
    chunk_size = inline.vault.chunk_size
    try:
        data = inline.read_view(inode.id, start, end - start)
    except Damaged as damage:
        if end - start <= chunk_size:
            lost(start, end, str(damage))
            return
    else:
        yield start, data
        return
    # Once more chunk by chunk, so that only what is damaged is lost.
    for position in range(start, end, chunk_size):
        yield from _piece(inline, inode, position, min(position + chunk_size, end), lost)


def data_size(inline: Inline, start: Inode) -> int:
    """The bytes of data below an inode, holes left out; takes a walk."""
    steps = TreeWalk(inline, start)
    return sum(inline.vault.blocks(step.inode) * 512 for step in steps if step.inode is not None and not step.leaving)
