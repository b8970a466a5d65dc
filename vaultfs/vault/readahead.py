"""Brings in what is likely to be asked for next: the files and directories that follow those just read.

All of it is a guess that may come to nothing: it changes nothing, and what cannot be read is left to whoever needs it.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

from vaultfs.errors import Damaged, FilesystemError
from vaultfs.format.constants import CHUNKS_PER_SEGMENT
from vaultfs.format.layout import object_path, slot_offset
from vaultfs.sealing.entries import Pointer, decode_entry, decode_head, entry_id_and_mode, has_inline_data
from vaultfs.sealing.maps import InlineData, InlineMap, MapEntry, NodeReference, decode_content
from vaultfs.sealing.slots import stored_slot_size
from vaultfs.vault.content import NeedLeaf
from vaultfs.vault.directory import Directory
from vaultfs.vault.inode import Inode
from vaultfs.vault.objects import Objects
from vaultfs.vault.readplan import read_plan
from vaultfs.vault.state import State
from vaultfs.vault.waits import NotReady

_FILE_BYTES = 128 << 10
_MOST_LOOKED_AT = 4096  # entries, on the owner thread: less than a millisecond or two
_MOST_DIRECTORIES = 256


class Extent(NamedTuple):
    """Bytes of an object that are worth having in memory."""

    path: str
    offset: int
    size: int


class Neighbours:
    """Where files stand among the names of their directory, in the order it lists them; knows one at a time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._directory: Directory | None = None
        self._names: list[bytes] = []
        self._positions: dict[bytes, int] = {}

    def position(self, inode_id: int) -> tuple[int, int] | None:
        """(id of the directory, position in it) of an inode; None if it is not known without reading anything."""
        inode = self._state.find_inode(inode_id)
        directory = self._state.directories.get(inode.parent) if inode is not None else None
        if inode is None or directory is None:
            return None
        if directory is not self._directory or len(directory.committed) != len(self._names):
            self._directory = directory
            self._names = list(directory.committed)
            self._positions = {name: position for position, name in enumerate(self._names)}
        position = self._positions.get(inode.name)
        return None if position is None else (directory.id, position)

    def entries(self, start: int, count: int) -> list[bytes]:
        """The encoded entries of `count` names from a position on, in the directory last asked for.

        Those of files without objects are left out.
        """
        if self._directory is None:
            return []
        committed = self._directory.committed
        names = islice(self._names, start, start + count)
        return [entry for name in names if (entry := committed.get(name)) is not None and not has_inline_data(entry)]


def subdirectories(state: State, inode_id: int) -> list[bytes]:
    """The committed encoded entries of the first few directories in a directory that is in memory."""
    directory = state.directories.get(inode_id)
    if directory is None:
        return []
    entries = islice(directory.committed.values(), _MOST_LOOKED_AT)
    return list(islice(filter(_is_directory, entries), _MOST_DIRECTORIES))


def read_ahead_files(objects: Objects, entries: Iterable[bytes]) -> None:
    """Bring in the beginnings of the files with these encoded entries. Any thread."""
    _read_ahead_contents(objects, map(_file_content, entries), _FILE_BYTES)


def read_ahead_content(state: State, inode_id: int, offset: int, size: int) -> Iterator[Callable[[], None]]:
    """Jobs that bring in a part of a file, one for each segment. Of one whose map is not in memory they bring in that,
    and what stands where the chunks do in a file that was written in order.
    """
    chunk_size = state.objects.chunk_size
    segment_size = CHUNKS_PER_SEGMENT * chunk_size
    try:
        end = min(offset + size, state.inode(inode_id).size)
        while offset < end:
            stop = min(end, offset + segment_size - offset % segment_size)
            try:
                yield read_plan(state, inode_id, offset, stop - offset).read_ahead
            except NeedLeaf as missing:
                first, last = offset // chunk_size, -(-stop // chunk_size)
                extents = _unread_extents(missing, first % CHUNKS_PER_SEGMENT, last - first, chunk_size)
                yield partial(_bring_in, state.objects, list(extents))
            offset = stop
    except (FilesystemError, NotReady):
        return


