"""Reads and writes the two root slots, the only objects that are overwritten in place."""

from vaultfs.errors import Damaged
from vaultfs.format.constants import ROOT_SLOTS
from vaultfs.format.layout import root_slot_path
from vaultfs.sealing.roots import Root, SealedRoot, open_root, seal_root
from vaultfs.vault.objects import Objects


class RootSlots:
    """`latest` is the root in force, as last read or written here."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.latest: SealedRoot | None = None
        self._tags: dict[int, bytes] = {}

    def create(self, root: Root) -> None:
        """Make both slots of a new vault; the caller syncs the folder. Raises OSError."""
        for slot in range(ROOT_SLOTS):
            self._objects.store.create(root_slot_path(slot)).close()
        self.commit(root)

    def commit(self, root: Root) -> None:
        """Make a root durable in the slot with the older one, then in the other. Raises OSError.

        The newest root on disk is not touched before the new one is durable beside it.
        """
        stored, tag = seal_root(self._objects.context, root)
        for slot in (root.generation % ROOT_SLOTS, (root.generation + 1) % ROOT_SLOTS):
            file = self._objects.store.open(root_slot_path(slot), write=True)
            try:
                file.write([stored], 0)
                file.sync()
            finally:
                file.close()
            self._tags[slot] = tag
            self.latest = SealedRoot(root, tag)

    def read(self) -> list[SealedRoot]:
        """The roots that verify, newest first; missing and damaged slots are left out."""
        found: list[SealedRoot] = []
        self._tags = {}
        for slot in range(ROOT_SLOTS):
            sealed = self._read_slot(slot)
            if sealed is not None:
                self._tags[slot] = sealed.tag
                found.append(sealed)
        found.sort(key=lambda sealed: sealed.root.generation, reverse=True)
        if found:
            self.latest = found[0]
        return found

    def changed_by_others(self) -> bool:
        """Whether a slot no longer holds what was last read or written here."""
        for slot in range(ROOT_SLOTS):
            sealed = self._read_slot(slot)
            if (sealed.tag if sealed is not None else None) != self._tags.get(slot):
                return True
        return False

    def _read_slot(self, slot: int) -> SealedRoot | None:
        try:
            file = self._objects.store.open(root_slot_path(slot))
        except FileNotFoundError:
            return None
        try:
            return open_root(self._objects.context, file.read(file.size(), 0))
        except Damaged:
            return None
        finally:
            file.close()
