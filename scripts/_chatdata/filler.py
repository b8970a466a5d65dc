"""Seeded bytes that do not compress, faster than a disk takes them."""

import hashlib
from collections.abc import Iterator

Buffer = bytes | memoryview

POOL_BYTES = 64 << 20
UNIQUE_BYTES = 32


class Pool:
    """64 MiB of seeded bytes (SHAKE-128); every file is slices of it behind 32 bytes of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bytes = memoryview(hashlib.shake_128(b"pool %d" % seed).digest(POOL_BYTES))

    def filler(self, label: bytes) -> "Filler":
        """The bytes of one content; equal labels give equal bytes."""
        own = hashlib.shake_128(b"%d " % self._seed + label).digest(UNIQUE_BYTES + 8)
        return Filler(self._bytes, own[:UNIQUE_BYTES], int.from_bytes(own[UNIQUE_BYTES:]) % POOL_BYTES)


class Filler:
    """An endless stream of bytes, taken piece by piece."""

    def __init__(self, pool: memoryview, own: bytes, position: int) -> None:
        self._pool = pool
        self._own = own
        self._position = position

    def take(self, size: int) -> list[Buffer]:
        """The next `size` bytes, as buffers."""
        return list(self._pieces(size))

    def take_bytes(self, size: int) -> bytes:
        """The next `size` bytes in one piece."""
        return b"".join(self._pieces(size))

    def _pieces(self, size: int) -> Iterator[Buffer]:
        if self._own and size:
            yield self._own[:size]
            size -= len(self._own[:size])
            self._own = b""
        while size:
            piece = self._pool[self._position : self._position + size]
            self._position = (self._position + len(piece)) % len(self._pool)
            size -= len(piece)
            yield piece
