"""One key slot: the master key wrapped under what a KDF makes of a secret.

    secret ── KDF with the slot's salt ── HKDF "vaultfs slot" ── 64-byte key ── AES-SIV ── master key

What the secret is depends on the slot's type:

    password           the password's UTF-8 bytes after NFKC
    recovery, shares   32 random bytes, written down as digits, or split among several people
    keyfile            the 32-byte SHA-256 of a file
    keyfile+password   the 32-byte SHA-256 of a file, then the password's bytes

The wrapping authenticates the vault, the slot, its type and the KDF costs, so a slot cannot be moved to another
vault, and costs cannot be altered without the slot failing to open.
"""

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vaultfs.crypto.aead import KEY_SIZE, AuthenticationError, random_bytes
from vaultfs.crypto.hkdf import derive_from_master
from vaultfs.crypto.kdf import CREATE_FLOOR, OPEN_FLOOR, Argon2id, CostError, Floor, Kdf
from vaultfs.crypto.keywrap import KEK_SIZE, unwrap_master, wrap_master
from vaultfs.errors import HeaderDamaged, OpenError, UsageError, WrongPassword
from vaultfs.format.constants import KIND_SLOT

PASSWORD = "password"
RECOVERY = "recovery"
SHARES = "shares"
KEYFILE = "keyfile"
KEYFILE_PASSWORD = "keyfile+password"
SLOT_TYPES = frozenset({PASSWORD, RECOVERY, SHARES, KEYFILE, KEYFILE_PASSWORD})
SLOT_ID_SIZE = 8
SALT_SIZE = 16
LABEL_SLOT = b"vaultfs slot"


@dataclass(frozen=True, slots=True)
class KeySlot:
    """A way to the master key. `id` is 8 bytes, `salt` 16 to 32, `wrapped` 48; `created` is RFC 3339 in UTC."""

    id: bytes
    type: str
    label: str
    created: str
    kdf: Kdf
    salt: bytes = field(repr=False)
    wrapped: bytes = field(repr=False)


def make_slot(
    secret: bytes,
    master: bytes,
    vault_id: bytes,
    *,
    kdf: Kdf,
    kind: str = PASSWORD,
    label: str = "",
    minimum: Floor = CREATE_FLOOR,
) -> KeySlot:
    """A new slot of the type `kind` that opens to the 32-byte `master` with `secret`. Takes the KDF's time.

    Raises UsageError for costs below `minimum` (64 MiB of Argon2id, scrypt 2^16; only tests and throw-away
    vaults have a reason to pass a lower one) or above the ceilings, OpenError if there is no such memory.
    """
    try:
        kdf.check(minimum)
    except CostError as error:
        raise UsageError(f"These costs make no key slot: {error}.") from error
    slot_id, salt = random_bytes(SLOT_ID_SIZE), random_bytes(SALT_SIZE)
    aad = _slot_aad(vault_id, slot_id, kind, kdf, salt)
    wrapped = wrap_master(_slot_key(secret, kdf, salt), master, aad)
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return KeySlot(slot_id, kind, label, created, kdf, salt, wrapped)


def open_slot(slot: KeySlot, secret: bytes, vault_id: bytes) -> bytes:
    """The 32-byte master key in `slot`, by the secret of its type. Takes the KDF's time and memory.

    Raises WrongPassword, HeaderDamaged for costs outside what `check_costs` accepts, and OpenError if there
    is no such memory.
    """
    check_costs(slot.kdf)
    aad = _slot_aad(vault_id, slot.id, slot.type, slot.kdf, slot.salt)
    try:
        master = unwrap_master(_slot_key(secret, slot.kdf, slot.salt), slot.wrapped, aad)
    except AuthenticationError:
        raise WrongPassword("The key slot does not open.") from None
    if len(master) != KEY_SIZE:
        raise HeaderDamaged("A key slot holds something that is not a master key.")
    return master


def check_costs(kdf: Kdf) -> None:
    """HeaderDamaged for KDF costs no slot may have, before any of them is paid.

    The floor (Argon2id: 8 MiB and 1 pass, scrypt: 2^10) is far below what new slots get: it only stops a
    header made to give the password away. The ceilings (4 GiB, 64 passes, 64 lanes; scrypt 2^24, r 32, p 16)
    stop one made to freeze the machine.
    """
    try:
        kdf.check(OPEN_FLOOR)
    except CostError as error:
        raise HeaderDamaged(f"The header asks for password hashing costs that are refused: {error}.") from error


def _slot_key(secret: bytes, kdf: Kdf, salt: bytes) -> bytes:
    try:
        key = kdf.derive(secret, salt)
    except MemoryError as error:
        raise OpenError(
            f"There is not enough memory to try the password: {error}. Close other programs and try again."
        ) from error
    except ImportError as error:
        raise OpenError(f"The key slot cannot be tried: {error}.") from error
    return derive_from_master(key, b"", LABEL_SLOT, KEK_SIZE)


def _slot_aad(vault_id: bytes, slot_id: bytes, slot_type: str, kdf: Kdf, salt: bytes) -> bytes:
    """Kind, vault id, slot id, then type, KDF and salt in a form that reads only one way."""
    if isinstance(kdf, Argon2id):
        costs = struct.pack(">B3I", 1, kdf.memory_kib, kdf.passes, kdf.lanes)
    else:
        costs = struct.pack(">B3I", 2, kdf.log_n, kdf.r, kdf.p)
    return KIND_SLOT + vault_id + slot_id + costs + slot_type.encode("ascii") + b"\0" + salt
