"""Makes new key slots with the user: a password typed twice, a key file, a recovery key or shares to write down."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from vaultfs.cli import passwords, recoverypage
from vaultfs.cli.output import Output
from vaultfs.errors import UsageError

if TYPE_CHECKING:
    from vaultfs.crypto.kdf import Kdf
    from vaultfs.keys.header import Unlocked
    from vaultfs.keys.slots import KeySlot


def password_check(args: argparse.Namespace) -> Callable[[str], None]:
    """What a new password has to pass, with the command's `--weak-ok`."""
    from vaultfs.keys.strength import check_new

    return lambda password: check_new(password, weak_ok=args.weak_ok)


def password_slot(
    args: argparse.Namespace, out: Output, unlocked: "Unlocked", kdf: "Kdf", *, label: str = "", keyfile: bytes = b""
) -> "KeySlot":
    """A slot for a new password, asked for here; with `keyfile` (32 bytes), for both together."""
    from vaultfs.keys.password import normalise
    from vaultfs.keys.slots import KEYFILE_PASSWORD, PASSWORD

    source = passwords.source(args, new=True)
    password = normalise(passwords.read_new_password(source, out, password_check(args)))
    kind = KEYFILE_PASSWORD if keyfile else PASSWORD
    return _slot(unlocked, keyfile + password, kind, kdf, label, out)


def keyfile_slot(args: argparse.Namespace, out: Output, unlocked: "Unlocked", kdf: "Kdf", label: str) -> "KeySlot":
    """A slot for the file of `--new-keyfile`, made first with `--generate`; with `--and-password`, for both."""
    from vaultfs.cli.opening import store_path
    from vaultfs.keys.keyfile import make_keyfile, read_keyfile, refuse_in_store
    from vaultfs.keys.slots import KEYFILE

    refuse_in_store(args.new_keyfile, store_path(args.store))
    if args.generate:
        make_keyfile(args.new_keyfile)
    key = read_keyfile(args.new_keyfile)
    if args.and_password:
        return password_slot(args, out, unlocked, kdf, label=label, keyfile=key)
    return _slot(unlocked, key, KEYFILE, kdf, label, out)


def recovery_slot(args: argparse.Namespace, out: Output, unlocked: "Unlocked", kdf: "Kdf", label: str) -> "KeySlot":
    """A slot for a new recovery key, which is shown and, on a terminal, confirmed."""
    from vaultfs.keys.recovery import new_recovery_key, recovery_groups
    from vaultfs.keys.slots import RECOVERY

    secret = new_recovery_key()
    groups = recovery_groups(secret)
    slot = _slot(unlocked, secret, RECOVERY, kdf, label, out)
    page = recoverypage.recovery_page(unlocked.header.vault_id, slot, groups)
    recoverypage.hand_over(args, out, [(page, groups)])
    recoverypage.confirm(out, groups, "the recovery key")
    return slot


def shares_slot(
    args: argparse.Namespace, out: Output, unlocked: "Unlocked", kdf: "Kdf", label: str, parts: tuple[int, int]
) -> "KeySlot":
    """A slot for a new key in shares, `parts` being how many are needed, of how many."""
    from vaultfs.keys.recovery import make_shares, new_recovery_key
    from vaultfs.keys.slots import SHARES

    threshold, count = parts
    secret = new_recovery_key()
    shares = make_shares(secret, threshold, count)
    slot = _slot(unlocked, secret, SHARES, kdf, label or f"{threshold} of {count} shares", out)
    pages = [
        (recoverypage.share_page(unlocked.header.vault_id, slot, share, count), share.groups()) for share in shares
    ]
    recoverypage.hand_over(args, out, pages)
    return slot


def parts(text: str) -> tuple[int, int]:
    """`3/5` as (3, 5). Raises UsageError."""
    needed, slash, count = text.partition("/")
    if not (slash and needed.isdecimal() and count.isdecimal()):
        raise UsageError(f"{text!r} does not say how many shares: write how many are needed, of how many, such as 3/5.")
    return int(needed), int(count)


def _slot(unlocked: "Unlocked", secret: bytes, kind: str, kdf: "Kdf", label: str, out: Output) -> "KeySlot":
    from vaultfs.keys.slots import make_slot

    with out.working("Making the key slot"):
        return make_slot(secret, unlocked.master, unlocked.header.vault_id, kdf=kdf, kind=kind, label=label)
