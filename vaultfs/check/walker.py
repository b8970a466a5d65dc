"""Walks a committed tree: every directory, every inode once, in an order that lasts, one directory in memory."""

import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from vaultfs.check.committed import CommittedTree, Gone, Names, Place
from vaultfs.check.diagnosis import diagnose_part
from vaultfs.check.findings import Kind, Report, error, warning
from vaultfs.check.idset import IdSet
from vaultfs.errors import Damaged
from vaultfs.format.constants import ORPHANS_ID, ROOT_ID, SHARED_ID
from vaultfs.format.layout import object_path
from vaultfs.sealing.entries import Entry, Pointer, decode_entry, decode_head
from vaultfs.vault.state import hidden_name, shard_name, shard_of

_KEPT_SHARED = 200_000


class Visit(NamedTuple):
    """One inode, at the first place it is met; hidden directories are visited as well."""

    place: Place
    entry: Entry


class Walker:
    """A directory's own entries come in the order of their names, then its directories in theirs.

    What cannot be read is reported and left out. `wanted` tells whether to enter a directory. After a whole walk,
    `links` maps each hard-linked inode met to how many names it has.
    """

    def __init__(
        self, tree: CommittedTree, report: Report, wanted: Callable[[Place], bool] = lambda place: True
    ) -> None:
        self._tree = tree
        self._report = report
        self._wanted = wanted
        self._seen = IdSet()
        self._shards: dict[int, Names] = {}
        self.links: dict[int, int] = {}
        # Directories that could not be read, so that what is missing elsewhere may be in them.
        self.unread: list[Visit] = []

    def has_met(self, inode_id: int) -> bool:
        """Whether an inode was met so far, by an entry or by a hard link."""
        return inode_id in self._seen or inode_id in self.links

    def walk(self) -> Iterator[Visit]:
        """Everything a user sees, then the deleted files that are still open, then the hard-link table."""
        for top in (ROOT_ID, ORPHANS_ID, SHARED_ID):
            place = Place(top, ())
            self._seen.add(top)
            try:
                entry = self._tree.top(top)
            except Damaged as damage:
                self._report(error(Kind.CORRUPT, str(damage), place.path, "root"))
                continue
            # A stack of our own: a tree may be deeper than Python's.
            waiting = [(place, entry)]
            while waiting:
                place, entry = waiting.pop()
                if self._wanted(place):
                    below: list[tuple[Place, Entry]] = []
                    yield from self._directory(place, entry, below)
                    waiting += reversed(below)

    def _directory(self, place: Place, entry: Entry, below: list[tuple[Place, Entry]]) -> Iterator[Visit]:
        names, entry = self._names(place, entry)
        yield Visit(place, entry)
        for name in sorted(names):
            child = self._child(place.below(name), names.pop(name))
            if child is None:
                continue
            if stat.S_ISDIR(child.mode):
                below.append((place.below(name), child))
            elif place.top != SHARED_ID:
                yield Visit(place.below(name), child)

    def _names(self, place: Place, entry: Entry) -> tuple[Names, Entry]:
        while True:
            try:
                return self._tree.load(entry), entry
            except Damaged as damage:
                try:
                    again = self._tree.look_again(place, entry)
                except Gone:
                    return {}, entry
                if again is None or not stat.S_ISDIR(again.mode):
                    self.unread.append(Visit(place, entry))
                    self._report_directory(place, entry, damage)
                    return {}, entry
                entry = again

    def _report_directory(self, place: Place, entry: Entry, damage: Damaged) -> None:
        for kind, cause, path in self._diagnose(entry) or [(Kind.CORRUPT, str(damage), "")]:
            self._report(error(kind, f"a directory: {cause}", place.path, path))

    def _diagnose(self, entry: Entry) -> list[tuple[Kind, str, str]]:
        """(kind, cause, object) of what is wrong with a directory's objects."""
        objects = self._tree.objects
        found: list[tuple[Kind, str, str]] = []
        try:
            head = decode_head(entry.content)
            key = objects.context.unwrap_file_key(entry.id, head.wrapped_key).key
            for part in filter(None, (head.base, head.delta)):
                if diagnosis := diagnose_part(objects, key, part):
                    found.append((*diagnosis, object_path(part.object)))
        except Damaged as damage:
            return [*found, (Kind.CORRUPT, str(damage), "")]
        return found

    def _child(self, place: Place, encoded: bytes) -> Entry | None:
        try:
            entry = decode_entry(encoded)
            if isinstance(entry, Pointer):
                return self._linked(place, entry)
        except Damaged as damage:
            self._report(error(Kind.CORRUPT, str(damage), place.path))
            return None
        # The hard-link table is met by its names first.
        if place.top != SHARED_ID and not self._seen.add(entry.id):
            self._report(error(Kind.CORRUPT, f"inode {entry.id} stands in two places", place.path))
            return None
        return entry

    def _linked(self, place: Place, pointer: Pointer) -> Entry | None:
        count = self.links.get(pointer.id, 0)
        self.links[pointer.id] = count + 1
        if count:
            return None
        try:
            return self._shared(pointer.id)
        except Damaged:
            self._shards.clear()
            self._tree.refresh()
        try:
            return self._tree.find(place)
        except Damaged as damage:
            self._report(error(self._table_trouble(pointer.id), f"a hard-linked file: {damage}", place.path))
            return None

    def _table_trouble(self, inode_id: int) -> Kind:
        """What is wrong with the part of the hard-link table that has an inode: is it broken, or may it still come?"""
        try:
            for names in ((), (shard_name(shard_of(inode_id)),)):
                entry = self._tree.find(Place(SHARED_ID, names))
                if entry is not None and (found := self._diagnose(entry)):
                    return found[0][0]
        except Damaged:
            pass
        return Kind.CORRUPT

    def _shared(self, inode_id: int) -> Entry:
        shard_id = shard_of(inode_id)
        names = self._shards.get(shard_id)
        if names is None:
            if sum(map(len, self._shards.values())) > _KEPT_SHARED:
                self._shards.clear()
            shard = self._tree.find(Place(SHARED_ID, (shard_name(shard_id),)))
            names = self._shards[shard_id] = self._tree.load(shard) if shard is not None else {}
        encoded = names.get(hidden_name(inode_id))
        entry = decode_entry(encoded) if encoded is not None else None
        if not isinstance(entry, Entry):
            raise Damaged(f"the attributes of hard-linked inode {inode_id} are missing")
        return entry

    def check_links(self, place: Place, names: Names) -> None:
        """Hold a shard's link counts against the names met; after a whole walk that read every directory."""
        for name, entry, met in self.wrong_links(names):
            if met == 0:
                self._report(warning(Kind.ORPHAN, "a hard-linked file without a name", place.below(name).path))
            else:
                cause = f"inode {entry.id} has {met} names and counts {entry.nlink}"
                self._report(warning(Kind.CORRUPT, cause, place.below(name).path))

    def wrong_links(self, names: Names) -> Iterator[tuple[bytes, Entry, int]]:
        """(hidden name, entry, names met) of a shard's inodes that count another number of names."""
        for name in sorted(names):
            entry = decode_entry(names[name])
            if isinstance(entry, Entry) and self.links.get(entry.id, 0) != entry.nlink:
                yield name, entry, self.links.get(entry.id, 0)
