"""The keys of a vault, all derived from its 32-byte master key by HKDF-SHA256, one label per use.

    master key ─┬─ "vaultfs wrap key"        wraps file keys (AES-SIV, 64 bytes)
                ├─ "vaultfs object headers"  base of the keys of sealed object headers, one per object name
                ├─ "vaultfs metadata"        base of the keys of roots and journals
                ├─ "vaultfs header mac"      authenticates vaultfs.json
                └─ "vaultfs previous master" wraps the master key before, while a change of it is under way

The vault id is the salt, so even one master key in two vaults would give unrelated keys.
"""

from vaultfs.crypto.aead import KEY_SIZE, AuthenticationError
from vaultfs.crypto.hkdf import derive_from_master
from vaultfs.crypto.keywrap import KEK_SIZE, unwrap_master, wrap_master
from vaultfs.crypto.memory import lock
from vaultfs.errors import HeaderDamaged
from vaultfs.format.constants import KIND_PREVIOUS, VAULT_ID_SIZE

LABEL_WRAP = b"vaultfs wrap key"
LABEL_OBJECT_HEADERS = b"vaultfs object headers"
LABEL_METADATA = b"vaultfs metadata"
LABEL_HEADER_MAC = b"vaultfs header mac"
LABEL_PREVIOUS = b"vaultfs previous master"
_SECRET = ("header_key", "header_mac_key", "metadata_key", "wrap_key")


class VaultKeys:
    """The keys an open vault works with; neither they nor the master key show in its repr.

    `vault_id` is 16 bytes, `wrap_key` 64, `header_key`, `metadata_key` and `header_mac_key` 32 each. `previous` are
    the keys of the master key before, while a change of it is not finished: they open, and seal nothing any more.
    """

    __slots__ = (*_SECRET, "previous", "vault_id")

    def __init__(
        self, vault_id: bytes, wrap_key: bytes, header_key: bytes, metadata_key: bytes, header_mac_key: bytes,
        previous: "VaultKeys | None" = None,
    ) -> None:  # fmt: skip
        self.vault_id = vault_id
        self.wrap_key = wrap_key
        self.header_key = header_key
        self.metadata_key = metadata_key
        self.header_mac_key = header_mac_key
        self.previous = previous

    @classmethod
    def from_master(cls, vault_id: bytes, master: bytes, previous: "VaultKeys | None" = None) -> "VaultKeys":
        """The keys of the vault with this 16-byte id and 32-byte master key; ValueError for other sizes."""
        if len(vault_id) != VAULT_ID_SIZE or len(master) != KEY_SIZE:
            raise ValueError("a vault id is 16 bytes and a master key 32")
        return cls(
            vault_id,
            wrap_key=derive_from_master(master, vault_id, LABEL_WRAP, KEK_SIZE),
            header_key=derive_from_master(master, vault_id, LABEL_OBJECT_HEADERS),
            metadata_key=derive_from_master(master, vault_id, LABEL_METADATA),
            header_mac_key=derive_from_master(master, vault_id, LABEL_HEADER_MAC),
            previous=previous,
        )

    def lock(self) -> bool:
        """Keep the keys out of swap, in this process; False if that is not permitted for all of them."""
        locked = [lock(getattr(self, name)) for name in _SECRET]
        return all(locked) and (self.previous is None or self.previous.lock())

    def wipe(self) -> None:
        """Drop the keys: using one afterwards is an AttributeError.

        They are dropped, not overwritten: Python and the crypto libraries have copied them by then, so zeros
        here would promise what nothing below keeps.
        """
        for name in _SECRET:
            if hasattr(self, name):
                delattr(self, name)
        if self.previous is not None:
            self.previous.wipe()

    def is_same(self, other: "VaultKeys") -> bool:
        """Whether both are of one master key."""
        return self.wrap_key == other.wrap_key

    def __repr__(self) -> str:
        return f"<VaultKeys of {self.vault_id.hex()}>"


def wrap_previous(master: bytes, previous: bytes, vault_id: bytes) -> bytes:
    """The master key before, for the header: 48 bytes that only the one in force opens."""
    return wrap_master(_previous_key(master, vault_id), previous, KIND_PREVIOUS + vault_id)


def unwrap_previous(master: bytes, wrapped: bytes, vault_id: bytes) -> bytes:
    """What `wrap_previous` wrapped; HeaderDamaged if it is anything else."""
    try:
        return unwrap_master(_previous_key(master, vault_id), wrapped, KIND_PREVIOUS + vault_id)
    except AuthenticationError:
        raise HeaderDamaged("The previous master key in the header does not verify.") from None


def _previous_key(master: bytes, vault_id: bytes) -> bytes:
    return derive_from_master(master, vault_id, LABEL_PREVIOUS, KEK_SIZE)
