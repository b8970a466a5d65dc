"""Changes of a header's key slots: from what a secret opened to the header after the change. No I/O.

Every change makes the epoch grow, so that the vault's root, once it knows the new epoch, refuses the header before.
"""

from dataclasses import replace

from vaultfs.errors import LastKey, UsageError
from vaultfs.keys.header import Header, Unlocked
from vaultfs.keys.headerjson import MOST_SLOTS
from vaultfs.keys.identity import Identity, seal_identity
from vaultfs.keys.slots import KeySlot


def add_slot(header: Header, slot: KeySlot) -> Header:
    """With one slot more; UsageError if there is no room for it."""
    if len(header.slots) >= MOST_SLOTS:
        raise UsageError(f"The vault has {MOST_SLOTS} key slots, which is the most; remove one first.")
    return _next(header, (*header.slots, slot))


def remove_slot(header: Header, slot_id: bytes) -> Header:
    """Without the slot of this id; LastKey if it is the only one."""
    left = tuple(slot for slot in header.slots if slot.id != slot_id)
    if not left:
        raise LastKey("This is the only key of the vault; without it nobody could ever open it again.")
    return _next(header, left)


def replace_slot(header: Header, slot_id: bytes, slot: KeySlot) -> Header:
    """With `slot` in the place of the one of this id."""
    return _next(header, tuple(slot if each.id == slot_id else each for each in header.slots))


def change_identity(unlocked: Unlocked, identity: Identity) -> Header:
    """With another label and owner; UsageError for texts that are too long."""
    identity.check()
    header = unlocked.header
    return replace(_next(header, header.slots), identity=seal_identity(unlocked.keys, identity))


def find_slot(header: Header, name: str) -> KeySlot:
    """The slot that a user means: by its number in the list, its label, or four digits or more of its id.

    UsageError if there is none or more than one.
    """
    if name.isascii() and name.isdigit() and 1 <= int(name) <= len(header.slots):
        return header.slots[int(name) - 1]
    found = [slot for slot in header.slots if name and slot.label == name]
    found = found or [slot for slot in header.slots if len(name) >= 4 and slot.id.hex().startswith(name.lower())]
    if not found:
        raise UsageError(f"There is no key slot {name!r}; see `vaultfs key list`.")
    if len(found) > 1:
        raise UsageError(f"There are {len(found)} key slots called {name!r}; name the one by its number or id.")
    return found[0]


def _next(header: Header, slots: tuple[KeySlot, ...]) -> Header:
    return replace(header, epoch=header.epoch + 1, slots=slots)
