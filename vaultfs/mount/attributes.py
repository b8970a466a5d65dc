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


def attributes_of(inode: Inode, blocks: int) -> pyfuse3.EntryAttributes:
    """The record of an inode; `blocks` is what it occupies, in units of 512 bytes."""
    attributes = pyfuse3.EntryAttributes()
    attributes.st_ino = inode.id
    attributes.entry_timeout = attributes.attr_timeout = CACHED
    attributes.st_mode = inode.mode
    attributes.st_nlink = inode.nlink
    attributes.st_uid = inode.uid
    attributes.st_gid = inode.gid
    attributes.st_rdev = inode.rdev
    attributes.st_size = inode.size
    attributes.st_blksize = _BLOCK_SIZE
    attributes.st_blocks = blocks
    attributes.st_atime_ns = inode.atime
    attributes.st_mtime_ns = inode.mtime
    attributes.st_ctime_ns = inode.ctime
    return attributes


class Glancer:
    """Makes the records of a listing, all in one object: who replies copies each before the next."""

    def __init__(self) -> None:
        self._attributes = attributes = pyfuse3.EntryAttributes()
        attributes.entry_timeout = attributes.attr_timeout = CACHED
        attributes.st_rdev = 0
        attributes.st_blksize = _BLOCK_SIZE

    def attributes_of(self, seen: Glance) -> pyfuse3.EntryAttributes:
        """The record of an inode, until the next one."""
        attributes = self._attributes
        (
            attributes.st_ino, attributes.st_mode, attributes.st_uid, attributes.st_gid, attributes.st_nlink, size,
            attributes.st_atime_ns, attributes.st_mtime_ns, attributes.st_ctime_ns, stored,
        ) = seen  # fmt: skip
        attributes.st_size = size
        attributes.st_blocks = blocks_of(stored, size) if stored else 0
        return attributes


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
