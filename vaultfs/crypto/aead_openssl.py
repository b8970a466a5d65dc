"""AES-256-GCM by OpenSSL, through `cryptography`: the fast backend."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vaultfs.crypto.aead import KEY_SIZE, AuthenticationError, Buffer


class OpensslAead:
    """One key; see `vaultfs.crypto.aead.Aead`."""

    __slots__ = ("_decrypt", "_decrypt_into", "_encrypt", "_encrypt_into")

    def __init__(self, key: bytes) -> None:
        """Take a 32-byte key; ValueError for another size."""
        if len(key) != KEY_SIZE:
            raise ValueError("an AES-256-GCM key is 32 bytes")
        cipher = AESGCM(key)
        # Bound once: on a 100-byte record the attribute look-ups would be a tenth of the cost.
        self._encrypt = cipher.encrypt
        self._decrypt = cipher.decrypt
        self._encrypt_into = cipher.encrypt_into
        self._decrypt_into = cipher.decrypt_into

    def seal(self, nonce: bytes, plaintext: Buffer, aad: bytes) -> bytes:
        """See `Aead.seal`."""
        return self._encrypt(nonce, plaintext, aad)

    def open(self, nonce: bytes, sealed: Buffer, aad: bytes) -> bytes:
        """See `Aead.open`."""
        try:
            return self._decrypt(nonce, sealed, aad)
        except InvalidTag:
            raise AuthenticationError from None

    def seal_into(self, nonce: bytes, plaintext: Buffer, aad: bytes, out: bytearray | memoryview) -> int:
        """See `Aead.seal_into`."""
        return self._encrypt_into(nonce, plaintext, aad, out)

    def open_into(self, nonce: bytes, sealed: Buffer, aad: bytes, out: bytearray | memoryview) -> int:
        """See `Aead.open_into`."""
        try:
            return self._decrypt_into(nonce, sealed, aad, out)
        except InvalidTag:
            out[:] = bytes(len(out))
            raise AuthenticationError from None
