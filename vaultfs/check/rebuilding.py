"""Plans directories anew from the entries that are left of them in the store."""

import stat
from collections.abc import Iterable
from contextlib import suppress

from vaultfs.check.committed import CommittedTree, Place
from vaultfs.check.lostfound import free_place, lost_and_found
from vaultfs.check.repairstep import Step
from vaultfs.check.salvage import LOST_AND_FOUND
from vaultfs.check.scan import Scan, own_accounts
from vaultfs.check.walker import Walker
from vaultfs.errors import Damaged
from vaultfs.format.constants import ROOT_ID, SHARED_ID
from vaultfs.sealing.entries import Entry, Pointer, decode_entry, encode_entry, encode_pointer, entry_id_and_mode
from vaultfs.vault.inline import Inline


def shared_ids(tree: CommittedTree) -> set[int] | None:
    """The ids of all hard-linked files; None if not all of the table can be read."""
    ids: set[int] = set()
    try:
        for shard in map(decode_entry, tree.load(tree.top(SHARED_ID)).values()):
            assert isinstance(shard, Entry)
            ids.update(decode_entry(encoded).id for encoded in tree.load(shard).values())
    except Damaged:
        return None
    return ids


def _newest_entries(scan: Scan, directories: Iterable[int]) -> dict[int, int]:
    """By the ids of inodes, the generation of the newest entry that one of these directories has of it."""
    newest: dict[int, int] = {}
    for directory in filter(None, map(scan.directories.get, directories)):
        for name, encoded in directory.entries.items():
            with suppress(Damaged):
                inode_id = entry_id_and_mode(encoded)[0]
                newest[inode_id] = max(newest.get(inode_id, 0), directory.changed[name])
    return newest


class Rebuilder:
    """What an entry says may be from before something was moved, linked or changed: frames that are broken said so.

    So an inode that has its place elsewhere is left out, a file that is in the hard-link table by now is named by
    that, and what a directory's own objects have of it counts more than what an old entry says of it. Where several of
    the `directories` to be rebuilt have an inode, the newest entry does.
    """

    def __init__(self, tree: CommittedTree, scan: Scan, walker: Walker, directories: Iterable[int]) -> None:
        self._tree = tree
        self._scan = scan
        self._walker = walker
        self._shared = shared_ids(tree)
        self._accounts = own_accounts(scan)
        self._newest = _newest_entries(scan, directories)
        self._claimed: set[int] = set()
        self._leftovers: list[bytes] = []
        # Where lost directories got their places, by the places they were to get.
        self._found: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}

    def has(self, inode_id: int) -> bool:
        """Whether an inode has its place."""
        return inode_id in self._claimed or self._walker.has_met(inode_id)

    def is_below(self, inode_id: int) -> bool:
        """Whether one of the directories to be rebuilt has it."""
        return inode_id in self._newest

    def leftovers(self) -> list[bytes]:
        """The names of the objects that directories rebuilt will no longer need."""
        return list(dict.fromkeys(self._leftovers))

    def in_use(self) -> set[bytes]:
        """The names of the objects of what gets its place here as it is."""
        objects = {name for inode_id in self._claimed for name in self._scan.objects_of(inode_id)}
        return objects - set(self._leftovers)

    def rebuild(self, place: Place, entry: Entry, *, joined: bool = False, made: bool = False) -> list[Step]:
        """The directory at a place that is there by then, with what is left of its entries, and those below in turn.

        `made` says that a new directory stands for it there.
        """
        self._claimed.add(entry.id)
        found = self._scan.directories.get(entry.id)
        if found is not None:
            self._leftovers += found.objects
        entries: dict[bytes, bytes] = {}
        below: list[tuple[Place, Entry]] = []
        for name, encoded in (found.entries if found is not None else {}).items():
            if found is not None and not self._is_outdated(encoded, found.changed[name]):
                self._admit(place.below(name), encoded, entries, below)
        for child_id in self._accounts.get(entry.id, []):
            child = self._scan.directories[child_id]
            if child.name not in entries and child.attributes is not None and child_id not in self._newest:
                encoded = encode_entry(child.attributes._replace(content=b""))
                self._admit(place.below(child.name), encoded, entries, below)
        plain = place.path.decode("utf-8", "backslashreplace")
        text = f"/{plain}: put the directory together from {len(entries)} entries"

        def replace(inline: Inline) -> None:
            top, rest = place.names[:2], place.names[2:]
            names = (*self._found.get(top, top), *rest)
            inline.call(lambda: inline.vault.replace_directory(names, None if made else entry.id, entries))

        steps = [Step(text, vault=replace, joined=joined)]
        for where, child_entry in below:
            steps += self._descend(where, child_entry)
        return steps

    def _admit(
        self, place: Place, encoded: bytes, entries: dict[bytes, bytes], below: list[tuple[Place, Entry]]
    ) -> None:
        try:
            entry = decode_entry(encoded)
        except Damaged:
            return
        if isinstance(entry, Pointer) or (self._shared is not None and entry.id in self._shared):
            if self._shared is None or entry.id in self._shared:
                entries[place.names[-1]] = encode_pointer(Pointer(entry.id, entry.mode))
            return
        if self.has(entry.id):
            return
        self._claimed.add(entry.id)
        if stat.S_ISDIR(entry.mode):
            below.append((place, entry))
        entries[place.names[-1]] = encoded

    def _is_outdated(self, encoded: bytes, generation: int) -> bool:
        try:
            return generation < self._newest.get(entry_id_and_mode(encoded)[0], 0)
        except Damaged:
            return True

    def _descend(self, place: Place, entry: Entry) -> list[Step]:
        """Give everything below a directory its place; rebuild what cannot be read, or is another by now."""
        try:
            names = self._tree.load(entry)
        except Damaged:
            return self.rebuild(place, entry, joined=True)
        children = [child for child in map(decode_entry, names.values()) if isinstance(child, Entry)]
        if self._is_stale(entry) or self._has_one_of(children):
            return self.rebuild(place, entry, joined=True)
        self._claimed.update(child.id for child in children)
        steps: list[Step] = []
        for name, encoded in names.items():
            child = decode_entry(encoded)
            if isinstance(child, Entry) and stat.S_ISDIR(child.mode):
                steps += self._descend(place.below(name), child)
        return steps

    def _is_stale(self, entry: Entry) -> bool:
        """Whether a directory's objects have later changes than those that its entry knows of."""
        found = self._scan.directories.get(entry.id)
        return found is not None and found.generation > self._tree.generation(entry)

    def _has_one_of(self, children: Iterable[Entry]) -> bool:
        """Whether one of these would stand in two places."""
        shared = self._shared or ()
        return any(self.has(child.id) or child.id in shared for child in children)

    def bring_back(self, inode_id: int) -> list[Step]:
        """A directory that nothing names, under lost+found by its number."""
        directory = self._scan.directories[inode_id]
        attributes = directory.attributes
        if attributes is None:
            return []
        place = Place(ROOT_ID, (LOST_AND_FOUND, b"%d" % inode_id))

        def make(inline: Inline) -> None:
            inline.vault.skip_ids(self._scan.highest_id)
            lost = lost_and_found(inline)
            made = inline.create_inode(*free_place(inline, inode_id), stat.S_IFDIR | 0o700)
            self._found[place.names] = (lost.name, made.name)

        step = Step(f"lost directory {inode_id}: make /lost+found/{inode_id}", vault=make)
        return [step, *self.rebuild(place, attributes, joined=True, made=True)]
