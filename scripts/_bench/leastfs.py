"""The least that keeps what it is given encrypted: `nullfs` with a cipher, objects and a journal, and nothing else.

Run as a process: `python leastfs.py STORE MOUNTPOINT`. It does what no filesystem in Python with vaultfs's promises can
leave out: seals whole chunks into free slots of a file's object, and everything else into a journal that a sync makes
durable; reads an object for each directory it has not seen. It leaves out what can be: recovery, checkpoints while it
is mounted, limits of memory and of room, errors, links, attributes, other users. So what vaultfs takes longer is what
its own code costs, and a peer that takes less than this is out of reach. It is nothing to keep files in.
"""

import argparse
import errno
import marshal
import os
import stat
import struct
from itertools import count
from typing import NamedTuple, TypeAlias, cast

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, ReaddirToken, RequestContext, SetattrFields

from _bench.leastcontent import Content, Objects, Packed, seal, unseal
from _bench.nullfs import Node, NullOperations, serve
from vaultfs.mount import session_loop

_JOURNAL = 64 << 20  # bytes
_RECORD = struct.Struct("<BQQQ")
_MADE, _CHANGED, _REMOVED, _MOVED, _WRITTEN, _CUT = range(6)
# An inode's number is that of its directory's object and its place there, or where no place can be if it is new.
_PLACE_BITS = 24
_NEW = 1 << 38

Stored: TypeAlias = tuple[bytes, int, int, int, int, int, int, bytes, Packed | None]
"""An entry of a directory: name, mode, owner, group, size, mtime, object, target of a link, content."""


class LeastNode(Node):
    """An inode. Of a directory: the entries, None until it is read; those nobody has looked at are numbers."""

    __slots__ = ("content", "entries", "number")
    content: Content

    def __init__(self, inode: int, mode: int, ctx: RequestContext | None, number: int) -> None:
        super().__init__(inode, mode, ctx)
        self.number = number
        self.entries: dict[bytes, LeastNode | int] | None = None


class Folder(NamedTuple):
    """A directory that was read: its inode, and its entries as they stand in its object."""

    node: LeastNode
    stored: list[Stored]


