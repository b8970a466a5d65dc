"""Keeps secrets out of swap and overwrites them, as far as Python allows: best effort, never a reason to fail.

Only the very object that is passed is locked or overwritten; copies that libraries made of it are not reached.
"""

import ctypes
import sys

_HEADER = bytes.__basicsize__ - 1  # of a bytes object in CPython; its content follows, and a zero byte
_CPYTHON = sys.implementation.name == "cpython"


def lock(secret: bytes) -> bool:
    """Keep the pages that hold `secret` in memory, out of swap (mlock(2)); False if that is not permitted.

    Holds for this process alone, not for one forked from it.
    """
    if not _CPYTHON or not secret:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.mlock(ctypes.c_void_p(id(secret) + _HEADER), ctypes.c_size_t(len(secret))) == 0)


def wipe(secret: bytes) -> None:
    """Overwrite `secret` in place with zeros: for whoever holds its last reference, and will not use it again.

    Objects of less than two bytes are shared by the interpreter and left alone.
    """
    if _CPYTHON and len(secret) > 1:
        ctypes.memset(id(secret) + _HEADER, 0, len(secret))
