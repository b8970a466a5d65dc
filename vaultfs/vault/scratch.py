"""Buffers that are used again and again.

Fresh memory for every read and write has to be had and filled with zeros, and is in none of the processor's caches.
What was last in a buffer stays in memory, up to 1 MiB of a file, as it did in memory that was freed: a mount's memory
is never dumped.
"""


class Scratch:
    """One buffer, as large as the largest use of it so far. It is for one thread, and one use at a time."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = memoryview(b"")

    def take(self, size: int) -> memoryview:
        """`size` bytes with anything in them, until the next `take`."""
        if len(self._buffer) < size:
            self._buffer = memoryview(bytearray(size))
        return self._buffer[:size]


class ReadBuffers:
    """What reads need, one after the other: for stored bytes, for a chunk of which a part is wanted, for the answer."""

    __slots__ = ("answer", "chunk", "stored")

    def __init__(self) -> None:
        self.stored = Scratch()
        self.chunk = Scratch()
        self.answer = Scratch()
