"""Where a file has data and where it has holes, chunk by chunk, as lseek(2) tells with SEEK_DATA and SEEK_HOLE."""

from vaultfs.format.constants import CHUNKS_PER_SEGMENT
from vaultfs.vault.content import FileContent
from vaultfs.vault.fileio import regular
from vaultfs.vault.state import State

_LONGEST = 1024  # chunks


def data_range(state: State, inode_id: int, offset: int) -> tuple[int, int] | None:
    """(start, end) in bytes of the data at or behind `offset`, None if there is only a hole up to the end.

    A long range comes in pieces. Raises FilesystemError or NotReady. Owner thread.
    """
    inode = regular(state.inode(inode_id))
    if offset >= inode.size:
        return None
    content = state.content(inode)
    size = state.objects.chunk_size
    last = -(-inode.size // size)
    first = _next_chunk(content, offset // size, last)
    if first is None:
        return None
    end = first + 1
    while end < last and end - first < _LONGEST and content.find(end) is not None:
        end += 1
    return max(first * size, offset), min(end * size, inode.size)


def _next_chunk(content: FileContent, chunk: int, last: int) -> int | None:
    layers = [layer for layer in (content.active, content.frozen) if layer is not None]
    changed = {number // CHUNKS_PER_SEGMENT for layer in layers for number in layer.chunks}
    while chunk < last:
        number = chunk // CHUNKS_PER_SEGMENT
        if number not in changed and content.segment(number) is None and (chunk or not content.inline):
            chunk = (number + 1) * CHUNKS_PER_SEGMENT
        elif content.find(chunk) is not None:
            return chunk
        else:
            chunk += 1
    return None
