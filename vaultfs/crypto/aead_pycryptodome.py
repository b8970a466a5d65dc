"""AES-256-GCM by pycryptodome: the slower backend, independent of OpenSSL."""

from Crypto.Cipher import AES
from Crypto.Cipher._mode_gcm import GcmMode

from vaultfs.crypto.aead import KEY_SIZE, NONCE_SIZE, TAG_SIZE, AuthenticationError, Buffer


class PycryptodomeAead:
    """One key; see `vaultfs.crypto.aead.Aead`."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Take a 32-byte key; ValueError for another size."""
        if len(key) != KEY_SIZE:
            raise ValueError("an AES-256-GCM key is 32 bytes")
        self._key = key

    def seal(self, nonce: bytes, plaintext: Buffer, aad: bytes) -> bytes:
        """See `Aead.seal`."""
        ciphertext, tag = self._cipher(nonce, aad).encrypt_and_digest(plaintext)
        return ciphertext + tag

    def open(self, nonce: bytes, sealed: Buffer, aad: bytes) -> bytes:
        """See `Aead.open`."""
        view = memoryview(sealed)
        try:
            return self._cipher(nonce, aad).decrypt_and_verify(view[:-TAG_SIZE], view[-TAG_SIZE:])
        except ValueError:
            raise AuthenticationError from None

    def seal_into(self, nonce: bytes, plaintext: Buffer, aad: bytes, out: bytearray | memoryview) -> int:
        """See `Aead.seal_into`."""
        if len(out) != len(plaintext) + TAG_SIZE:
            raise ValueError(f"out must be {len(plaintext) + TAG_SIZE} bytes")
        out[:] = self.seal(nonce, plaintext, aad)
        return len(out)

    def open_into(self, nonce: bytes, sealed: Buffer, aad: bytes, out: bytearray | memoryview) -> int:
        """See `Aead.open_into`."""
        if len(sealed) >= TAG_SIZE and len(out) != len(sealed) - TAG_SIZE:
            raise ValueError(f"out must be {len(sealed) - TAG_SIZE} bytes")
        try:
            out[:] = self.open(nonce, sealed, aad)
        except AuthenticationError:
            out[:] = bytes(len(out))
            raise
        return len(out)

    def _cipher(self, nonce: bytes, aad: bytes) -> GcmMode:
        # pycryptodome takes any nonce length and hashes it; only 12 bytes mean the same to every implementation.
        if len(nonce) != NONCE_SIZE:
            raise ValueError("a nonce is 12 bytes")
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=nonce, mac_len=TAG_SIZE)
        cipher.update(aad)
        return cipher