def contents_ahead(objects: Objects, inodes: Iterable[Inode], size: int) -> Callable[[], None]:
    """Brings in the first `size` bytes of these files. The job may be done in any thread."""
    return partial(_read_ahead_contents, objects, [inode.content for inode in inodes], size)


def _read_ahead_contents(objects: Objects, sections: Iterable[bytes], size: int) -> None:
    chunk_size = objects.chunk_size
    _bring_in(objects, (extent for section in sections for extent in _content_extents(section, size, chunk_size)))


def read_ahead_slots(objects: Objects, path: str, entries: Iterable[MapEntry]) -> None:
    """Bring in these slots of an object, neighbouring ones together. Any thread."""
    _bring_in(objects, _slot_extents(path, entries, objects.chunk_size))


def read_ahead_directories(objects: Objects, entries: Iterable[bytes]) -> None:
    """Bring in the names of the directories with these encoded entries. Any thread."""
    _bring_in(objects, (extent for entry in entries for extent in _directory_extents(entry)))


def _bring_in(objects: Objects, extents: Iterable[Extent]) -> None:
    for path, offset, size in extents:
        objects.handles.read_ahead(path, size, offset)


def _is_directory(entry: bytes) -> bool:
    try:
        return stat.S_ISDIR(entry_id_and_mode(entry)[1])
    except Damaged:
        return False


def _content(encoded: bytes, kind: int) -> bytes:
    entry = decode_entry(encoded)
    return b"" if isinstance(entry, Pointer) or stat.S_IFMT(entry.mode) != kind else entry.content


def _file_content(encoded: bytes) -> bytes:
    try:
        return _content(encoded, stat.S_IFREG)
    except Damaged:
        return b""


def _content_extents(section: bytes, size: int, chunk_size: int) -> Iterator[Extent]:
    try:
        content = decode_content(section) if section else None
    except Damaged:
        return
    if content is None or isinstance(content.map, InlineData):
        return
    # A file written in one go has its chunks in order from the first slot on.
    end = slot_offset(-(-min(content.stored, size) // chunk_size), chunk_size)
    if isinstance(content.map, InlineMap):
        yield Extent(object_path(content.map.object), 0, end)
    elif content.map.level == 0 and content.map.references:
        _, leaf = content.map.references[0]
        path = object_path(leaf.object)
        yield _node_extent(path, leaf, chunk_size)
        yield Extent(path, 0, end)


def _node_extent(path: str, node: NodeReference, chunk_size: int) -> Extent:
    return Extent(path, slot_offset(node.slot, chunk_size), stored_slot_size(node.length))


def _unread_extents(missing: NeedLeaf, first: int, count: int, chunk_size: int) -> Iterator[Extent]:
    path = missing.segment.path
    if (leaf := missing.segment.node) is not None:
        yield _node_extent(path, leaf, chunk_size)
    start = slot_offset(first, chunk_size)
    yield Extent(path, start, slot_offset(first + count, chunk_size) - start)


def _slot_extents(path: str, entries: Iterable[MapEntry], chunk_size: int) -> Iterator[Extent]:
    start = end = 0
    for entry in entries:
        offset = slot_offset(entry.slot, chunk_size)
        if offset != end:
            if end:
                yield Extent(path, start, end - start)
            start = offset
        end = offset + stored_slot_size(entry.length)
    if end:
        yield Extent(path, start, end - start)


def _directory_extents(encoded: bytes) -> Iterator[Extent]:
    try:
        section = _content(encoded, stat.S_IFDIR)
        head = decode_head(section) if section else None
    except Damaged:
        return
    if head is not None:
        for part in (head.base, head.delta):
            if part is not None:
                yield Extent(object_path(part.object), 0, part.length)
