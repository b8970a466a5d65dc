"""Has the C library keep the memory of large requests while there is work, and give it back when there is none."""

import ctypes

# mallopt(3)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT = 16 << 20  # bytes at the end of the heap
_MAPPED = 32 << 20  # the largest glibc allows


def keep_freed_memory() -> None:
    """Let the process keep some freed memory; nothing happens where the C library is another than glibc.

    A read or write of 1 MiB needs a few MiB for a moment. Given back and taken again for each one, they cost 256
    page faults per MiB, which is more time than all that is done with the bytes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def give_back_freed_memory() -> None:
    """Give freed memory back to the system, wherever it lies; takes milliseconds. Any thread.

    By itself the library gives back no more than the end of the heap, and one small object there keeps all below it:
    100 of 171 MiB after a few thousand files and random writes.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