class LeastOperations(NullOperations):
    """What is no content is in memory; directories are written when it is unmounted."""

    def __init__(self, store: str) -> None:
        super().__init__()
        self._objects = Objects(f"{store}/objects")
        os.makedirs(f"{store}/directories", exist_ok=True)
        self._directories = os.open(f"{store}/directories", os.O_RDONLY)
        self._journal = os.open(f"{store}/journal", os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._journal).st_size < _JOURNAL:
            os.pwrite(self._journal, bytes(_JOURNAL), 0)
            os.fsync(self._journal)
        self._position = 0
        self._records: list[bytes] = []
        self._unsynced = False
        numbers = [*map(int, os.listdir(self._directories)), *map(int, os.listdir(self._objects.folder))]
        self._free_numbers = count(max(numbers, default=0) + 1)
        root = LeastNode(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, None, 0)
        if 0 not in numbers:
            root.entries = {}
        self._inodes = {pyfuse3.ROOT_INODE: root}
        self._folders: dict[int, Folder] = {}
        self._dirty: dict[int, LeastNode] = {}
        self._seen = EntryAttributes()
        self._seen.st_nlink, self._seen.st_blksize = 1, 65536
        self._seen.entry_timeout = self._seen.attr_timeout = root.attributes.entry_timeout

    # The tree

    def _inode(self, inode: int) -> LeastNode:
        return self._inodes.get(inode) or self._from_stored(inode)

    def _from_stored(self, inode: int) -> LeastNode:
        parent, stored = self._folders[(inode >> _PLACE_BITS) - 1]
        name, mode, uid, gid, size, mtime, number, target, packed = stored[inode % (1 << _PLACE_BITS)]
        node = self._inodes[inode] = LeastNode(inode, mode, None, number)
        node.target = target
        found = node.attributes
        found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns = uid, gid, size, mtime
        if packed is not None:
            node.content = Content.unpacked(self._objects, packed)
        entries = self._entries(parent)
        if entries.get(name) == inode:  # the kernel asks for some that are deleted, too
            entries[name] = node
        return node

    def _entries(self, node: LeastNode) -> "dict[bytes, LeastNode | int]":
        if node.entries is None:
            if not stat.S_ISDIR(node.attributes.st_mode):
                raise pyfuse3.FUSEError(errno.ENOTDIR)
            fd = os.open(str(node.number), os.O_RDONLY, dir_fd=self._directories)
            stored = marshal.loads(unseal(os.read(fd, os.fstat(fd).st_size), node.number))
            os.close(fd)
            self._folders[node.number] = Folder(node, stored)
            first = (node.number + 1) << _PLACE_BITS
            node.entries = {entry[0]: inode for inode, entry in enumerate(stored, first)}
        return node.entries

    def _changing(self, inode: int) -> "dict[bytes, LeastNode | int]":
        node = self._inode(inode)
        self._dirty[node.number] = node
        return self._entries(node)

    def _get(self, entries: "dict[bytes, LeastNode | int]", name: bytes) -> LeastNode | None:
        found = entries.get(name)
        return self._inode(found) if isinstance(found, int) else found

    def _note(self, kind: int, first: int, second: int = 0, third: int = 0, data: bytes = b"") -> None:
        self._records.append(_RECORD.pack(kind, first, second, third) + data)

    def _add(self, parent: int, name: bytes, mode: int, ctx: RequestContext) -> LeastNode:
        entries = self._changing(parent)
        number = next(self._free_numbers)
        inode = (number + _NEW) << _PLACE_BITS
        node = self._inodes[inode] = entries[name] = LeastNode(inode, mode & ~ctx.umask, ctx, number)
        if stat.S_ISDIR(mode):
            node.entries = {}
            self._dirty[number] = node
        elif stat.S_ISREG(mode):
            node.content = Content(self._objects, number)
        self._note(_MADE, parent, inode, mode, name)
        return node

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        node = self._get(self._entries(self._inode(parent_inode)), name)
        return self._absent if node is None else node.attributes

    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._inode(inode).attributes

    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        node = self._inode(inode)
        found = node.attributes
        if fields.update_size and found.st_size != attr.st_size:
            self._cut(node, attr.st_size)
        if fields.update_mode:
            found.st_mode = attr.st_mode
        if fields.update_uid:
            found.st_uid = attr.st_uid
        if fields.update_gid:
            found.st_gid = attr.st_gid
        if fields.update_mtime:
            found.st_mtime_ns = attr.st_mtime_ns
        self._mark(inode)
        self._note(_CHANGED, inode, found.st_mode, found.st_mtime_ns)
        return found

    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self._inode(inode).target

    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        del self._changing(parent_inode)[name]
        self._note(_REMOVED, parent_inode, data=name)

    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        entries = self._changing(parent_inode)
        node = self._get(entries, name)
        if node is None or self._entries(node):
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        del entries[name]
        self._note(_REMOVED, parent_inode, data=name)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        old = self._changing(parent_inode_old)
        node = self._get(old, name_old)
        if node is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        del old[name_old]
        self._changing(parent_inode_new)[name_new] = node
        self._note(_MOVED, parent_inode_old, parent_inode_new, data=name_old + name_new)

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        node = self._inode(fh)
        entries = list(self._entries(node).items())
        stored = self._folders[node.number].stored if node.number in self._folders else []
        first = (node.number + 1) << _PLACE_BITS
        for position in range(start_id, len(entries)):
            name, found = entries[position]
            seen = self._glance(found, stored[found - first]) if isinstance(found, int) else found.attributes
            if not pyfuse3.readdir_reply(token, name, seen, position + 1):
                break

    def _glance(self, inode: int, entry: Stored) -> EntryAttributes:
        seen = self._seen
        seen.st_ino = inode
        _, seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size, seen.st_mtime_ns, _, _, _ = entry
        return seen

    # Content

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & os.O_TRUNC:
            self._cut(self._inode(inode), 0)
        return FileInfo(fh=inode, keep_cache=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        node = self._inode(fh)
        return cast(bytes, node.content.read(off, max(min(size, node.attributes.st_size - off), 0)))

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        node = self._inode(fh)
        self._mark(fh)
        self._note(_WRITTEN, fh, off, len(buf), node.content.write(off, buf))
        node.attributes.st_size = max(node.attributes.st_size, off + len(buf))
        return len(buf)

    def _cut(self, node: LeastNode, size: int) -> None:
        self._mark(node.attributes.st_ino)
        node.content.cut(node.attributes.st_size, size)
        node.attributes.st_size = size
        self._note(_CUT, node.attributes.st_ino, size)

    def _mark(self, inode: int) -> None:
        """Have the entry of a changed inode written. What is new is in a directory that has changed."""
        number = (inode >> _PLACE_BITS) - 1
        if (folder := self._folders.get(number)) is not None:
            self._dirty[number] = folder.node

    # Durability

    def write_records(self) -> None:
        """Write what is to be in the journal and waits."""
        if self._records:
            sealed = seal(b"".join(self._records), self._position)
            self._records.clear()
            if self._position + len(sealed) > _JOURNAL:
                self._position = 0
            os.pwrite(self._journal, sealed, self._position)
            self._position += len(sealed)
            self._unsynced = True

    async def fsync(self, fh: int, datasync: bool) -> None:
        content = self._inode(fh).content
        if content.unsynced:
            content.sync()
        self.write_records()
        if self._unsynced:
            os.fdatasync(self._journal)
            self._unsynced = False

    def close(self) -> None:
        """Write the directories that have changed."""
        for number, node in self._dirty.items():
            sealed = seal(marshal.dumps(self._stored(node)), number)
            fd = os.open(str(number), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600, dir_fd=self._directories)
            os.write(fd, sealed)
            os.close(fd)

    def _stored(self, node: LeastNode) -> list[Stored]:
        old = self._folders[node.number].stored if node.number in self._folders else []
        first = (node.number + 1) << _PLACE_BITS
        entries: list[Stored] = []
        for name, child in self._entries(node).items():
            if isinstance(child, int):
                entries.append((name, *old[child - first][1:]))
                continue
            found = child.attributes
            packed = child.content.packed() if stat.S_ISREG(found.st_mode) else None
            attributes = (found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns)
            entries.append((name, *attributes, child.number, child.target, packed))
        return entries


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("mountpoint")
    args = parser.parse_args()
    operations = LeastOperations(args.store)
    session_loop.install(lambda: False, operations.write_records)
    pyfuse3.init(operations, args.mountpoint, {"default_permissions", "fsname=leastfs"})
    try:
        trio.run(serve, args.mountpoint)
    finally:
        pyfuse3.close(unmount=True)
        operations.close()


if __name__ == "__main__":
    main()
