"""Inodes as the attribute records pyfuse3 sends to the kernel."""

import stat

import pyfuse3

from vaultfs.sealing.entries import Glance
from vaultfs.vault.fileio import blocks_of
from vaultfs.vault.inode import Inode, StatFs

# A year, in seconds. One process writes the vault, so the kernel's caches go stale only by its own doing.
CACHED = 31_536_000
# What stat(2) suggests for I/O, in bytes. stdio and Python size their buffers by it, and each write(2) costs a
# getxattr of security.capability: large buffers mean few of both.
_BLOCK_SIZE = 65536


class Attributes:
    """Makes the records of replies, always in the same objects: who replies copies each before the next is made."""

    def __init__(self) -> None:
        self._record = _remembered()
        self._seen = _remembered()

    def of(self, inode: Inode, blocks: int) -> pyfuse3.EntryAttributes:
        """The record of an inode; `blocks` is what it occupies, in units of 512 bytes."""
        record = self._record
        record.st_ino = inode.id
        record.st_mode = inode.mode
        record.st_nlink = inode.nlink
        record.st_uid = inode.uid
        record.st_gid = inode.gid
        record.st_rdev = inode.device
        record.st_size = inode.size
        record.st_blocks = blocks
        record.st_atime_ns = inode.atime
        record.st_mtime_ns = inode.mtime
        record.st_ctime_ns = inode.ctime
        return record

    def of_glance(self, seen: Glance) -> pyfuse3.EntryAttributes:
        """The record of an inode in a listing."""
        record = self._seen
        (
            record.st_ino, record.st_mode, record.st_uid, record.st_gid, record.st_nlink, size,
            record.st_atime_ns, record.st_mtime_ns, record.st_ctime_ns, stored,
        ) = seen  # fmt: skip
        record.st_size = size
        record.st_blocks = blocks_of(stored, size) if stored else 0
        return record


def _remembered() -> pyfuse3.EntryAttributes:
    """A record the kernel may go by for ever; of no device."""
    record = pyfuse3.EntryAttributes()
    record.entry_timeout = record.attr_timeout = CACHED
    record.st_blksize = _BLOCK_SIZE
    record.st_rdev = 0
    return record


def absent() -> pyfuse3.EntryAttributes:
    """The record that says there is no such name, and may be remembered."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = 0
    attributes.entry_timeout = CACHED
    return attributes


def dot(inode: int) -> pyfuse3.EntryAttributes:
    """The record of `.` and `..` in a listing: the kernel takes only the number and the type, and counts no lookup."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = inode
    attributes.st_mode = stat.S_IFDIR
    return attributes


def unreadable(inode: int) -> pyfuse3.EntryAttributes:
    """A record for a listed name whose inode is damaged: it keeps the name visible, and the next stat asks again."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = inode
    attributes.entry_timeout = attributes.attr_timeout = 0
    attributes.st_mode = stat.S_IFREG
    return attributes


def filesystem_attributes(found: StatFs) -> pyfuse3.StatvfsData:
    """The reply to statfs(2)."""
    reply = pyfuse3.StatvfsData()
    reply.f_bsize = reply.f_frsize = found.block_size
    reply.f_blocks = found.blocks
    reply.f_bfree = found.blocks_free
    reply.f_bavail = found.blocks_available
    reply.f_files = found.files
    reply.f_ffree = reply.f_favail = found.files_free
    reply.f_namemax = found.name_max
    return reply
