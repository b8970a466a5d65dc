"""The vault header, the content of `vaultfs.json`: bytes ⇄ values, and from a password to the keys. No I/O.

A header is one indented JSON object whose last two members guard the rest, byte for byte:

    {
      "format": "vaultfs",
      "version": 1,
      …
      "mac": "<64 hex digits>",
      "checksum": "<64 hex digits>"
    }

`mac` is HMAC-SHA256 under the header MAC key over every byte before its digits, the opening quote included;
`checksum` is plain SHA-256 over every byte before *its* digits, so it covers the MAC too. The checksum tells
damage from a wrong password without any key, and being made of public bytes only, it checks no guess. The MAC
tells a header altered on purpose. These last lines keep their form in every future version.
"""

import json
import re
from typing import NamedTuple

from vaultfs.crypto.aead import AuthenticationError, new_key, random_bytes
from vaultfs.crypto.kdf import CREATE_FLOOR, DEFAULT, Floor, Kdf
from vaultfs.crypto.mac import hmac_sha256, sha256, verify
from vaultfs.crypto.memory import wipe
from vaultfs.errors import HeaderDamaged, WrongPassword
from vaultfs.format.constants import CHUNK_SIZE_DEFAULT, VAULT_ID_SIZE
from vaultfs.keys.headerjson import Header, header_from_members, header_members
from vaultfs.keys.hierarchy import VaultKeys, unwrap_previous
from vaultfs.keys.identity import NOBODY, Identity, seal_identity
from vaultfs.keys.slots import KEYFILE, KEYFILE_PASSWORD, PASSWORD, RECOVERY, SHARES, KeySlot, make_slot, open_slot
from vaultfs.keys.strictjson import parse_object

__all__ = ["Header", "Unlocked", "create", "keys_of", "parse", "serialise", "unlock", "verify_mac"]

LARGEST_HEADER = 64 << 10
_MAC_OPENER = b',\n  "mac": "'
_CHECKSUM_OPENER = b'",\n  "checksum": "'
_END = b'"\n}\n'
_TAIL = re.compile(
    _MAC_OPENER + rb"(?P<mac>[0-9a-f]{64})" + _CHECKSUM_OPENER + rb"(?P<checksum>[0-9a-f]{64})" + re.escape(_END)
)
_WHAT = {
    PASSWORD: "a password alone",
    RECOVERY: "a recovery key",
    SHARES: "the shares of a key",
    KEYFILE: "a key file alone",
    KEYFILE_PASSWORD: "a key file with a password",
}
_WRONG = {
    PASSWORD: (
        "The password is wrong: look at Caps Lock and the keyboard's layout; `vaultfs key try` goes through several."
    ),
    RECOVERY: "The recovery key has no typing error, but it is not, or no longer, a key of this vault.",
    SHARES: "The shares fit together, but they are not, or no longer, a key of this vault.",
    KEYFILE: "The key file is not the right one.",
    KEYFILE_PASSWORD: "The key file is not the right one, or the password is wrong.",
}
_TAIL_SIZE = len(_MAC_OPENER) + 64 + len(_CHECKSUM_OPENER) + 64 + len(_END)


class Unlocked(NamedTuple):
    """What a secret opens: the header, now authentic, the keys, the 32-byte master key; and the slot that it opened."""

    header: Header
    keys: VaultKeys
    master: bytes
    slot: KeySlot

    def __repr__(self) -> str:
        return f"<Unlocked {self.keys!r}>"


def create(
    password: bytes,
    *,
    kdf: Kdf = DEFAULT,
    chunk_size: int = CHUNK_SIZE_DEFAULT,
    identity: Identity = NOBODY,
    minimum: Floor = CREATE_FLOOR,
) -> Unlocked:
    """A new vault's header (epoch 1, one password slot) and random keys; `chunk_size` is in bytes.

    Takes the KDF's time; raises what `make_slot` raises. `serialise(header, keys.header_mac_key)` gives the file.
    """
    vault_id, master = random_bytes(VAULT_ID_SIZE), new_key()
    slot = make_slot(password, master, vault_id, kdf=kdf, minimum=minimum)
    keys = VaultKeys.from_master(vault_id, master)
    sealed = seal_identity(keys, identity)
    header = Header(
        vault_id=vault_id, epoch=1, chunk_size=chunk_size, slots=(slot,), identity=sealed, inline_data=True
    )  # fmt: skip
    return Unlocked(header, keys, master, slot)


