"""`vaultfs key change STORE [KEY]`: another password, or another key file, in the place of the one a key has."""

import argparse
from typing import TYPE_CHECKING

from vaultfs.cli import kdfoptions, keychanges, newkeys, passwords
from vaultfs.cli.output import Output
from vaultfs.errors import UsageError

if TYPE_CHECKING:
    from vaultfs.keys.slots import KeySlot

SUMMARY = "Give a key of a vault another password or key file."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key change`."""
    keychanges.add_arguments(parser)
    parser.add_argument(
        "key",
        metavar="KEY",
        nargs="?",
        help="which one: its number in `key list`, its label or its id; if left out, the one the vault is opened with",
    )
    parser.add_argument("--new-keyfile", metavar="FILE", help="the new key file")
    parser.add_argument("--generate", action="store_true", help="make the file of --new-keyfile first, of random bytes")
    passwords.add_arguments(parser, new=True)
    passwords.add_weak_ok(parser)
    kdfoptions.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Open the vault with any key, and replace what opens this one."""
    from vaultfs.keys.slotchanges import find_slot, replace_slot

    opened = keychanges.open_keys(args, out, prompt="Present password: ")
    header = opened.unlocked.header
    slot = opened.unlocked.slot if args.key is None else find_slot(header, args.key)
    changed = _changed(args, out, opened, slot)
    keychanges.put_in_force(opened, replace_slot(header, slot.id, changed), out)
    out.say(f"The key {slot.label or slot.type} is changed. Copies of the old header still open with the old one.")


def _changed(
    args: argparse.Namespace, out: Output, opened: keychanges.OpenedKeys, slot: "KeySlot"
) -> "KeySlot":
    from vaultfs.keys.slots import KEYFILE, KEYFILE_PASSWORD, PASSWORD

    unlocked, kdf = opened.unlocked, keychanges.costs(args, opened)
    if slot.type == PASSWORD and args.new_keyfile is None:
        return newkeys.password_slot(args, out, unlocked, kdf, label=slot.label)
    if slot.type == KEYFILE_PASSWORD and args.new_keyfile is None and slot.id == unlocked.slot.id:
        return newkeys.password_slot(args, out, unlocked, kdf, label=slot.label, keyfile=opened.secret[:32])
    if slot.type in (KEYFILE, KEYFILE_PASSWORD) and args.new_keyfile is not None:
        args.and_password = slot.type == KEYFILE_PASSWORD
        return newkeys.keyfile_slot(args, out, unlocked, kdf, slot.label)
    if slot.type in (KEYFILE, KEYFILE_PASSWORD):
        raise UsageError("To change a key file, give the new one with --new-keyfile.")
    raise UsageError(f"A key of the type {slot.type} is not changed: add a new one and remove this one.")
