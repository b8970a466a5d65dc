"""Plans directories anew from the entries that are left of them in the store."""

import stat
from collections.abc import Iterable
from contextlib import suppress

from vaultfs.check.committed import CommittedTree, Place
from vaultfs.check.lostfound import free_place, lost_and_found
from vaultfs.check.repairstep import Step
from vaultfs.check.scan import FoundDirectory, Scan, own_accounts
from vaultfs.check.walker import Walker
from vaultfs.errors import Damaged
from vaultfs.format.constants import ROOT_ID, SHARED_ID
from vaultfs.sealing.entries import Entry, Pointer, decode_entry, encode_entry, encode_pointer, entry_id_and_mode
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.keeping import LOST_AND_FOUND
from vaultfs.vault.state import HIDDEN_IDS


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
        # Those the walk did not come to may be below one of these: an old entry in one must not beat a newer one.
        unmet = (each for each in scan.directories if each not in HIDDEN_IDS and not walker.has_met(each))
        self._newest = _newest_entries(scan, {*directories, *unmet})
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
        step, waiting = self._rebuild(place, entry, joined=joined, made=made)
        steps = [step]
        # A stack of our own: a tree may be deeper than Python's.
        waiting.reverse()
        while waiting:
            next_step, below = self._descend(*waiting.pop())
            if next_step is not None:
                steps.append(next_step)
            waiting += reversed(below)
        return steps

    def _rebuild(
        self, place: Place, entry: Entry, *, joined: bool, made: bool = False
    ) -> tuple[Step, list[tuple[Place, Entry]]]:
        """One directory, and those in it."""
        self._claimed.add(entry.id)
        entries: dict[bytes, bytes] = {}
        below: list[tuple[Place, Entry]] = []
        found = self._scan.directories.get(entry.id, FoundDirectory())
        self._leftovers += found.objects
        for name, encoded in found.entries.items():
            if not self._is_outdated(encoded, found.changed[name]):
                self._admit(place.below(name), self._with_own(encoded, found.changed[name]), entries, below)
        for child_id in self._accounts.get(entry.id, []):
            child = self._scan.directories[child_id]
            is_newest = self._newest.get(child_id, 0) < child.generation
            if child.name not in entries and child.attributes is not None and is_newest:
                encoded = encode_entry(child.attributes._replace(content=b""))
                self._admit(place.below(child.name), encoded, entries, below)
        plain = place.path.decode("utf-8", "backslashreplace")
        text = f"/{plain}: put the directory together from {len(entries)} entries"

        def replace(inline: Inline) -> None:
            top, rest = place.names[:2], place.names[2:]
            names = (*self._found.get(top, top), *rest)
            inline.call(lambda: inline.vault.replace_directory(names, None if made else entry.id, entries))

        return Step(text, vault=replace, joined=joined), below

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

    def _with_own(self, encoded: bytes, generation: int) -> bytes:
        """A directory's entry with the attributes of its own account, if that is newer than the entry."""
        with suppress(Damaged):
            entry = decode_entry(encoded)
            found = self._scan.directories.get(entry.id)
            if isinstance(entry, Entry) and found is not None and found.generation > generation:
                attributes = found.attributes or entry
                return encode_entry(attributes._replace(content=entry.content))
        return encoded

    def _descend(self, place: Place, entry: Entry) -> tuple[Step | None, list[tuple[Place, Entry]]]:
        """Give what is in a directory its place; rebuild it if it cannot be read, or is another by now."""
        try:
            names = self._tree.load(entry)
        except Damaged:
            return self._rebuild(place, entry, joined=True)
        decoded = ((name, decode_entry(encoded)) for name, encoded in names.items())
        children = {name: child for name, child in decoded if isinstance(child, Entry)}
        if self._is_stale(entry) or self._has_one_of(children.values()):
            return self._rebuild(place, entry, joined=True)
        self._claimed.update(child.id for child in children.values())
        return None, [(place.below(name), child) for name, child in children.items() if stat.S_ISDIR(child.mode)]

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
            for name, value in attributes.xattrs.items():
                inline.setxattr(made.id, name, value)
            inline.setattr(
                made.id,
                SetAttr(
                    mode=stat.S_IMODE(attributes.mode),
                    uid=attributes.uid,
                    gid=attributes.gid,
                    atime=attributes.atime,
                    mtime=attributes.mtime,
                ),
            )

        step = Step(f"lost directory {inode_id}: make /lost+found/{inode_id}", vault=make)
        return [step, *self.rebuild(place, attributes, joined=True, made=True)]
