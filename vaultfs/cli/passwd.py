"""`vaultfs passwd STORE`: replace the password; instant at any size, as no content is encrypted anew."""

import argparse
from typing import TYPE_CHECKING

from vaultfs.cli import kdfoptions, keychanges, newkeys, passwords
from vaultfs.cli.output import Output
from vaultfs.errors import UsageError

if TYPE_CHECKING:
    from vaultfs.keys.slots import KeySlot

SUMMARY = "Change the password of a vault, or set a new one with the recovery key."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `passwd`."""
    keychanges.add_arguments(parser)
    passwords.add_arguments(parser, new=True)
    passwords.add_weak_ok(parser)
    kdfoptions.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Check the old password (or another key), get a new one and put it in force in all copies of the header."""
    from vaultfs.keys.slotchanges import add_slot, replace_slot

    passwords.source(args, new=True)  # what is wrong with the options is said first
    kdfoptions.chosen(args)
    opened = keychanges.open_keys(args, out, prompt="Present password: ")
    unlocked = opened.unlocked
    slot = _slot_to_replace(opened)
    kdf = kdfoptions.chosen(args) or (slot or unlocked.slot).kdf
    keyfile = opened.secret[:32] if slot is not None and slot.type != "password" else b""
    label = slot.label if slot is not None else ""
    changed = newkeys.password_slot(args, out, unlocked, kdf, label=label, keyfile=keyfile)
    header = unlocked.header
    header = add_slot(header, changed) if slot is None else replace_slot(header, slot.id, changed)
    keychanges.put_in_force(opened, header, out)
    out.say("The password is changed. Copies of the old header still open with the old password.")


def _slot_to_replace(opened: keychanges.OpenedKeys) -> "KeySlot | None":
    """The slot whose password was given; with another key, the vault's only password, or None if it has none."""
    from vaultfs.keys.slots import KEYFILE_PASSWORD, PASSWORD

    slot = opened.unlocked.slot
    if slot.type in (PASSWORD, KEYFILE_PASSWORD):
        return slot
    found = [slot for slot in opened.unlocked.header.slots if slot.type == PASSWORD]
    if len(found) > 1:
        raise UsageError(f"The vault has {len(found)} passwords; say which one with `vaultfs key change STORE KEY`.")
    return found[0] if found else None
