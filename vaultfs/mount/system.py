"""The Linux system calls a mount needs and Python's `os` does not have: umount2(2), syncfs(2), prctl(2)."""

import ctypes
import errno
import os

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_PR_SET_DUMPABLE = 4
_TRIES = 10

_libc = ctypes.CDLL(None, use_errno=True)


def umount(path: str, *, lazy: bool) -> None:
    """Unmount as root; `lazy` detaches it now and lets go when the last user has. Raises OSError (EBUSY, EPERM, …)."""
    _check(_libc.umount2(os.fsencode(path), _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)), path)


def sync_filesystem(path: str) -> None:
    """Write back what the kernel still caches of the filesystem that holds `path`. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The kernel tells once what has failed since the last time: that a process was killed while it was waiting
        # (EINTR), which says nothing of this sync.
        for _ in range(_TRIES):
            result = _libc.syncfs(fd)
            if result == 0 or ctypes.get_errno() != errno.EINTR:
                break
        _check(result, path)
    finally:
        os.close(fd)


def forbid_dumping() -> None:
    """No core dumps of this process, and no debugger or /proc/PID/mem of the same user reads its memory."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
