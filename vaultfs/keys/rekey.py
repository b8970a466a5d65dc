"""A change of the master key, as the header goes through it: to a new one with the old one in it, then without. No I/O.

    before          slots ── old master
    under way       slots ── new master ── wraps the old master         feature "rekey"
    after           slots ── new master

The new master key is never kept under the old one: whoever can open the header from before learns nothing of it.
"""

from dataclasses import replace

from vaultfs.crypto.aead import new_key
from vaultfs.crypto.kdf import CREATE_FLOOR, Floor, Kdf
from vaultfs.errors import HeaderDamaged
from vaultfs.keys.header import Header, Unlocked
from vaultfs.keys.hierarchy import VaultKeys, wrap_previous
from vaultfs.keys.identity import open_identity, seal_identity
from vaultfs.keys.slots import KeySlot, make_slot


def begin(unlocked: Unlocked) -> Unlocked:
    """The vault under a new random master key, with the one before for what is not changed yet.

    The header has no key slots: the caller makes them, under the new master key. Raises HeaderDamaged if a change
    is under way already (finish that one first), or the identity does not verify.
    """
    header = unlocked.header
    if header.previous:
        raise HeaderDamaged("A change of the master key is under way already.")
    master = new_key()
    keys = VaultKeys.from_master(header.vault_id, master, unlocked.keys)
    changed = replace(
        header,
        epoch=header.epoch + 1,
        slots=(),
        identity=seal_identity(keys, open_identity(unlocked.keys, header.identity)),
        previous=wrap_previous(master, unlocked.master, header.vault_id),
    )
    return Unlocked(changed, keys, master, unlocked.slot)


def carry_over(slot: KeySlot, secret: bytes, unlocked: Unlocked, kdf: Kdf, minimum: Floor = CREATE_FLOOR) -> KeySlot:
    """A slot like `slot`, opened by the same secret, to the master key of `unlocked`. Takes the KDF's time."""
    header = unlocked.header
    return make_slot(
        secret, unlocked.master, header.vault_id, kdf=kdf, kind=slot.type, label=slot.label, minimum=minimum
    )


def finish(header: Header) -> Header:
    """Without the master key before: once nothing in the store needs it any more."""
    return replace(header, epoch=header.epoch + 1, previous=b"")
