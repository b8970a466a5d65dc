"""Which keys of a vault go over to a new master key: those whose secrets are given, and a new recovery key if asked."""

import argparse
import os
from typing import TYPE_CHECKING

from vaultfs.cli import kdfoptions, newkeys, passwords, unlocking
from vaultfs.cli.keychanges import OpenedKeys
from vaultfs.cli.output import Output
from vaultfs.errors import EmptyPassword, Interrupted, KeyMistyped, PasswordUnreadable, UsageError, WrongPassword

if TYPE_CHECKING:
    from vaultfs.keys.header import Header, Unlocked
    from vaultfs.keys.slots import KeySlot

_TRIES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on the keys that are not given, and on a recovery key."""
    parser.add_argument(
        "--drop-other-keys", action="store_true", help="let all keys go but the one that is given; do not ask for them"
    )
    parser.add_argument(
        "--recovery", action=argparse.BooleanOptionalAction, help="make a new recovery key, or do not ask whether to"
    )


def refuse_silent_loss(args: argparse.Namespace, header: "Header") -> None:
    """UsageError if keys would go without anybody having said so: there is nobody to ask, and no option says so."""
    if len(header.slots) > 1 and not args.drop_other_keys and not os.isatty(0):
        names = ", ".join(_name(header, slot) for slot in header.slots)
        raise UsageError(
            f"The vault has several keys ({names}), and only those whose secrets are given can be kept: run this on a "
            "terminal to be asked for each, or give --drop-other-keys to keep only the one that is given."
        )


def slots_for(args: argparse.Namespace, out: Output, opened: OpenedKeys, begun: "Unlocked") -> "tuple[KeySlot, ...]":
    """The slots to the master key of `begun`: of the key that was given, of others as they are asked for.

    Takes the KDF's time for each. Raises Interrupted if the user does not want to lose keys, WrongPassword.
    """
    header = opened.unlocked.header
    kept: list[KeySlot] = []
    lost: list[KeySlot] = []
    for slot in header.slots:
        given = slot.id == opened.unlocked.slot.id
        secret = opened.secret if given else None if args.drop_other_keys else _asked(out, header, slot)
        if secret is None:
            lost.append(slot)
        else:
            kept.append(_carried(args, slot, secret, begun, out))
    names = ", ".join(_name(header, slot) for slot in lost)
    if lost and not args.drop_other_keys and not out.confirm(f"These will not open the vault any more: {names}."):
        raise Interrupted("Nothing was changed.")
    if lost and args.drop_other_keys:
        out.note(f"These keys will not open the vault any more: {names}")
    if _wants_recovery(args, out):
        kept.append(newkeys.recovery_slot(args, out, begun, kept[0].kdf, ""))
    return tuple(kept)


def _carried(
    args: argparse.Namespace, slot: "KeySlot", secret: bytes, begun: "Unlocked", out: Output
) -> "KeySlot":
    from vaultfs.crypto.calibration import calibrate, is_weak
    from vaultfs.keys.rekey import carry_over

    with out.working("Making the key slot"):
        kdf = kdfoptions.chosen(args) or (calibrate() if is_weak(slot.kdf) else slot.kdf)
        return carry_over(slot, secret, begun, kdf)


def _asked(out: Output, header: "Header", slot: "KeySlot") -> bytes | None:
    """The secret of a slot, tried on it; None if the user lets the key go."""
    from vaultfs.keys.slots import open_slot

    name = _name(header, slot)
    out.note(f"To keep {name}, give it now; an empty line lets it go")
    for remaining in reversed(range(_TRIES)):
        try:
            secret = _read(out, slot, name)
            with out.working("Trying it"):
                open_slot(slot, secret, header.vault_id)
            return secret
        except EmptyPassword:
            return None
        except (WrongPassword, KeyMistyped, PasswordUnreadable) as error:
            sentence = f"That does not open {name}." if isinstance(error, WrongPassword) else str(error)
            if not remaining:
                raise type(error)(f"{sentence} Nothing was changed.") from error
            out.warn(f"{sentence} Try again.")
    raise AssertionError("the last try returns or raises")


def _read(out: Output, slot: "KeySlot", name: str) -> bytes:
    from vaultfs.keys import slots
    from vaultfs.keys.keyfile import read_keyfile

    terminal = passwords.PasswordSource()
    if slot.type == slots.RECOVERY:
        return unlocking.read_recovery_key(terminal)
    if slot.type == slots.SHARES:
        return unlocking.read_shares(terminal)
    if slot.type == slots.PASSWORD:
        return unlocking.read_password(terminal, f"Password of {name}: ")
    path = out.ask(f"Path of the key file of {name}: ")
    if not path:
        raise EmptyPassword("No key file was named.")
    key = read_keyfile(os.path.expanduser(path))
    if slot.type == slots.KEYFILE_PASSWORD:
        key += unlocking.read_password(terminal, f"Password of {name}: ")
    return key


def _wants_recovery(args: argparse.Namespace, out: Output) -> bool:
    if args.recovery is None and os.isatty(0) and not args.yes:
        return out.confirm("Shall a new recovery key be made as well, to write down and lock away?")
    return bool(args.recovery)


def _name(header: "Header", slot: "KeySlot") -> str:
    number = header.slots.index(slot) + 1
    return f"key {number}, {slot.type}" + (f" {slot.label!r}" if slot.label else "")
