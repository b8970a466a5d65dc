"""What Linux can do and Python's `os` does not have, or not for large sizes: reserve, write back, read ahead."""

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
# Bytes. Of one piece of advice the kernel takes only as many as its read-ahead or the disk's largest request has, and
# drops the rest (force_page_cache_ra in mm/readahead.c); this is the least there is by default.
_ADVICE = 128 << 10


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


def will_need(fd: int, offset: int, size: int) -> None:
    """Have the kernel begin to read these bytes into the page cache (posix_fadvise(2)); raises OSError."""
    end = offset + size
    for start in range(offset, end, _ADVICE):
        os.posix_fadvise(fd, start, min(_ADVICE, end - start), os.POSIX_FADV_WILLNEED)


def start_write_back(fd: int) -> None:
    """Begin to write a file's dirty pages. Neither waits for them nor reports a failure: the next fdatasync(2) does."""
    if _sync_file_range is not None:
        _sync_file_range(fd, 0, 0, _SYNC_FILE_RANGE_WRITE)
