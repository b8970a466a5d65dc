"""System calls Python has no function for."""

import ctypes
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
