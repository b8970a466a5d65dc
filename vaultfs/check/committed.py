"""The tree of the newest committed root, read without a lock and beside a live writer.

What a committed root reaches is neither overwritten nor deleted before a later root is durable. So whatever does
not verify is looked at again under the newest root before it counts.
"""

import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

from vaultfs.errors import Damaged, PartlySynced, StoreUnusable
from vaultfs.format.constants import ORPHANS_ID, ROOT_ID, ROOT_SLOTS, SHARED_ID
from vaultfs.format.layout import root_slot_path
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import Entry, Pointer, decode_entry, decode_head
from vaultfs.sealing.frames import Items
from vaultfs.sealing.roots import SealedRoot, open_root
from vaultfs.store.api import Store, read_file
from vaultfs.store.handles import HandleCache
from vaultfs.vault.directory_load import directory_frames, load_directory
from vaultfs.vault.objects import Objects
from vaultfs.vault.roots import NO_ROOT_VERIFIES
from vaultfs.vault.state import hidden_name, shard_name, shard_of

_OPEN_OBJECTS = 512
_ROOT_TRIES = 5
_ROOT_PAUSE = 0.02  # seconds; a root slot takes a write and an fdatasync

Names = dict[bytes, bytes]


class Place(NamedTuple):
    """Where an entry is: `top` is one of the three top directories, `names` the path below it."""

    top: int
    names: tuple[bytes, ...]

    def below(self, name: bytes) -> "Place":
        """The place of a name in the directory at this one."""
        return Place(self.top, (*self.names, name))

    @property
    def path(self) -> bytes:
        """The plain path; what is hidden from users gets a name in words."""
        path = b"/".join(self.names)
        if self.top == ROOT_ID:
            return path
        return (b"(hard-linked) " if self.top == SHARED_ID else b"(deleted, still open) ") + path


class Gone(Exception):
    """What was being checked was removed meanwhile."""


class SlotState(NamedTuple):
    """One root slot as found: its root, or why there is none."""

    sealed: SealedRoot | None
    missing: bool
    cause: str


class CommittedTree:
    """The newest root of a vault and everything below it, read-only. For one thread, but for `objects`."""

    def __init__(self, store: Store, keys: VaultKeys, chunk_size: int) -> None:
        self.handles = HandleCache(store, _OPEN_OBJECTS)
        self.objects = Objects(store, self.handles, SealingContext(keys, chunk_size))
        self.sealed: SealedRoot | None = None

    def slots(self, tries: int = _ROOT_TRIES) -> list[SlotState]:
        """Both root slots. One that a writer may just be replacing is read again."""
        while True:
            states = [self._slot(number) for number in range(ROOT_SLOTS)]
            tries -= 1
            if not tries or all(state.sealed is not None for state in states):
                return states
            time.sleep(_ROOT_PAUSE)

    def _slot(self, number: int) -> SlotState:
        try:
            stored = read_file(self.objects.store, root_slot_path(number))
            return SlotState(open_root(self.objects.context, stored), False, "")
        except FileNotFoundError:
            return SlotState(None, True, "the root is missing")
        except OSError as error:
            return SlotState(None, False, f"the root cannot be read: {error.strerror}")
        except Damaged as error:
            return SlotState(None, False, str(error))

    def open(self) -> SealedRoot:
        """Find the newest root; raises PartlySynced or StoreUnusable if there is none."""
        if not self.refresh():
            if any(state.missing for state in self.slots()):
                raise PartlySynced(
                    "no root of the vault is there: let the store finish syncing, then try again; if they are lost for "
                    "good, `vaultfs export --salvage` gets out what can be read"
                )
            raise StoreUnusable(NO_ROOT_VERIFIES)
        assert self.sealed is not None
        return self.sealed

    def refresh(self) -> bool:
        """Look for a newer root; True if there is one."""
        # A slot that is being replaced does not verify; the root in the other one is still in force then.
        found = [state.sealed for state in self.slots(1) if state.sealed is not None]
        newest = max(found, key=lambda sealed: sealed.root.generation, default=None)
        if newest is None or (self.sealed is not None and newest.root.generation <= self.sealed.root.generation):
            return False
        self.sealed = newest
        return True

    def top(self, inode_id: int) -> Entry:
        """The entry of one of the three top directories; raises Damaged."""
        assert self.sealed is not None
        root = self.sealed.root
        encoded = {ROOT_ID: root.root, SHARED_ID: root.shared, ORPHANS_ID: root.orphans}[inode_id]
        entry = decode_entry(encoded)
        if not isinstance(entry, Entry) or entry.id != inode_id:
            raise Damaged("a root does not have the directories a root has")
        return entry

    def load(self, entry: Entry) -> Names:
        """A directory's encoded entries by name; raises Damaged."""
        return load_directory(self.objects, entry.id, entry.content) if entry.content else {}

    def generation(self, entry: Entry) -> int:
        """The generation of the last change to a directory that its entry knows of, 0 for none; raises Damaged."""
        return max([generation for generation, _ in self._frames(entry)], default=0)

    def _frames(self, entry: Entry) -> Iterator[tuple[int, Items]]:
        return directory_frames(self.objects, entry.id, decode_head(entry.content)) if entry.content else iter(())

    def changed_at(self, place: Place) -> int:
        """The generation that the entry at a place is from; nothing below it was committed later. Raises Damaged."""
        assert self.sealed is not None
        above = self.find(place._replace(names=place.names[:-1])) if place.names else None
        if above is None:
            return self.sealed.root.generation
        name = place.names[-1]
        return max([generation for generation, items in self._frames(above) if name in dict(items)], default=0)

    def find(self, place: Place) -> Entry | None:
        """The entry at a place under the current root, None if there is none; raises Damaged on the way."""
        entry = self.top(place.top)
        for name in place.names:
            if not stat.S_ISDIR(entry.mode):
                return None
            encoded = self.load(entry).get(name)
            if encoded is None:
                return None
            found = decode_entry(encoded)
            entry = self.shared(found.id) if isinstance(found, Pointer) else found
        return entry

    def keeper(self, place: Place) -> Entry | None:
        """The directory that has the attributes of what is at a place: a hard-linked file's are in its shard."""
        directory = self.find(place._replace(names=place.names[:-1]))
        encoded = self.load(directory).get(place.names[-1]) if directory is not None else None
        found = decode_entry(encoded) if encoded is not None else None
        return self._shard(found.id) if isinstance(found, Pointer) else directory

    def _shard(self, inode_id: int) -> Entry | None:
        return self.find(Place(SHARED_ID, (shard_name(shard_of(inode_id)),)))

    def shared(self, inode_id: int) -> Entry:
        """The entry of a hard-linked file; raises Damaged if the shared table does not have it."""
        shard = self._shard(inode_id)
        encoded = self.load(shard).get(hidden_name(inode_id)) if shard is not None else None
        entry = decode_entry(encoded) if encoded is not None else None
        if not isinstance(entry, Entry):
            raise Damaged(f"the attributes of hard-linked inode {inode_id} are missing")
        return entry

    def look_again(self, place: Place, entry: Entry) -> Entry | None:
        """What stands by now in the place of an entry whose content did not verify; None if that is still the same.

        Raises Gone if there is nothing at that place any more.
        """
        newer = self.refresh()
        try:
            found = self.find(place)
        except Damaged:
            return None
        if found is None:
            raise Gone(place.path)
        return found if newer or found.content != entry.content else None

    def close(self) -> None:
        """Forget all open objects."""
        self.handles.close()