def serialise(header: Header, mac_key: bytes) -> bytes:
    """The bytes of the header file. Raises what `parse` raises for a header it would not read back."""
    body = json.dumps(header_members(header), indent=2).removesuffix("\n}").encode("ascii") + _MAC_OPENER
    body += hmac_sha256(mac_key, body).hex().encode("ascii") + _CHECKSUM_OPENER
    data = body + sha256(body).hex().encode("ascii") + _END
    parse(data)
    return data


def parse(data: bytes) -> Header:
    """The header in the bytes of a file, whole but not yet authentic: only `unlock` can tell that.

    Raises HeaderDamaged, or UnsupportedVaultVersion for a whole header that needs a newer vaultfs.
    """
    if len(data) > LARGEST_HEADER:
        raise HeaderDamaged(f"The header is damaged: it is larger than {LARGEST_HEADER} bytes.")
    tail = _tail(data)
    if sha256(data[: tail.start("checksum")]).hex().encode("ascii") != tail["checksum"]:
        raise HeaderDamaged("The header is damaged: its checksum does not match.")
    try:
        members = parse_object(data)
        del members["mac"], members["checksum"]
        return header_from_members(members)
    except ValueError as error:
        raise HeaderDamaged(f"The header is damaged: {error}.") from error


def verify_mac(data: bytes, mac_key: bytes) -> None:
    """Check the MAC of a whole header file; HeaderDamaged if it was made without the key."""
    tail = _tail(data)
    try:
        verify(mac_key, data[: tail.start("mac")], bytes.fromhex(tail["mac"].decode("ascii")))
    except AuthenticationError:
        raise HeaderDamaged(
            "The header was altered by something that is not vaultfs: move vaultfs.json and vaultfs.json.backup out of "
            "the store, and a copy in its roots is used."
        ) from None


def unlock(data: bytes, secret: bytes, kind: str = PASSWORD, *, avoid: bytes | None = None) -> Unlocked:
    """From a header file and a secret to the keys, by the slots of the type `kind`. Takes the KDF's time for each.

    `avoid` is the id of a slot that is tried last. Raises HeaderDamaged, UnsupportedVaultVersion, WrongPassword,
    and OpenError if the KDF's memory is not there.
    """
    header = parse(data)
    candidates = [slot for slot in header.slots if slot.type == kind]
    for slot in sorted(candidates, key=lambda slot: slot.id == avoid):
        try:
            master = open_slot(slot, secret, header.vault_id)
        except WrongPassword:
            continue
        return Unlocked(header, keys_of(data, master), master, slot)
    raise WrongPassword(_WRONG[kind] if candidates else f"The vault has no key slot for {_WHAT[kind]}.")


def keys_of(data: bytes, master: bytes) -> VaultKeys:
    """The keys by which a header file's vault opens, from the master key in force.

    Raises HeaderDamaged if the file was made under another one, or is not whole; UnsupportedVaultVersion.
    """
    header = parse(data)
    keys = VaultKeys.from_master(header.vault_id, master)
    verify_mac(data, keys.header_mac_key)
    keys.previous = _previous_keys(header, master)
    return keys


def _previous_keys(header: Header, master: bytes) -> VaultKeys | None:
    if not header.previous:
        return None
    previous = unwrap_previous(master, header.previous, header.vault_id)
    try:
        return VaultKeys.from_master(header.vault_id, previous)
    finally:
        wipe(previous)


def _tail(data: bytes) -> re.Match[bytes]:
    tail = _TAIL.fullmatch(data, max(0, len(data) - _TAIL_SIZE))
    if tail is None:
        raise HeaderDamaged("The header is damaged: its end is missing or altered.")
    return tail
