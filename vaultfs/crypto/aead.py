"""Authenticated encryption of bulk data: AES-256-GCM with random nonces, by whichever library is selected.

AES-256-GCM per NIST SP 800-38D: 256-bit keys, 96-bit nonces, 128-bit tags. Both backends give the same bytes.
A nonce is drawn at random for each seal, so one key may seal at most 2^32 times (SP 800-38D section 8.3);
callers count, because only they know how long a key lives. A backend is loaded when first used.
"""

import os
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16

Buffer: TypeAlias = bytes | bytearray | memoryview
Backend: TypeAlias = Literal["openssl", "pycryptodome"]


class AuthenticationError(Exception):
    """A tag does not match: the bytes, their place (AAD) or the key are not the ones sealed."""


class Aead(Protocol):
    """One AES-256-GCM key. Sealed bytes are ciphertext then tag: 16 bytes longer than the plaintext.

    Instances may be used from several threads at once. All methods raise ValueError on a nonce or
    `out` of the wrong size.
    """

    def seal(self, nonce: bytes, plaintext: Buffer, aad: bytes) -> bytes:
        """Encrypt, and authenticate plaintext and `aad`; the nonce must never have been used with this key."""
        ...

    def open(self, nonce: bytes, sealed: Buffer, aad: bytes) -> bytes:
        """The plaintext; AuthenticationError if anything differs from what was sealed."""
        ...

    def seal_into(self, nonce: bytes, plaintext: Buffer, aad: bytes, out: bytearray | memoryview) -> int:
        """Like `seal`, into `out` of exactly `len(plaintext) + 16` bytes; returns the bytes written."""
        ...

    def open_into(self, nonce: bytes, sealed: Buffer, aad: bytes, out: bytearray | memoryview) -> int:
        """Like `open`, into `out` of exactly `len(sealed) - 16` bytes; returns the bytes written.

        `out` holds only zeros after an AuthenticationError.
        """
        ...


_make: Callable[[bytes], Aead] | None = None


def select_backend(name: Backend) -> None:
    """Choose the library that serves `aead` from now on; OpenSSL (by `cryptography`) if never called."""
    global _make  # noqa: PLW0603 - one choice per process: ciphers are made deep inside, far from the command line
    if name == "openssl":
        from vaultfs.crypto.aead_openssl import OpensslAead

        _make = OpensslAead
    elif name == "pycryptodome":
        from vaultfs.crypto.aead_pycryptodome import PycryptodomeAead

        _make = PycryptodomeAead
    else:
        raise ValueError(f"no cipher backend is called {name!r}")


def aead(key: bytes) -> Aead:
    """The cipher for one 32-byte key, by the selected backend; ValueError for another size."""
    if _make is None:
        select_backend("openssl")
    assert _make is not None
    return _make(key)


def random_bytes(size: int) -> bytes:
    """`size` bytes from the kernel's generator (getrandom(2))."""
    return os.urandom(size)


def new_nonce() -> bytes:
    """A fresh 12-byte nonce."""
    return os.urandom(NONCE_SIZE)


def new_key() -> bytes:
    """A fresh 32-byte key."""
    return os.urandom(KEY_SIZE)
