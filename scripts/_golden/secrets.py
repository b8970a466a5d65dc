"""The ways into the golden vaults: a key slot of every type, all cheap, and a manifest of what opens them."""

import hashlib
from dataclasses import replace
from typing import Any

from _golden.builder import filler
from _golden.trees import CHUNK
from vaultfs.crypto.kdf import OPEN_FLOOR, Argon2id, Kdf, Scrypt
from vaultfs.keys.header import Unlocked, create
from vaultfs.keys.identity import Identity
from vaultfs.keys.password import normalise
from vaultfs.keys.recovery import make_shares, recovery_groups
from vaultfs.keys.rekey import begin, carry_over
from vaultfs.keys.slots import KEYFILE, KEYFILE_PASSWORD, PASSWORD, RECOVERY, SHARES, KeySlot, make_slot

# The second one is written with compatibility characters: NFKC makes "fine golden vault VIII" of it.
PASSWORDS = {"argon2id": "correct horse battery staple", "scrypt": "\ufb01ne golden vault \u2167"}
IDENTITY = Identity("Golden", "Größe & Söhne")
KEYFILE_CONTENT = filler("key file", 64)
RECOVERY_KEY, SHARED_KEY = filler("recovery key", 32), filler("shared key", 32)


def make_header() -> Unlocked:
    """A new vault's header, with its keys."""
    password = normalise(PASSWORDS["argon2id"])
    made = create(password, kdf=Argon2id(8 << 10, 1, 1), chunk_size=CHUNK, identity=IDENTITY, minimum=OPEN_FLOOR)
    hashed = hashlib.sha256(KEYFILE_CONTENT).digest()
    more = (
        _slot(made, normalise(PASSWORDS["scrypt"]), PASSWORD, Scrypt(11, 8, 2)),
        _slot(made, RECOVERY_KEY, RECOVERY),
        _slot(made, SHARED_KEY, SHARES),
        _slot(made, hashed, KEYFILE),
        _slot(made, hashed + password, KEYFILE_PASSWORD),
    )
    return made._replace(header=replace(made.header, slots=(*made.header.slots, *more)))


def begin_rekey(made: Unlocked) -> Unlocked:
    """The header of a change of the master key that has begun, with all the ways in."""
    begun = begin(made)
    hashed = hashlib.sha256(KEYFILE_CONTENT).digest()
    password = normalise(PASSWORDS["argon2id"])
    given = (password, normalise(PASSWORDS["scrypt"]), RECOVERY_KEY, SHARED_KEY, hashed, hashed + password)
    slots = tuple(
        carry_over(slot, secret, begun, slot.kdf, OPEN_FLOOR)
        for slot, secret in zip(made.header.slots, given, strict=True)
    )
    return begun._replace(header=replace(begun.header, slots=slots))


def _slot(made: Unlocked, secret: bytes, kind: str, kdf: Kdf | None = None) -> KeySlot:
    return make_slot(
        secret, made.master, made.header.vault_id,
        kdf=kdf or Scrypt(10, 8, 1), kind=kind, label=f"by {kind}", minimum=OPEN_FLOOR,
    )  # fmt: skip


def secrets() -> dict[str, Any]:
    """What opens the golden vaults; the password of `keyfile+password` is the first one."""
    return {
        "passwords": PASSWORDS,
        "recovery": " ".join(recovery_groups(RECOVERY_KEY)),
        "shares": [" ".join(share.groups()) for share in make_shares(SHARED_KEY, 2, 3)],
        "keyfile": KEYFILE_CONTENT.hex(),
        "identity": {"label": IDENTITY.label, "owner": IDENTITY.owner},
    }
