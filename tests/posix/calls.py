"""System calls Python has no function for."""

import ctypes
import mmap
import os

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100


def syncfs(descriptor: int) -> None:
    """syncfs(2); raises OSError."""
    if _libc.syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def rename_with_flags(old: bytes, new: bytes, flags: int) -> None:
    """renameat2(2); raises OSError."""
    if _libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def cached_pages(descriptor: int) -> int:
    """How many pages of a file are in the page cache (mincore(2)); raises OSError."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(mapped)
        failed = _libc.mincore(ctypes.byref(first), ctypes.c_size_t(len(mapped)), pages)
        del first
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return sum(page & 1 for page in pages)
