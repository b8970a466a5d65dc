"""Keys derived from keys: HKDF-SHA256 (RFC 5869), one label per use.

`derive` is the expand step alone, on the hot path, by the standard library. `derive_from_master` is the whole
of HKDF by pycryptodome, for what derives from the master key or from a password.
"""

from vaultfs.crypto.mac import hmac_sha256

HASH_SIZE = 32
LARGEST = 255 * HASH_SIZE


def derive(key: bytes, label: bytes, context: bytes = b"", size: int = HASH_SIZE) -> bytes:
    """`size` bytes (1 to 8,160) for one use of `key`, which must be uniformly random: RFC 5869 section 2.3.

    The extract step is skipped, as section 3.3 allows for such keys. The info string is label, zero byte,
    context; labels hold no zero byte, so no two pairs of them meet. ValueError on a size out of range.
    """
    info = label + b"\0" + context
    if size == HASH_SIZE:
        return hmac_sha256(key, info + b"\x01")
    return expand(key, info, size)


def expand(key: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand with SHA-256, RFC 5869 section 2.3: `size` bytes; ValueError unless 1 to 8,160."""
    if not 0 < size <= LARGEST:
        raise ValueError("HKDF-SHA256 gives 1 to 8,160 bytes")
    block, output = b"", b""
    for counter in range(1, -(-size // HASH_SIZE) + 1):
        block = hmac_sha256(key, block + info + bytes((counter,)))
        output += block
    return output[:size]


def derive_from_master(master: bytes, salt: bytes, label: bytes, size: int = HASH_SIZE) -> bytes:
    """`size` bytes for one use of a master or password-derived key: HKDF, RFC 5869, extract and expand."""
    from vaultfs.crypto.pycryptodome import HKDF, SHA256

    derived = HKDF(master, size, salt, SHA256, context=label)
    assert isinstance(derived, bytes)  # a tuple only for several keys at once
    return derived
