"""Reads and writes the two root slots, the only objects that are overwritten in place.

Behind the sealed root each slot holds a copy of the vault's header, renewed with every root: whoever changes the keys
while the vault is open writes the header files alone, and their new epoch reaches the root here.
"""

import contextlib

from vaultfs.errors import Damaged, HeaderDamaged
from vaultfs.format.constants import ROOT_SLOTS
from vaultfs.format.layout import root_slot_path
from vaultfs.keys.header import verify_mac
from vaultfs.keys.headerfile import LoadedHeader, load_authentic, load_from_roots
from vaultfs.keys.rootcopies import trailer
from vaultfs.sealing.ancestry import are_parted
from vaultfs.sealing.roots import Root, SealedRoot, open_root, seal_root
from vaultfs.store.api import read_file
from vaultfs.vault.objects import Objects

NO_ROOT_VERIFIES = (
    "neither root of the vault verifies: if an older header was put back, `vaultfs key rebuild` has the newer one; "
    "else put back root.0 or root.1 from a copy of the store, or get out what can be read with "
    "`vaultfs export --salvage`"
)


class ChangedByOthers(Exception):
    """Another program put other roots into the store, as a sync client does with what another machine wrote."""

    def __init__(self) -> None:
        super().__init__("the roots in the store were changed by another program")


class RootSlots:
    """`latest` is the root in force, as last read or written here."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.latest: SealedRoot | None = None
        self._tags: dict[int, bytes] = {}
        self._header: LoadedHeader | None = None

    def create(self, root: Root) -> None:
        """Make both slots of a new vault; the caller syncs the folder. Raises OSError."""
        for slot in range(ROOT_SLOTS):
            self._objects.store.create(root_slot_path(slot)).close()
        self.commit(root)

    def commit(self, root: Root) -> None:
        """Make a root durable in the slot with the older one, then in the other. Raises OSError.

        The newest root on disk is not touched before the new one is durable beside it. The root gets the epoch of a
        newer header, if there is one by now.
        """
        copy = self._newest_header()
        if copy is not self._header:
            # Before a root knows its epoch the header has to be there for good: its renaming may not be synced yet.
            self._objects.store.sync_folder("")
            self._header = copy
        root = root._replace(epoch=max(root.epoch, copy.header.epoch if copy else 0))
        sealed, tag = seal_root(self._objects.context, root)
        stored = sealed + trailer(copy.raw if copy else b"")
        for slot in (root.generation % ROOT_SLOTS, (root.generation + 1) % ROOT_SLOTS):
            self._write(slot, stored)
            self._tags[slot] = tag
            self.latest = SealedRoot(root, tag)

    def settle(self) -> None:
        """Make the root that was read durable in both slots: who wrote it may have died before. Raises OSError."""
        assert self.latest is not None
        tag = self.latest.tag
        newest = next(slot for slot, seen in self._tags.items() if seen == tag)
        stored = self._stored(newest)
        for slot in sorted(range(ROOT_SLOTS), key=lambda slot: slot != newest):
            if self._tags.get(slot) == tag:
                self._write(slot, b"")
            else:
                self._write(slot, stored)
                self._tags[slot] = tag

    def _write(self, slot: int, stored: bytes) -> None:
        """Replace a slot's bytes, if any are given, and sync it."""
        file = self._objects.store.open(root_slot_path(slot), write=True)
        try:
            if stored:
                file.write([stored], 0)
                if file.size() > len(stored):
                    file.truncate(len(stored))
            file.sync()
        finally:
            file.close()

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

    def header_is_newer(self) -> bool:
        """Whether the header's epoch has not reached the root yet."""
        copy = self._newest_header()
        return copy is not None and self.latest is not None and copy.header.epoch > self.latest.root.epoch

    def is_another_way(self, stored: bytes) -> bool:
        """Whether bytes are a root of this vault that the root in force did not come from."""
        assert self.latest is not None
        try:
            found = open_root(self._objects.context, stored)
        except Damaged:
            return False
        is_ahead = found.root.generation > self.latest.root.generation
        return is_ahead or are_parted(self.latest.known(), found.known())

    def refuse_others(self) -> None:
        """Raise ChangedByOthers if a slot no longer holds what was last read or written here; may raise OSError."""
        for slot in range(ROOT_SLOTS):
            sealed = self._read_slot(slot)
            if (sealed.tag if sealed is not None else None) != self._tags.get(slot):
                raise ChangedByOthers

    def _read_slot(self, slot: int) -> SealedRoot | None:
        try:
            return open_root(self._objects.context, self._stored(slot))
        except (FileNotFoundError, Damaged):
            return None

    def _stored(self, slot: int) -> bytes:
        return read_file(self._objects.store, root_slot_path(slot))

    def _newest_header(self) -> LoadedHeader | None:
        """The header to keep a copy of: that of the files, unless they are lost or older than the copy here."""
        store, mac_key = self._objects.store, self._objects.context.keys.header_mac_key
        found = load_authentic(store, mac_key)
        if found is None and self._header is None:
            with contextlib.suppress(HeaderDamaged):
                copy = load_from_roots(store)
                verify_mac(copy.raw, mac_key)
                found = copy
        if found is None or (self._header is not None and found.header.epoch <= self._header.header.epoch):
            return self._header
        return found
