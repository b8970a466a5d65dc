"""Makes again what a journal changes and no directory has any more, as far as the journal itself tells what it was.

Only a repair meets that: it puts a broken directory together without the entries that were in its broken frames, then
has the journal's changes made again. A directory that is lost gets an empty one in its place, for what came into it; a
file only where a change tells all of its content, since nothing may stand in a file for bytes that are lost.
"""

import stat
from collections.abc import Iterator

from vaultfs.errors import Damaged, NotFound
from vaultfs.sealing.entries import Entry, encode_entry
from vaultfs.sealing.records import (
    Create,
    Link,
    Locate,
    Record,
    Rename,
    SetAttributes,
    Truncate,
    Unlink,
    Write,
)
from vaultfs.vault.apply import apply
from vaultfs.vault.state import HIDDEN_IDS, State
from vaultfs.vault.waits import resolve


class StandIns:
    """What is lost is known by the records that say where it was; `records` are all of a journal, in order."""

    def __init__(self, state: State, records: list[tuple[int, Record]]) -> None:
        self._state = state
        self._directories = {inode_id for _, record in records for inode_id in _directories_of(record)}
        self._places: dict[int, tuple[int, bytes]] = {}
        self._attributes: dict[int, SetAttributes] = {}

    def make(self, record: Record) -> bool:
        """Make what a record lacks that could not be applied; False if it cannot be, or not yet."""
        match record:
            case Locate(inode, parent, name):
                self._places[inode] = parent, name
                return inode in self._directories and self._make(inode, stat.S_IFDIR | 0o700, 0)
            case SetAttributes():
                self._attributes[record.inode] = record
            case Truncate(inode, 0, mode, time):
                return self._make(inode, mode, time)
            case Write() if _is_whole(record, self._state.objects.chunk_size):
                return self._make(record.inode, record.mode, record.time)
        return False

    def _make(self, inode_id: int, mode: int, time: int) -> bool:
        state = self._state
        place = self._places.get(inode_id)
        if place is None or place[0] in HIDDEN_IDS or state.find_inode(inode_id) is not None:
            return False
        parent, name = place
        try:
            directory = resolve(lambda: state.directory(parent))
            above = resolve(lambda: state.inode(parent))
        except (Damaged, NotFound):
            return False
        if directory.find(name) is not None:
            return False
        known = self._attributes.get(inode_id)
        owner = known or above
        mode, time = (known.mode, known.mtime) if known is not None else (mode, time or above.mtime)
        links = 2 if stat.S_ISDIR(mode) else 1
        entry = Entry(inode_id, mode, owner.uid, owner.gid, links, 0, time, time, time, time, 0, b"", {}, b"")
        resolve(lambda: apply(state, Create(parent, time, name, encode_entry(entry))))
        return True


def _directories_of(record: Record) -> Iterator[int]:
    """The ids of the inodes that a record shows to be directories."""
    match record:
        case Create(parent) | Link(parent=parent) | Unlink(parent) | Locate(parent=parent):
            yield parent
        case Rename():
            yield from (record.parent, record.new_parent)
        case SetAttributes() if stat.S_ISDIR(record.mode):
            yield record.inode


def _is_whole(record: Write, chunk_size: int) -> bool:
    """Whether a write brings every byte of a file, as long as it is then."""
    pieces = [(piece.chunk * chunk_size, piece.length) for piece in record.direct]
    pieces += [(offset, len(data)) for offset, data in record.patches]
    end = 0
    for offset, length in sorted(pieces):
        if offset > end:
            return False
        end = max(end, offset + length)
    return end >= record.size
