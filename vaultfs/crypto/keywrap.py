"""Deterministic wrapping of keys by keys: AES-SIV (RFC 5297) with a 64-byte key and one AAD string.

The result is the 16-byte synthetic IV, which is also the tag, then the ciphertext. SIV needs no nonce:
a key may wrap any number of others. What wraps the master key goes by pycryptodome (`wrap_master`),
what wraps file keys by OpenSSL (`wrap`), which is faster; both give the same bytes.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from vaultfs.crypto.aead import AuthenticationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEK_SIZE = 64
OVERHEAD = 16


def wrap(kek: bytes, key: bytes, aad: bytes) -> bytes:
    """`key` (1 byte or more) wrapped under a 64-byte `kek`: 16 bytes longer. ValueError on a wrong size."""
    return _cipher(kek).encrypt(key, [aad])


def unwrap(kek: bytes, wrapped: bytes, aad: bytes) -> bytes:
    """What `wrap` or `wrap_master` wrapped; AuthenticationError if key, AAD or a byte differs."""
    try:
        return _cipher(kek).decrypt(wrapped, [aad])
    except Exception as error:
        # Not before: to import even what is there already would take a third of the time of each call.
        from cryptography.exceptions import InvalidTag

        if not isinstance(error, InvalidTag):
            raise
        raise AuthenticationError from None


def wrap_master(kek: bytes, key: bytes, aad: bytes) -> bytes:
    """The same bytes as `wrap`, by pycryptodome."""
    from vaultfs.crypto.pycryptodome import AES

    _check_kek(kek)
    cipher = AES.new(kek, AES.MODE_SIV)
    cipher.update(aad)
    ciphertext, tag = cipher.encrypt_and_digest(key)
    return tag + ciphertext


def unwrap_master(kek: bytes, wrapped: bytes, aad: bytes) -> bytes:
    """The same as `unwrap`, by pycryptodome."""
    from vaultfs.crypto.pycryptodome import AES

    _check_kek(kek)
    cipher = AES.new(kek, AES.MODE_SIV)
    cipher.update(aad)
    try:
        return cipher.decrypt_and_verify(wrapped[OVERHEAD:], wrapped[:OVERHEAD])
    except ValueError:
        raise AuthenticationError from None


# Making one costs four times as much as using it, and each file that is opened needs the same one.
@lru_cache(maxsize=2)
def _cipher(kek: bytes) -> "AESSIV":
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    _check_kek(kek)
    return AESSIV(kek)


def _check_kek(kek: bytes) -> None:
    if len(kek) != KEK_SIZE:
        raise ValueError("a key-wrapping key is 64 bytes")
