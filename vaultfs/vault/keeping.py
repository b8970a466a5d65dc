"""Keeps what replay would delete once it had to leave a change out: that may have moved the very thing to safety.

A journal that says "move a file into a folder, put another in its place" deletes the file if the first cannot be done
and the second is. So whatever loses its last name behind such a change gets one in lost+found.
"""

import stat
from collections.abc import Callable, Iterator
from itertools import chain, count

from vaultfs.errors import Damaged
from vaultfs.format.constants import ROOT_ID
from vaultfs.sealing.entries import encode_entry, entry_id_and_mode, new_entry
from vaultfs.sealing.records import Create, Link, Record, Rename, Unlink
from vaultfs.vault.apply import RENAME_EXCHANGE, apply
from vaultfs.vault.directory import Directory
from vaultfs.vault.inode import Inode
from vaultfs.vault.state import TOP_IDS, State
from vaultfs.vault.waits import resolve

LOST_AND_FOUND = b"lost+found"


def numbered(name: bytes) -> Iterator[bytes]:
    """A name, then the same with numbers behind it, from 2 on: for what must not meet something that is there."""
    return chain((name,), (b"%b-%d" % (name, number) for number in count(2)))


def find_lost_and_found(find: Callable[[bytes], Inode | None], make: Callable[[bytes], Inode]) -> Inode:
    """The directory for what has no place any more, by what `find` finds in the top one.

    It is made if it is missing, and under another name if that is taken by something else.
    """
    for name in numbered(LOST_AND_FOUND):
        found = find(name)
        if found is None:
            return make(name)
        if stat.S_ISDIR(found.mode):
            return found
    raise AssertionError("there is always one more name")


class Keeper:
    """`records` are all that may be applied: none of the inodes they make has the number that lost+found gets."""

    def __init__(self, state: State, records: list[tuple[int, Record]]) -> None:
        self._state = state
        self._records = records

    def make_way(self, record: Record) -> bool:
        """Keep what a record would delete or hide; False if the record has nothing more to do then. Raises Damaged."""
        match record:
            case Unlink(parent, time, _, name):
                return not self._keep(parent, name, time)
            case Rename():
                self._refuse_unfit(record)
                if not record.flags & RENAME_EXCHANGE:
                    self._keep(record.new_parent, record.new_name, record.time)
            case Link():
                self._inode(record.inode)
                self._keep(record.parent, record.name, record.time, one_of_several=True)
            case Create(parent, time, name):
                self._keep(parent, name, time, one_of_several=True)
        return True

    def _refuse_unfit(self, record: Rename) -> None:
        """Damaged for a move of what is not there, or of a directory into itself, before anything makes way for it."""
        moved, other = self._child(record.parent, record.name), self._child(record.new_parent, record.new_name)
        if moved is None:
            raise Damaged("a journal record renames a name that is not there")
        self._refuse_cycle(moved, record.new_parent)
        if other is not None and record.flags & RENAME_EXCHANGE:
            self._refuse_cycle(other, record.parent)

    def _refuse_cycle(self, moved: Inode, above: int) -> None:
        while stat.S_ISDIR(moved.mode) and above not in TOP_IDS:
            if above == moved.id:
                raise Damaged("a journal record moves a directory into itself")
            above = self._inode(above).parent

    def _child(self, parent: int, name: bytes) -> Inode | None:
        return resolve(lambda: self._state.child(self._state.directory(parent), name))

    def _inode(self, inode_id: int) -> Inode:
        return resolve(lambda: self._state.inode(inode_id))

    def _keep(self, parent: int, name: bytes, time: int, *, one_of_several: bool = False) -> bool:
        """Move what has a name to lost+found; `one_of_several` says whether even if it is a file with other names.

        A directory with nothing in it is kept as well: something may be to come into it.
        """
        inode = self._child(parent, name)
        if inode is None or (inode.shared and inode.nlink > 1 and not one_of_several):
            return False
        lost = self._lost_and_found(time)
        if lost.id == inode.id:
            lost, names = self._directory(ROOT_ID), numbered(LOST_AND_FOUND)
        else:
            names = numbered(b"%d" % inode.id)
        free = next(each for each in names if lost.find(each) is None)
        resolve(lambda: apply(self._state, Rename(parent, lost.id, time, 0, False, name, free, b"")))
        return True

    def _lost_and_found(self, time: int) -> Directory:
        def make(name: bytes) -> Inode:
            entry = encode_entry(new_entry(self._free_id(), stat.S_IFDIR | 0o700, 0, 0, time))
            resolve(lambda: apply(self._state, Create(ROOT_ID, time, name, entry)))
            return self._inode(entry_id_and_mode(entry)[0])

        return self._directory(find_lost_and_found(lambda name: self._child(ROOT_ID, name), make).id)

    def _directory(self, inode_id: int) -> Directory:
        return resolve(lambda: self._state.directory(inode_id))

    def _free_id(self) -> int:
        entries = [record.entry for _, record in self._records if isinstance(record, Create)]
        entries += [record.whiteout for _, record in self._records if isinstance(record, Rename) and record.whiteout]
        return max([self._state.next_id, *(entry_id_and_mode(entry)[0] + 1 for entry in entries)])
