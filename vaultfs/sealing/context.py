"""The keys of an open vault as the sealing code wants them: ready ciphers, bound to the vault's id."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from vaultfs.crypto.aead import Aead, AuthenticationError, aead, new_key
from vaultfs.crypto.hkdf import derive
from vaultfs.crypto.keywrap import unwrap, wrap
from vaultfs.errors import Damaged
from vaultfs.format.constants import KIND_FILE_KEY, WRAPPED_KEY_SIZE
from vaultfs.keys.hierarchy import VaultKeys

_ID = struct.Struct("<Q")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A file's own random 256-bit key, in the clear and as stored."""

    key: bytes
    wrapped: bytes

    def __repr__(self) -> str:
        return "WrappedKey(…)"


class SealingContext:
    """What every seal needs to know of the vault: its id, its keys and its chunk size in bytes.

    While a change of the master key is not finished, `previous` opens what is still as before; it seals nothing.
    """

    __slots__ = ("chunk_size", "keys", "previous", "vault_id")

    def __init__(self, keys: VaultKeys, chunk_size: int) -> None:
        self.keys = keys
        self.vault_id = keys.vault_id
        self.chunk_size = chunk_size
        self.previous = SealingContext(keys.previous, chunk_size) if keys.previous is not None else None

    def open_either(self, opening: Callable[["SealingContext"], T]) -> T:
        """What `opening` gives under the keys in force or, failing that, under the previous ones; raises Damaged."""
        try:
            return opening(self)
        except Damaged:
            if self.previous is None:
                raise
        return opening(self.previous)

    def is_outdated(self, opening: Callable[["SealingContext"], object]) -> bool:
        """Whether the previous keys open it."""
        if self.previous is None:
            return False
        try:
            opening(self.previous)
        except Damaged:
            return False
        return True

    def new_file_key(self, inode_id: int) -> WrappedKey:
        """A fresh key for one file or directory, wrapped for its entry and bound to its id."""
        key = new_key()
        return WrappedKey(key, wrap(self.keys.wrap_key, key, self._key_aad(inode_id)))

    def unwrap_file_key(self, inode_id: int, wrapped: bytes) -> WrappedKey:
        """The key of a file from its entry; raises Damaged if it was changed or belongs to another id.

        A key that was wrapped under the previous master key comes back wrapped under the present one.
        """
        if len(wrapped) != WRAPPED_KEY_SIZE:
            raise Damaged("a wrapped file key has the wrong length")
        aad = self._key_aad(inode_id)
        try:
            return WrappedKey(unwrap(self.keys.wrap_key, wrapped, aad), wrapped)
        except AuthenticationError as error:
            if self.previous is None:
                raise Damaged("a wrapped file key does not verify") from error
        key = self.previous.unwrap_file_key(inode_id, wrapped).key
        return WrappedKey(key, wrap(self.keys.wrap_key, key, aad))

    def object_cipher(self, file_key: bytes, object_name: bytes) -> Aead:
        """The cipher for the slots or frames of one object."""
        return aead(derive(file_key, b"vaultfs object", object_name))

    def header_cipher(self, object_name: bytes) -> Aead:
        """The cipher for one object's header; used for one seal."""
        return aead(derive(self.keys.header_key, b"vaultfs object header", object_name))

    def root_cipher(self) -> Aead:
        """The cipher for the root slots."""
        return aead(derive(self.keys.metadata_key, b"vaultfs root"))

    def journal_header_cipher(self, number: int, salt: bytes) -> Aead:
        """The cipher for one journal's header; used for one seal."""
        return aead(derive(self.keys.metadata_key, b"vaultfs journal header", _ID.pack(number) + salt))

    def journal_cipher(self, number: int, salt: bytes) -> Aead:
        """The cipher for one journal's records."""
        return aead(derive(self.keys.metadata_key, b"vaultfs journal", _ID.pack(number) + salt))

    def _key_aad(self, inode_id: int) -> bytes:
        return KIND_FILE_KEY + self.vault_id + _ID.pack(inode_id)
