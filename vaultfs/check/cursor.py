"""How far a check has come: a position in the walk's order, which stays meaningful while the tree changes."""

import stat
from typing import NamedTuple

from vaultfs.check.committed import Place
from vaultfs.format.constants import ORPHANS_ID, ROOT_ID, SHARED_ID
from vaultfs.sealing.entries import Entry

_ORDER = (ROOT_ID, ORPHANS_ID, SHARED_ID)


class Cursor(NamedTuple):
    """An inode's position: which top, its directory's path, its name there (empty for a directory itself).

    Tuples compare as the walk goes: a directory comes before what is below it, its files before its directories'.
    """

    top: int
    directory: tuple[bytes, ...]
    name: bytes

    def done_below(self, place: Place) -> bool:
        """Whether everything in a directory was before this position."""
        top = _ORDER.index(place.top)
        return (top, place.names) < (self.top, self.directory[: len(place.names)])

    def to_json(self) -> list[object]:
        """The cursor as JSON."""
        return [self.top, [name.hex() for name in self.directory], self.name.hex()]


def cursor_of(place: Place, entry: Entry) -> Cursor:
    """The position of an inode met in a walk."""
    top = _ORDER.index(place.top)
    if stat.S_ISDIR(entry.mode):
        return Cursor(top, place.names, b"")
    return Cursor(top, place.names[:-1], place.names[-1])


def cursor_from_json(value: object) -> Cursor:
    """Read a cursor; raises ValueError."""
    match value:
        case [int(top), list(names), str(name)] if all(isinstance(each, str) for each in names):
            return Cursor(top, tuple(bytes.fromhex(each) for each in names), bytes.fromhex(name))
    raise ValueError("that is no position of a check")
