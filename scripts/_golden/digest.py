"""What stands for a file's content in a manifest: a hash that costs nothing for holes."""

import hashlib
from collections.abc import Iterable

BLOCK = 32768
"""Contents are hashed by blocks of so many bytes, those of zeros left out."""


def digest(blocks: Iterable[tuple[int, bytes]]) -> str:
    """SHA-256 over offset (u64, little-endian) and bytes, filled up with zeros, of every block with a byte set."""
    hashed = hashlib.sha256()
    for offset, data in blocks:
        if data.strip(b"\0"):
            hashed.update(offset.to_bytes(8, "little") + data.ljust(BLOCK, b"\0"))
    return hashed.hexdigest()
