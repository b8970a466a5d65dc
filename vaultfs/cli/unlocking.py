"""Gets the secret that the command line speaks of, of whichever kind, and opens a header with it."""

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from vaultfs.cli import passwords, upkeep
from vaultfs.cli.output import Output

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked

RECOVERY_ROWS = 4
SHARE_ROWS = 5


class Opened(NamedTuple):
    """What a secret opened, and the secret as the KDF saw it."""

    unlocked: "Unlocked"
    secret: bytes

    def __repr__(self) -> str:
        return f"<Opened {self.unlocked.keys!r}>"


def open_header(
    raw: bytes, where: passwords.PasswordSource, out: Output, *, prompt: str = "Password: ", avoid: bytes | None = None
) -> Opened:
    """Ask for the secret and try it on the header; the slot of the id `avoid` is tried last.

    Raises what reading secrets raises (PasswordUnreadable, EmptyPassword, KeyMistyped), and what
    `vaultfs.keys.header.unlock` does.
    """
    from vaultfs.keys import slots

    keep_from_others()
    if where.recovery:
        return _try(raw, read_recovery_key(where), slots.RECOVERY, out, avoid)
    if where.shares:
        return _try(raw, read_shares(where), slots.SHARES, out, avoid)
    if where.keyfile is not None:
        return _with_keyfile(raw, where, where.keyfile, out, avoid)
    return _try(raw, read_password(where, prompt), slots.PASSWORD, out, avoid)


def keep_from_others() -> None:
    """Before there is a secret to keep: no core dumps, and no other process of the user looks into this one."""
    from vaultfs.mount.hardening import harden

    with contextlib.suppress(OSError):
        harden()


def read_password(where: passwords.PasswordSource, prompt: str = "Password: ") -> bytes:
    """An existing password, as the KDF sees it."""
    from vaultfs.keys.password import normalise

    return normalise(passwords.read_password(where, prompt))


def read_recovery_key(where: passwords.PasswordSource) -> bytes:
    """The 32 bytes of a recovery key; KeyMistyped says which group has a typing error."""
    from vaultfs.keys.recovery import recovery_from_text

    return recovery_from_text(passwords.read_digits(where, "Recovery key", RECOVERY_ROWS))


def read_shares(where: passwords.PasswordSource) -> bytes:
    """The 32 bytes that shares give; each --passfile holds one, else as many are asked for as the first one says."""
    from vaultfs.keys.recovery import Share, join_shares

    if where.passfiles:
        sources = [passwords.PasswordSource((path,)) for path in where.passfiles]
        return join_shares([Share.from_text(passwords.read_digits(source, "Share", SHARE_ROWS)) for source in sources])
    shares: list[Share] = []
    while not shares or len(shares) < shares[0].threshold:
        name = f"Share {len(shares) + 1} of {shares[0].threshold}" if shares else "First share"
        shares.append(Share.from_text(passwords.read_digits(where, name, SHARE_ROWS)))
    return join_shares(shares)


def _with_keyfile(
    raw: bytes, where: passwords.PasswordSource, path: str, out: Output, avoid: bytes | None
) -> Opened:
    """By the key file alone if a slot takes that; else the password is asked for that goes with it."""
    from vaultfs.errors import WrongPassword
    from vaultfs.keys.header import parse
    from vaultfs.keys.keyfile import read_keyfile
    from vaultfs.keys.slots import KEYFILE, KEYFILE_PASSWORD

    key = read_keyfile(path)
    types = {slot.type for slot in parse(raw).slots}
    if KEYFILE in types or KEYFILE_PASSWORD not in types:
        try:
            return _try(raw, key, KEYFILE, out, avoid)
        except WrongPassword:
            if KEYFILE_PASSWORD not in types:
                raise
    return _try(raw, key + read_password(where), KEYFILE_PASSWORD, out, avoid)


def _try(raw: bytes, secret: bytes, kind: str, out: Output, avoid: bytes | None) -> Opened:
    from vaultfs.keys.header import unlock

    with out.working("Unlocking"):
        unlocked = unlock(raw, secret, kind, avoid=avoid)
    upkeep.remind_of_costs(unlocked, out)
    upkeep.remind_of_rekey(unlocked.header, out)
    return Opened(unlocked, secret)
