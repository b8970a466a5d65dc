"""Every error vaultfs raises on purpose; each class carries its errno and its exit code.

    VaultfsError
    ├── FilesystemError           what a caller of a filesystem operation gets (errno matters)
    │   ├── NotFound, Exists, NotADirectory, IsADirectory, NotEmpty, NameTooLong
    │   ├── InvalidArgument, NotPermitted, NotSupported, NoAttribute, RangeTooSmall
    │   ├── TooLarge, TooManyLinks, NoSpace, ReadOnly
    │   ├── WriteFailed           the store refused a write with an I/O error (EIO)
    │   └── Damaged               stored bytes do not verify, or are missing (EIO)
    └── OpenError                 why a vault cannot be made, opened or mounted (exit code matters)
        ├── UsageError, Interrupted
        ├── StoreUnusable, InitRefused
        ├── HeaderDamaged, HeaderUnreadable, HeaderUnwritable, UnsupportedVaultVersion
        ├── PasswordUnreadable, EmptyPassword, WrongPassword, WeakPassword
        ├── MountpointUnusable, FuseUnavailable
        ├── LockedElsewhere, RollbackRefused, PartlySynced, JournalDamaged
        └── WrongVault, KeyMistyped, LastKey

The exit codes below 40 are gocryptfs's, which front-ends already know; ours start at 40.
The message given to the constructor is the one sentence the user reads.
"""

import errno
import os


class VaultfsError(Exception):
    """The root of the tree: an unexpected failure if raised as itself."""

    errno: int = errno.EIO
    exit_code: int = 11


class FilesystemError(VaultfsError):
    """A filesystem operation was refused or failed."""


class NotFound(FilesystemError):
    """No such name, inode or handle."""

    errno = errno.ENOENT


class Stale(NotFound):
    """There is no inode of that number any more. The kernel looks its name up again then, and finds what has it now."""

    errno = errno.ESTALE


class Exists(FilesystemError):
    """The name is taken."""

    errno = errno.EEXIST


class NotADirectory(FilesystemError):
    """A directory operation on something else."""

    errno = errno.ENOTDIR


class IsADirectory(FilesystemError):
    """A file operation on a directory."""

    errno = errno.EISDIR


class NotEmpty(FilesystemError):
    """The directory still has entries."""

    errno = errno.ENOTEMPTY


class NameTooLong(FilesystemError):
    """A name over 255 bytes, or a link target over 4,095."""

    errno = errno.ENAMETOOLONG


class InvalidArgument(FilesystemError):
    """An argument no state of the vault could satisfy."""

    errno = errno.EINVAL


class NotPermitted(FilesystemError):
    """An operation this kind of inode never allows."""

    errno = errno.EPERM


class NotSupported(FilesystemError):
    """An operation or attribute namespace vaultfs does not have."""

    errno = errno.EOPNOTSUPP


class NoAttribute(FilesystemError):
    """No such extended attribute."""

    errno = errno.ENODATA


class RangeTooSmall(FilesystemError):
    """An extended attribute, or all of them together, over the size limit."""

    errno = errno.E2BIG


class TooLarge(FilesystemError):
    """A file would grow past the largest size the format has."""

    errno = errno.EFBIG


class TooManyLinks(FilesystemError):
    """The link count would pass its limit."""

    errno = errno.EMLINK


class NoSpace(FilesystemError):
    """The store has no room; nothing was changed."""

    errno = errno.ENOSPC


class ReadOnly(FilesystemError):
    """The vault is open read-only, or turned read-only after a write error."""

    errno = errno.EROFS


class Damaged(FilesystemError):
    """Stored bytes are missing, cut, or do not verify, which are never served or guessed; or a copy is not whole."""

    errno = errno.EIO
    exit_code = 26


class WriteFailed(FilesystemError):
    """The store failed to write or to sync; the vault is read-only from here on and nothing is thrown away."""

    errno = errno.EIO


class OpenError(VaultfsError):
    """A vault cannot be made, opened or mounted; nothing was changed."""


class UsageError(OpenError):
    """The command line makes no sense."""

    errno = errno.EINVAL
    exit_code = 1


class StoreUnusable(OpenError):
    """The store folder is missing, unreadable, or no vault."""

    errno = errno.ENOENT
    exit_code = 6


class InitRefused(OpenError):
    """A vault is not made here: the folder is one already, or holds other files."""

    errno = errno.EEXIST
    exit_code = 7


class HeaderDamaged(OpenError):
    """Neither copy of the header is whole, or its MAC or KDF costs are wrong."""

    exit_code = 8


class MountpointUnusable(OpenError):
    """The mountpoint is missing, in use, or overlaps the store."""

    errno = errno.ENOTDIR
    exit_code = 10


class PasswordUnreadable(OpenError):
    """No password could be read from where it should come from."""

    exit_code = 9


class WrongPassword(OpenError):
    """The header is whole, and no key slot opens with this password."""

    errno = errno.EACCES
    exit_code = 12


class Interrupted(OpenError):
    """The user stopped the command."""

    errno = errno.EINTR
    exit_code = 15


class FuseUnavailable(OpenError):
    """There is no usable FUSE here (/dev/fuse, fusermount3, pyfuse3)."""

    errno = errno.ENODEV
    exit_code = 19


class EmptyPassword(OpenError):
    """The password given is empty."""

    exit_code = 22


class HeaderUnreadable(OpenError):
    """The header file is there but cannot be read."""

    exit_code = 23


class HeaderUnwritable(OpenError):
    """The header file could not be written; the old one is in force, or, as the message says, maybe the new one."""

    exit_code = 24


class LockedElsewhere(OpenError):
    """Another process or machine has the vault open."""

    errno = errno.EBUSY
    exit_code = 40


class RollbackRefused(OpenError):
    """The store is older than, or a fork of, what this machine has seen."""

    errno = errno.ESTALE
    exit_code = 41


class PartlySynced(OpenError):
    """The store is incomplete: roots, or the journal that a root needs, are missing."""

    exit_code = 42


class UnsupportedVaultVersion(OpenError):
    """The vault needs a newer vaultfs: an unknown format version or feature flag."""

    exit_code = 43


class WeakPassword(OpenError):
    """The new password is too short or too easily guessed."""

    exit_code = 44


class JournalDamaged(OpenError):
    """Journal records that were synced are broken; opening needs explicit consent."""

    exit_code = 45


class WrongVault(OpenError):
    """The vault, or its header, is not the one that belongs here."""

    errno = errno.EPERM
    exit_code = 46


class KeyMistyped(OpenError):
    """A recovery key or a share has a typing error, or is not complete."""

    errno = errno.EINVAL
    exit_code = 47


class LastKey(OpenError):
    """The change would leave the vault without a key that is known to open it."""

    errno = errno.EPERM
    exit_code = 48


def what_the_system_says(error: OSError) -> str:
    """An error of the system as part of a sentence: the path it is about, if it names one, and its words."""
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{error.strerror or error}"
