"""The Linux system calls a store needs and Python's `os` does not have: fallocate(2) and sync_file_range(2)."""

import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
# glibc on 32-bit machines has a 32-bit off_t behind the plain name; musl has only the plain name.
_fallocate = getattr(_libc, "fallocate64", None) or _libc.fallocate
_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_fallocate.restype = ctypes.c_int
_sync_file_range = getattr(_libc, "sync_file_range64", None) or getattr(_libc, "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    _sync_file_range.restype = ctypes.c_int
_SYNC_FILE_RANGE_WRITE = 2


def fallocate(fd: int, size: int) -> bool:
    """Reserve the first `size` bytes (> 0) and lengthen the file to them; False where that is not supported.

    Not os.posix_fallocate: the C library would write a byte to every block where the system call is missing.
    Raises OSError (ENOSPC, EFBIG, EIO, …).
    """
    while _fallocate(fd, 0, 0, size) != 0:
        code = ctypes.get_errno()
        if code in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True


def start_write_back(fd: int) -> None:
    """Begin to write a file's dirty pages. Neither waits for them nor reports a failure: the next fdatasync(2) does."""
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)
