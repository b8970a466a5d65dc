"""Hashes and message authentication: SHA-256, HMAC-SHA256 and a comparison in constant time."""

import hashlib
import hmac

from vaultfs.crypto.aead import AuthenticationError, Buffer

MAC_SIZE = 32


def sha256(data: Buffer) -> bytes:
    """The 32-byte SHA-256 of `data` (FIPS 180-4); tells accidents, not attacks."""
    return hashlib.sha256(data).digest()


def hmac_sha256(key: bytes, data: Buffer) -> bytes:
    """The 32-byte HMAC-SHA256 of `data` (RFC 2104)."""
    # Half the time of hmac.digest, for which OpenSSL 3 looks the algorithm up again each time.
    return hmac.new(key, data, "sha256").digest()


def equal(a: Buffer, b: Buffer) -> bool:
    """Whether two byte strings are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(a, b)


def verify(key: bytes, data: Buffer, mac: Buffer) -> None:
    """Check an HMAC-SHA256; AuthenticationError if it is another."""
    if not equal(hmac_sha256(key, data), mac):
        raise AuthenticationError
