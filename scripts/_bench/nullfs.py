"""A filesystem on pyfuse3 that keeps names in memory, discards what is written and reads zeros: the transport's floor.

Run as a process: `python nullfs.py MOUNTPOINT [--stock-loop]`. It answers as vaultfs does, with the same mount
options and the same session loop, so that what vaultfs takes longer is what encryption and storage cost.
"""

import argparse
import errno
import os
import stat
from collections.abc import Sequence
from itertools import count

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, ReaddirToken, RequestContext, SetattrFields, StatvfsData

from vaultfs.vault.core import Core

_YEAR = 31_536_000
_ZEROS = bytes(1 << 20)


class Node:
    """An inode; `names` is a directory's content."""

    __slots__ = ("attributes", "names", "target")

    def __init__(self, number: int, mode: int, ctx: RequestContext | None) -> None:
        self.names: dict[bytes, Node] | None = {} if stat.S_ISDIR(mode) else None
        self.target = b""
        attributes = self.attributes = EntryAttributes()
        attributes.st_ino = number
        attributes.st_mode = mode
        attributes.st_nlink = 1
        attributes.st_uid = ctx.uid if ctx else os.getuid()
        attributes.st_gid = ctx.gid if ctx else os.getgid()
        attributes.st_blksize = 65536
        attributes.st_atime_ns = attributes.st_mtime_ns = attributes.st_ctime_ns = Core.now()
        attributes.entry_timeout = attributes.attr_timeout = _YEAR


class NullOperations(pyfuse3.Operations):
    """As little as a filesystem can do. Inodes are never dropped: the kernel may know them by number."""

    supports_dot_lookup = False
    enable_writeback_cache = True
    enable_acl = True

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(2)
        self._nodes = {pyfuse3.ROOT_INODE: Node(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, None)}
        self._absent = EntryAttributes()
        self._absent.st_ino = 0
        self._absent.entry_timeout = _YEAR

    def _names(self, inode: int) -> "dict[bytes, Node]":
        names = self._nodes[inode].names
        if names is None:
            raise pyfuse3.FUSEError(errno.ENOTDIR)
        return names

    def _add(self, parent: int, name: bytes, mode: int, ctx: RequestContext) -> Node:
        number = next(self._numbers)
        node = self._nodes[number] = self._names(parent)[name] = Node(number, mode, ctx)
        return node

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        node = self._names(parent_inode).get(name)
        return self._absent if node is None else node.attributes

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        pass

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._nodes[inode].attributes

    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        found = self._nodes[inode].attributes
        if fields.update_size:
            found.st_size = attr.st_size
        if fields.update_mode:
            found.st_mode = attr.st_mode
        if fields.update_mtime:
            found.st_mtime_ns = attr.st_mtime_ns
        return found

    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self._nodes[inode].target

    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        return self._add(parent_inode, name, stat.S_IFDIR | stat.S_IMODE(mode), ctx).attributes

    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        node = self._add(parent_inode, name, stat.S_IFLNK | 0o777, ctx)
        node.target = target
        return node.attributes

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        attributes = self._add(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx).attributes
        return FileInfo(fh=attributes.st_ino, keep_cache=True), attributes

    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        del self._names(parent_inode)[name]

    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        names = self._names(parent_inode)
        if names[name].names:
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        del names[name]

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        self._names(parent_inode_new)[name_new] = self._names(parent_inode_old).pop(name_old)

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & os.O_TRUNC:
            self._nodes[inode].attributes.st_size = 0
        return FileInfo(fh=inode, keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        left = self._nodes[fh].attributes.st_size - off
        return _ZEROS[: max(min(size, left), 0)]

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        attributes = self._nodes[fh].attributes
        attributes.st_size = max(attributes.st_size, off + len(buf))
        return len(buf)

    async def fsync(self, fh: int, datasync: bool) -> None:
        pass

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        pass

    async def release(self, fh: int) -> None:
        pass

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        nodes = list(self._names(fh).items())
        for position in range(start_id, len(nodes)):
            name, node = nodes[position]
            if not pyfuse3.readdir_reply(token, name, node.attributes, position + 1):
                break

    async def releasedir(self, fh: int) -> None:
        pass

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        raise pyfuse3.FUSEError(errno.ENODATA)

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        reply = StatvfsData()
        reply.f_bsize = reply.f_frsize = 4096
        reply.f_blocks = reply.f_bfree = reply.f_bavail = reply.f_files = reply.f_ffree = reply.f_favail = 1 << 28
        reply.f_namemax = 255
        return reply


async def serve(mountpoint: str) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_raise_read_ahead, mountpoint)
        await pyfuse3.main(min_tasks=8)
        nursery.cancel_scope.cancel()


async def _raise_read_ahead(mountpoint: str) -> None:
    from vaultfs.mount.mounttable import mount_at
    from vaultfs.mount.readahead import raise_read_ahead

    await trio.to_thread.run_sync(os.statvfs, mountpoint, abandon_on_cancel=True)
    if (mount := mount_at(mountpoint)) is not None:
        raise_read_ahead(mount.device)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("mountpoint")
    parser.add_argument("--stock-loop", action="store_true", help="pyfuse3's own session loop, to compare")
    args = parser.parse_args()
    if not args.stock_loop:
        from vaultfs.mount import session_loop

        session_loop.install(lambda: False, lambda: None)
    pyfuse3.init(NullOperations(), args.mountpoint, {"default_permissions", "fsname=nullfs"})
    try:
        trio.run(serve, args.mountpoint)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main()
