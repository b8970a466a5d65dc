"""`vaultfs key add STORE`: one more key for a vault: a password, a key file, a recovery key, or shares of one."""

import argparse

from vaultfs.cli import kdfoptions, keychanges, newkeys, passwords, recoverypage
from vaultfs.cli.output import Output
from vaultfs.errors import UsageError

SUMMARY = "Add a key to a vault: a password, a key file, a recovery key, or a key in shares."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key add`."""
    keychanges.add_arguments(parser)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--recovery", action="store_true", help="make a recovery key: 16 groups of digits to write down")
    kinds.add_argument("--shares", metavar="K/N", help="make a key in N shares, any K of which open the vault")
    kinds.add_argument("--new-keyfile", metavar="FILE", help="let the content of FILE be a key")
    parser.add_argument("--generate", action="store_true", help="make the file of --new-keyfile first, of random bytes")
    parser.add_argument("--and-password", action="store_true", help="with --new-keyfile: ask for a password as well")
    parser.add_argument("--label", metavar="TEXT", default="", help="what to call the key; anybody can read this")
    passwords.add_arguments(parser, new=True)
    passwords.add_weak_ok(parser)
    recoverypage.add_arguments(parser)
    kdfoptions.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Open the vault with a key it has, make the new one and put it in force."""
    from vaultfs.keys.slotchanges import add_slot

    _check(args)
    parts = newkeys.parts(args.shares) if args.shares is not None else None
    opened = keychanges.open_keys(args, out, prompt="Present password: ")
    unlocked, kdf = opened.unlocked, keychanges.costs(args, opened)
    if parts is not None:
        slot = newkeys.shares_slot(args, out, unlocked, kdf, args.label, parts)
    elif args.recovery:
        slot = newkeys.recovery_slot(args, out, unlocked, kdf, args.label)
    elif args.new_keyfile is not None:
        slot = newkeys.keyfile_slot(args, out, unlocked, kdf, args.label)
    else:
        slot = newkeys.password_slot(args, out, unlocked, kdf, label=args.label)
    with recoverypage.valid_if_this_ends(out, is_shown=parts is not None or args.recovery):
        keychanges.put_in_force(opened, add_slot(unlocked.header, slot), out)
    out.say(f"The vault has one key more: {slot.type}, id {slot.id.hex()}.")


def _check(args: argparse.Namespace) -> None:
    from vaultfs.keys.headerjson import LONGEST_LABEL

    if args.new_keyfile is None and (args.generate or args.and_password):
        raise UsageError("The options --generate and --and-password go with --new-keyfile.")
    if len(args.label) > LONGEST_LABEL or not args.label.isprintable():
        raise UsageError(f"The label must be at most {LONGEST_LABEL} printable characters.")
    recoverypage.check_arguments(args)
