"""The keys of a vault, all derived from its 32-byte master key by HKDF-SHA256, one label per use.

    master key ─┬─ "vaultfs wrap key"        wraps file keys (AES-SIV, 64 bytes)
                ├─ "vaultfs object headers"  base of the keys of sealed object headers, one per object name
                ├─ "vaultfs metadata"        base of the keys of roots and journals
                └─ "vaultfs header mac"      authenticates vaultfs.json

The vault id is the salt, so even one master key in two vaults would give unrelated keys.
"""

from vaultfs.crypto.aead import KEY_SIZE
from vaultfs.crypto.hkdf import derive_from_master
from vaultfs.crypto.keywrap import KEK_SIZE
from vaultfs.crypto.memory import lock
from vaultfs.format.constants import VAULT_ID_SIZE

LABEL_WRAP = b"vaultfs wrap key"
LABEL_OBJECT_HEADERS = b"vaultfs object headers"
LABEL_METADATA = b"vaultfs metadata"
LABEL_HEADER_MAC = b"vaultfs header mac"


class VaultKeys:
    """The keys an open vault works with; neither they nor the master key show in its repr.

    `vault_id` is 16 bytes, `wrap_key` 64, `header_key`, `metadata_key` and `header_mac_key` 32 each.
    """

    __slots__ = ("header_key", "header_mac_key", "metadata_key", "vault_id", "wrap_key")

    def __init__(
        self, vault_id: bytes, wrap_key: bytes, header_key: bytes, metadata_key: bytes, header_mac_key: bytes
    ) -> None:
        self.vault_id = vault_id
        self.wrap_key = wrap_key
        self.header_key = header_key
        self.metadata_key = metadata_key
        self.header_mac_key = header_mac_key

    @classmethod
    def from_master(cls, vault_id: bytes, master: bytes) -> "VaultKeys":
        """The keys of the vault with this 16-byte id and 32-byte master key; ValueError for other sizes."""
        if len(vault_id) != VAULT_ID_SIZE or len(master) != KEY_SIZE:
            raise ValueError("a vault id is 16 bytes and a master key 32")
        return cls(
            vault_id,
            wrap_key=derive_from_master(master, vault_id, LABEL_WRAP, KEK_SIZE),
            header_key=derive_from_master(master, vault_id, LABEL_OBJECT_HEADERS),
            metadata_key=derive_from_master(master, vault_id, LABEL_METADATA),
            header_mac_key=derive_from_master(master, vault_id, LABEL_HEADER_MAC),
        )

    def lock(self) -> bool:
        """Keep the keys out of swap, in this process; False if that is not permitted for all of them."""
        locked = [lock(getattr(self, name)) for name in self.__slots__ if name != "vault_id"]
        return all(locked)

    def wipe(self) -> None:
        """Drop the keys: using one afterwards is an AttributeError.

        They are dropped, not overwritten: Python and the crypto libraries have copied them by then, so zeros
        here would promise what nothing below keeps.
        """
        for name in self.__slots__:
            if name != "vault_id" and hasattr(self, name):
                delattr(self, name)

    def __repr__(self) -> str:
        return f"<VaultKeys of {self.vault_id.hex()}>"
