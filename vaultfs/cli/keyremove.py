"""`vaultfs key remove STORE KEY`: a key that opens the vault no longer; never the last one, nor the only one known."""

import argparse

from vaultfs.cli import keychanges, opening
from vaultfs.cli.output import Output
from vaultfs.errors import LastKey

SUMMARY = "Remove a key from a vault; needs one that stays."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key remove`."""
    keychanges.add_arguments(parser)
    parser.add_argument("key", metavar="KEY", help="which one: its number in `key list`, its label or its id")


def run(args: argparse.Namespace, out: Output) -> None:
    """Have a key shown that stays, and remove the other."""
    from vaultfs.keys.slotchanges import find_slot, remove_slot

    loaded = opening.load_header(opening.store_path(args.store), out)
    slot = find_slot(loaded.header, args.key)
    remove_slot(loaded.header, slot.id)  # that it is the last one is said before a password is asked for
    opened = keychanges.open_keys(args, out, loaded=loaded, avoid=slot.id)
    if opened.unlocked.slot.id == slot.id:
        raise LastKey("This opens only the key that would be removed; give one that stays, to be sure there is one.")
    keychanges.put_in_force(opened, remove_slot(opened.unlocked.header, slot.id), out)
    out.say(f"The key {slot.id.hex()} is removed. Copies of the old header in backups still open with it.")
