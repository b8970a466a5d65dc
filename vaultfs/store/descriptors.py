"""Opens regular files and folders below a directory descriptor, following no symbolic link.

Whoever can write to the store could plant a link, a fifo or a device where an object should be; each of
them is refused as `OSError(EINVAL)`, and none of them can make an open hang (open(2), O_NONBLOCK).
"""

import errno
import os
import stat

from vaultfs.errors import StoreUnusable

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REGULAR_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
# What open(2) says about links, folders, sockets, fifos without a reader, and devices without a driver.
_NOT_REGULAR = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV)


def not_regular(path: str) -> OSError:
    """The error for something other than a regular file in an object's place."""
    return OSError(errno.EINVAL, "not a regular file", path)


def open_regular(name: str, flags: int, parent: int, path: str, mode: int = 0o600) -> int:
    """A descriptor of the regular file `name` in the folder `parent`; `path` is for messages.

    Raises OSError: EINVAL for anything but a regular file, else what open(2) says.
    """
    try:
        fd = _open_quietly(name, flags | _REGULAR_FLAGS, parent, mode)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise not_regular(path) from error
        raise OSError(error.errno, error.strerror, path) from error
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise not_regular(path)


def open_folder(name: str, parent: int | None, path: str) -> int:
    """A descriptor of the folder `name` in the folder `parent` (None: an absolute path); `path` is for messages.

    Raises OSError: EINVAL for a link or a file in its place, else what open(2) says.
    """
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise OSError(errno.EINVAL, "not a folder", path) from error
        raise OSError(error.errno, error.strerror, path) from error


def open_root(path: str, *, write: bool) -> int:
    """A descriptor of a store's folder. Raises StoreUnusable if it cannot be read (or written, for `write`)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StoreUnusable(f"there is no folder {path}") from error
    except NotADirectoryError as error:
        raise StoreUnusable(f"what is at {path} is not a folder") from error
    except OSError as error:
        raise StoreUnusable(f"the folder {path} cannot be opened: {error.strerror}") from error
    if write and not os.access(".", os.W_OK, dir_fd=fd, effective_ids=True):
        os.close(fd)
        raise StoreUnusable(f"the folder {path} cannot be written to; `vaultfs mount --read-only` only reads it")
    return fd


def _open_quietly(name: str, flags: int, parent: int, mode: int) -> int:
    """open(2) without touching access times, which only a file's owner may ask for."""
    try:
        return os.open(name, flags | os.O_NOATIME, mode, dir_fd=parent)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return os.open(name, flags, mode, dir_fd=parent)
