"""Whole-file locks that belong to an open file description (fcntl(2), "Open file description locks").

Unlike POSIX record locks they conflict within one process too, survive fork(2), and are not lost when some
other descriptor of the file is closed; unlike flock(2) they reach across NFS.
"""

import errno
import fcntl
import os
import struct
from typing import Literal

# struct flock: type, whence, start, length (0: to the end), pid (must be 0), and the padding C puts after it.
_FLOCK = struct.Struct("hhqqi0q")
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def try_lock(fd: int, *, exclusive: bool) -> bool:
    """Lock the file, or say False if someone holds a lock in the way.

    An exclusive lock needs a descriptor open for writing, a shared one a descriptor open for reading. A file
    system without locks grants everything: nothing can be known there. Raises OSError (EIO, EBADF, …).
    """
    kind = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def lock_in_the_way(fd: int) -> Literal["read", "write"] | None:
    """What anyone else holds on the file: a shared ("read") or an exclusive ("write") lock. Raises OSError."""
    query = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, query)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return None
    kind = _FLOCK.unpack(answer)[0]
    if kind == fcntl.F_UNLCK:
        return None
    return "write" if kind == fcntl.F_WRLCK else "read"
