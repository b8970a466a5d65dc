"""Brings in what is likely to be asked for next: the files and directories that follow those just read.

All of it is a guess that may come to nothing: it changes nothing, and what cannot be read is left to whoever needs it.
"""

import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import OBJECT_HEADER_SIZE, SLOT_OVERHEAD
from vaultfs.format.layout import object_path
from vaultfs.sealing.entries import Pointer, decode_entry, decode_head, entry_id_and_mode
from vaultfs.sealing.maps import InlineMap, decode_content
from vaultfs.vault.directory import Directory
from vaultfs.vault.objects import Objects
from vaultfs.vault.state import State

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
        """The encoded entries of `count` names from a position on, in the directory last asked for."""
        if self._directory is None:
            return []
        committed = self._directory.committed
        names = islice(self._names, start, start + count)
        return [entry for name in names if (entry := committed.get(name)) is not None]


def subdirectories(state: State, inode_id: int) -> list[bytes]:
    """The committed encoded entries of the first few directories in a directory that is in memory."""
    directory = state.directories.get(inode_id)
    if directory is None:
        return []
    entries = islice(directory.committed.values(), _MOST_LOOKED_AT)
    return list(islice(filter(_is_directory, entries), _MOST_DIRECTORIES))


def read_ahead_files(objects: Objects, entries: Iterable[bytes]) -> None:
    """Bring in the beginnings of the files with these encoded entries. Any thread."""
    _bring_in(objects, (extent for entry in entries for extent in _file_extents(entry)))


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


def _file_extents(encoded: bytes) -> Iterator[Extent]:
    try:
        section = _content(encoded, stat.S_IFREG)
        content = decode_content(section) if section else None
    except Damaged:
        return
    if content is not None and isinstance(content.map, InlineMap):
        # A file written in one go has its chunks in order from the first slot on.
        size = min(content.stored, _FILE_BYTES) + OBJECT_HEADER_SIZE + 2 * SLOT_OVERHEAD
        yield Extent(object_path(content.map.object), 0, size)


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
