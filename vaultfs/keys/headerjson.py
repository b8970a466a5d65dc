"""What a vault header says, and its JSON members: values checked one by one, in both directions.

Unknown versions, features, ciphers, slot types and KDFs are refused by name (UnsupportedVaultVersion): they
are what a newer vaultfs writes. Anything else out of place is a ValueError with a sentence.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from vaultfs.crypto.kdf import Argon2id, Kdf, Scrypt
from vaultfs.crypto.keywrap import OVERHEAD
from vaultfs.errors import UnsupportedVaultVersion
from vaultfs.format.constants import CHUNK_SIZE_MAX, CHUNK_SIZE_MIN, FORMAT_VERSION, KEY_SIZE, VAULT_ID_SIZE
from vaultfs.keys.slots import SLOT_ID_SIZE, SLOT_TYPES, KeySlot, check_costs
from vaultfs.keys.strictjson import (
    Members,
    as_bytes,
    as_integer,
    as_list,
    as_match,
    as_object,
    as_text,
    require_members,
)

FORMAT = "vaultfs"
CIPHER = "AES-256-GCM"
REKEY = "rekey"
"""The feature of a vault whose change of the master key is not finished: its header has the one before, wrapped."""
INLINE_DATA = "inline-data"
"""The feature of a vault in which the data of very small files may stand in their directory entries."""
SUPPORTED_FEATURES = frozenset({INLINE_DATA, REKEY})
MOST_SLOTS = 32
MOST_FEATURES = 64
LONGEST_LABEL = 256
LARGEST_IDENTITY = 4096
LARGEST_EPOCH = 2**63 - 1
LARGEST_COST = 2**63 - 1  # the real limits are in `check_costs`, which says more about a cost than its form
CREATED = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
HEADER_MEMBERS = ("format", "version", "vault_id", "epoch", "features", "cipher", "chunk_size", "slots", "identity")
SLOT_MEMBERS = ("id", "type", "label", "created", "kdf", "wrapped")
KDF_MEMBERS = ("name", "params", "salt")


@dataclass(frozen=True, slots=True)
class Header:
    """A header of format version 1: `vault_id` is 16 bytes, `epoch` 1 or more, `chunk_size` bytes, 1 to 32 slots.

    `identity` is the sealed label and owner (`vaultfs.keys.identity`). `previous` is the wrapped master key before,
    48 bytes, in a header with the feature REKEY, and empty in others. With `inline_data` the data of very small files
    may stand in their directory entries.
    """

    vault_id: bytes
    epoch: int
    chunk_size: int
    slots: tuple[KeySlot, ...]
    identity: bytes = b""
    previous: bytes = b""
    inline_data: bool = False
    cipher: str = CIPHER
    version: int = FORMAT_VERSION

    @property
    def features(self) -> tuple[str, ...]:
        """The feature flags."""
        return (*((INLINE_DATA,) if self.inline_data else ()), *((REKEY,) if self.previous else ()))


def header_members(header: Header) -> Members:
    """The JSON members of a header, in file order."""
    return {
        "format": FORMAT,
        "version": header.version,
        "vault_id": header.vault_id.hex(),
        "epoch": header.epoch,
        "features": list(header.features),
        "cipher": header.cipher,
        "chunk_size": header.chunk_size,
        "slots": [_slot_members(slot) for slot in header.slots],
        "identity": header.identity.hex(),
        **({"previous": header.previous.hex()} if header.previous else {}),
    }


def header_from_members(members: Members) -> Header:
    """The header with these JSON members; UnsupportedVaultVersion or ValueError if it is not one."""
    # In this order: a newer header may differ in all the rest, and should be called newer, not damaged.
    features = _check_newer(members)
    require_members(members, "it", (*HEADER_MEMBERS, "previous") if REKEY in features else HEADER_MEMBERS)
    chunk_size = as_integer(members["chunk_size"], "chunk_size", CHUNK_SIZE_MIN, CHUNK_SIZE_MAX)
    if chunk_size & (chunk_size - 1):
        raise ValueError("chunk_size is not a power of two")
    slots = tuple(_slot_from_members(slot) for slot in as_list(members["slots"], "slots", MOST_SLOTS))
    if not slots:
        raise ValueError("it has no key slot")
    if len({slot.id for slot in slots}) != len(slots):
        raise ValueError("two key slots have the same id")
    return Header(
        vault_id=as_bytes(members["vault_id"], "vault_id", VAULT_ID_SIZE, VAULT_ID_SIZE),
        epoch=as_integer(members["epoch"], "epoch", 1, LARGEST_EPOCH),
        chunk_size=chunk_size,
        slots=slots,
        identity=as_bytes(members["identity"], "identity", 0, LARGEST_IDENTITY),
        previous=_wrapped(members["previous"], "previous master key") if REKEY in features else b"",
        inline_data=INLINE_DATA in features,
    )


def _wrapped(value: object, what: str) -> bytes:
    return as_bytes(value, what, KEY_SIZE + OVERHEAD, KEY_SIZE + OVERHEAD)


def _check_newer(members: Members) -> list[str]:
    """The features, which are known, if all else is known too that a newer vaultfs may have changed."""
    if members.get("format") != FORMAT:
        raise ValueError(f'its "format" is not "{FORMAT}"')
    version = as_integer(members.get("version"), "version", 1, 2**31)
    if version != FORMAT_VERSION:
        raise UnsupportedVaultVersion(
            f"The vault has format version {version}; this vaultfs reads version {FORMAT_VERSION}. "
            "A newer vaultfs opens it; nothing was changed."
        )
    listed = as_list(members.get("features"), "features", MOST_FEATURES)
    features = [_known(feature, "feature", SUPPORTED_FEATURES) for feature in listed]
    _known(members.get("cipher"), "cipher", {CIPHER})
    if len(set(features)) != len(features):
        raise ValueError("a feature is named twice")
    return features


def _slot_members(slot: KeySlot) -> Members:
    kdf = slot.kdf
    if isinstance(kdf, Argon2id):
        name, params = "argon2id", {"memory_kib": kdf.memory_kib, "passes": kdf.passes, "lanes": kdf.lanes}
    else:
        name, params = "scrypt", {"log_n": kdf.log_n, "r": kdf.r, "p": kdf.p}
    return {
        "id": slot.id.hex(),
        "type": slot.type,
        "label": slot.label,
        "created": slot.created,
        "kdf": {"name": name, "params": params, "salt": slot.salt.hex()},
        "wrapped": slot.wrapped.hex(),
    }


def _slot_from_members(value: object) -> KeySlot:
    members = as_object(value, "a key slot")
    slot_type = _known(members.get("type"), "key slot type", SLOT_TYPES)
    require_members(members, "a key slot", SLOT_MEMBERS)
    kdf = as_object(members["kdf"], "kdf")
    require_members(kdf, "kdf", KDF_MEMBERS)
    costs = _costs_from_members(kdf["name"], as_object(kdf["params"], "kdf params"))
    check_costs(costs)
    return KeySlot(
        id=as_bytes(members["id"], "key slot id", SLOT_ID_SIZE, SLOT_ID_SIZE),
        type=slot_type,
        label=as_text(members["label"], "key slot label", LONGEST_LABEL),
        created=_time(members["created"], "key slot creation time"),
        kdf=costs,
        salt=as_bytes(kdf["salt"], "kdf salt", 16, 32),
        wrapped=_wrapped(members["wrapped"], "wrapped key"),
    )


def _costs_from_members(name: object, params: Members) -> Kdf:
    def cost(member: str) -> int:
        return as_integer(params[member], f"kdf {member}", 0, LARGEST_COST)

    if _known(name, "KDF", {"argon2id", "scrypt"}) == "argon2id":
        require_members(params, "kdf params", ("memory_kib", "passes", "lanes"))
        return Argon2id(cost("memory_kib"), cost("passes"), cost("lanes"))
    require_members(params, "kdf params", ("log_n", "r", "p"))
    return Scrypt(cost("log_n"), cost("r"), cost("p"))


def _time(value: object, what: str) -> str:
    text = as_match(value, what, CREATED)
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{what} is no time there is") from None
    return text


def _known(value: object, what: str, known: Collection[str]) -> str:
    name = as_text(value, what, 64)
    if name not in known:
        raise UnsupportedVaultVersion(
            f'The vault uses the {what} "{name}", which this vaultfs does not know. '
            "A newer one may; nothing was changed."
        )
    return name
