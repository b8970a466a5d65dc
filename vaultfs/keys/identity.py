"""Whose vault it is: a label and an owner, sealed in the header so that only who opens the vault reads them.

    nonce(12) ‖ AES-256-GCM(JSON {"label", "owner"}, spaces up to a multiple of 512 bytes) ‖ tag(16), 0 bytes for none

The key is HKDF(metadata key, "vaultfs identity"); the AAD is `I` and the vault id. Every change draws a new nonce.
"""

import json
from dataclasses import dataclass

from vaultfs.crypto.aead import Aead, AuthenticationError, aead, new_nonce
from vaultfs.crypto.hkdf import derive
from vaultfs.errors import HeaderDamaged, UsageError
from vaultfs.format.constants import KIND_IDENTITY, NONCE_SIZE
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.keys.strictjson import as_text, parse_object, require_members

LONGEST = 256
_PADDING = 512


@dataclass(frozen=True, slots=True)
class Identity:
    """A vault's label and its owner (a name, or a telephone number); each at most 256 printable characters."""

    label: str = ""
    owner: str = ""

    def check(self) -> None:
        """UsageError for texts that are too long or not printable."""
        for what, text in (("label", self.label), ("owner", self.owner)):
            if len(text) > LONGEST or not text.isprintable():
                raise UsageError(f"The {what} must be at most {LONGEST} printable characters.")


NOBODY = Identity()


def seal_identity(keys: VaultKeys, identity: Identity) -> bytes:
    """The bytes for the header. Padded, so that their length tells neither text's, nor whether there are any."""
    plain = json.dumps({"label": identity.label, "owner": identity.owner}, ensure_ascii=False).encode("utf-8")
    plain = plain.ljust(-(-len(plain) // _PADDING) * _PADDING)
    nonce = new_nonce()
    return nonce + _cipher(keys).seal(nonce, plain, KIND_IDENTITY + keys.vault_id)


def open_identity(keys: VaultKeys, sealed: bytes) -> Identity:
    """What `seal_identity` sealed; HeaderDamaged if it is anything else."""
    if not sealed:
        return NOBODY
    try:
        plain = _cipher(keys).open(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], KIND_IDENTITY + keys.vault_id)
        members = parse_object(plain)
        require_members(members, "it", ("label", "owner"))
        return Identity(as_text(members["label"], "label", LONGEST), as_text(members["owner"], "owner", LONGEST))
    except (AuthenticationError, ValueError) as error:
        raise HeaderDamaged("The label and the owner in the header do not verify.") from error


def _cipher(keys: VaultKeys) -> Aead:
    return aead(derive(keys.metadata_key, b"vaultfs identity"))
