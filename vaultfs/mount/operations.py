"""The request handlers: each translates one kernel request into one vault operation and its result back."""

# ruff: noqa: D102  what each handler must do is said by pyfuse3.Operations

import errno
import os
import stat
from collections.abc import Sequence
from typing import cast

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, ReaddirToken, RequestContext, SetattrFields, StatvfsData

from vaultfs.errors import Damaged, NoAttribute, NotFound, NotSupported, ReadOnly, Stale
from vaultfs.mount.asking import SERVER, SETTLE, STOPPED, this_server
from vaultfs.mount.attributes import Attributes, absent, dot, filesystem_attributes, unreadable
from vaultfs.mount.listing import Listings
from vaultfs.mount.prefetch import Prefetcher
from vaultfs.mount.rekeying import REKEY, Rekeyer
from vaultfs.mount.runner import Runner
from vaultfs.mount.settling import Settler
from vaultfs.mount.syncing import Syncer
from vaultfs.mount.translation import as_fuse_error, handler, waiting_handler
from vaultfs.mount.workers import Workers
from vaultfs.vault.acl import ACCESS, DEFAULT
from vaultfs.vault.fileio import CAPABILITY
from vaultfs.vault.inode import Inode, SetAttr
from vaultfs.vault.readplan import ReadPlan
from vaultfs.vault.scratch import ReadBuffers
from vaultfs.vault.vault import Vault

_DOTS = (b".", b"..")
# ls -l asks for it, file by file until it hears that there is no such thing on this filesystem.
_LABEL = b"security.selinux"
# It asks for the first two of each file as well, and the kernel for the last before a change of owner; most have none.
_ASKED_OF_ALL = (ACCESS, DEFAULT, CAPABILITY)
# Bytes written until the disk is set to work on them. Left to the kernel it would idle until the fsync.
_WRITE_BACK = 8 << 20


class VaultOperations(pyfuse3.Operations):
    """The vault as pyfuse3 wants it.

    A file handle is the inode's id: reads and writes need nothing else, and the vault counts the opens.
    `flush` and `access` stay unimplemented: after one ENOSYS the kernel stops asking for the first, and
    never asks for the second under `default_permissions`.
    """

    supports_dot_lookup = True
    enable_writeback_cache = True
    enable_acl = True

    def __init__(self, vault: Vault, runner: Runner, guessers: Workers) -> None:
        super().__init__()
        self._vault = vault
        self._run = runner.run
        self._change = runner.change
        self._wait = runner.wait
        self._poke = runner.checkpointer.poke
        self.provide = runner.provide
        self._guessers = guessers
        self._prefetcher = Prefetcher(vault, guessers)
        self._unwritten = 0  # bytes since write-back was last begun
        self._syncer = Syncer(vault, runner)
        self._settler = Settler(vault, runner.checkpointer, self._syncer)
        self._rekeyer = Rekeyer(vault, runner)
        self._listings = Listings()
        self._records = Attributes()
        self._absent = absent()
        self._buffers = ReadBuffers()
        self._gone = unreadable(0)
        # Files whose times the kernel knows: it made them, or has written their times back. It may do so while some of
        # their pages are still on their way, and says it again after any later write that changes them: no time of ours
        # may replace the one programs have seen.
        self._timed: set[int] = set()
        # Files opened with O_DIRECT. The kernel does not drop a page that was read while an asynchronous direct write
        # of the same place was under way (xfstests generic/451), so the next open has to.
        self._direct: set[int] = set()
        self.requests = 0
        self.active = 0
        self.open_handles = 0
        runner.is_alone = lambda: self.active <= 1

    def place(self, request: tuple[object, ...]) -> str:
        """Which path a request is about, from its arguments: an inode or handle, perhaps a name in it."""
        match request:
            case (int(inode), bytes(name), *_):
                path = f"{os.fsdecode(self._vault.path_of(inode)).rstrip('/')}/{os.fsdecode(name)}"
            case (int(inode), *_):
                path = os.fsdecode(self._vault.path_of(inode))
            case _:
                path = ""
        # Names are untrusted text, and a log is shown on terminals.
        return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in path)

    # Names and attributes

    @handler
    def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        try:
            return self._known(self._vault.lookup(parent_inode, name))
        except NotFound:
            return self._absent

    @waiting_handler
    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, count in inode_list:
            self._timed.discard(inode)
            self._direct.discard(inode)
            try:
                await self._run(self._vault.forget, inode, count)
            except Exception as error:
                # Nobody waits for an answer, and pyfuse3 would end the session for any error that leaves this handler.
                as_fuse_error(error, "forget")

    @handler
    def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._attributes(self._vault.getattr(inode))

    @handler
    def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        if fields.update_mtime and not (
            fields.update_mode or fields.update_size or fields.update_atime or fields.update_uid or fields.update_gid
        ):
            self._timed.add(inode)
        if self._vault.is_gone(inode):
            return self._of_gone(inode, fields)
        try:
            wanted = _wanted(attr, fields)
            if fields.update_size and not fields.update_mtime and not fields.update_ctime:
                # The kernel, which keeps the times, takes a cut to the size there is for no change.
                known = self._vault.getattr(inode)
                wanted = wanted._replace(mtime=known.mtime, ctime=known.ctime)
            changed = self._vault.setattr(inode, wanted)
        except NotFound:
            return self._of_gone(inode, fields)
        self._poke()
        return self._attributes(changed)

    @handler
    def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self._vault.readlink(inode)

    # Changes to directories

    @handler
    def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        return self._known(self._create(parent_inode, name, mode, ctx, rdev))

    @handler
    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        return self._known(self._create(parent_inode, name, mode, ctx))

    @handler
    def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        return self._known(self._create(parent_inode, name, stat.S_IFLNK | 0o777, ctx, 0, target))

    @handler
    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        inode = self._create(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx)
        if not flags & os.O_DIRECT:  # of what goes past its cache it tells the time much later
            self._timed.add(inode.id)
        return self._opened(inode.id, flags), self._known(inode)  # all of it in memory, since it is new

    @handler
    def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        linked = self._vault.link(inode, new_parent_inode, new_name)
        self._poke()
        return self._known(linked)

    @handler
    def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._vault.unlink(parent_inode, name)
        self._poke()

    @handler
    def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._vault.rmdir(parent_inode, name)
        self._poke()

    @handler
    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        self._vault.rename(parent_inode_old, name_old, parent_inode_new, name_new, flags)
        self._poke()

    # Open files

    @handler
    def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if self._vault.read_only and flags & os.O_ACCMODE != os.O_RDONLY:
            # The kernel would take what is written, and few programs ask whether it was kept.
            raise ReadOnly(self._vault.read_only_reason)
        if flags & os.O_TRUNC:
            self._vault.truncate(inode, 0, inode in self._timed)
            self._poke()
        return self._opened(inode, flags)

    @waiting_handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        plan = await self._run(self._vault.read_plan, fh, off, size)
        try:
            return await self._content(plan)
        except Damaged:
            newer = await self._run(self._vault.reread, plan)
            if newer is None:
                raise
            return await self._content(newer)

    @handler
    def write(self, fh: int, off: int, buf: bytes) -> int:
        written = self._vault.write(fh, off, buf, fh in self._timed)
        self._poke()
        self._unwritten += written
        if self._unwritten > _WRITE_BACK:
            self._unwritten = 0
            self._guessers.start(self._vault.write_back)
        return written

    @waiting_handler
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._syncer.sync(fh)

    @waiting_handler
    async def release(self, fh: int) -> None:
        self.open_handles -= 1  # whatever comes of the rest: the kernel will not say it again
        await self._run(self._vault.release, fh)

    # Open directories

    @handler
    def opendir(self, inode: int, ctx: RequestContext) -> int:
        self.open_handles += 1
        return self._listings.open(inode)

    @waiting_handler
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        listing = self._listings[fh]
        if start_id == 0 or listing.entries is None:  # a new handle may begin where another one was (seekdir(3))
            listing.entries = await self._run(self._names, listing.directory)
            self._prefetcher.listed(listing.directory)
        for position in range(start_id, len(listing.entries)):
            name, inode = listing.entries[position]
            attributes: EntryAttributes | None
            if (seen := self._vault.glance(listing.directory, name)) is not None:
                attributes = self._records.of_glance(seen)
            else:
                attributes = await self._listed(listing.directory, name, inode)
            if attributes is not None and not self._reply(token, name, attributes, position + 1):
                break

    @handler
    def releasedir(self, fh: int) -> None:
        self.open_handles -= 1
        self._listings.close(fh)

    @waiting_handler
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._syncer.sync(self._listings[fh].directory)

    # Extended attributes, and the filesystem itself

    @handler
    def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if inode == pyfuse3.ROOT_INODE:
            if name == REKEY:
                return self._rekeyer.progress()
            if name == STOPPED and self._vault.read_only:
                return self._vault.read_only_reason.encode()
            if name == SERVER:
                return this_server()
        if name in _ASKED_OF_ALL and not self._vault.may_have_xattrs(inode):
            raise pyfuse3.FUSEError(errno.ENODATA)
        try:
            return self._vault.getxattr(inode, name)
        except NoAttribute:
            if name == _LABEL:
                raise NotSupported("files have no SELinux label here") from None
            raise

    @handler
    def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return self._vault.listxattr(inode)

    @waiting_handler
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        if await self._asked(inode, name, value):
            return
        groups = _groups(ctx) if name == ACCESS and ctx.uid else None
        await self._change(self._vault.setxattr, inode, name, value, 0, groups)

    @handler
    def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        self._vault.removexattr(inode, name)
        self._poke()

    @handler
    def statfs(self, ctx: RequestContext) -> StatvfsData:
        return filesystem_attributes(self._vault.statfs())

    # What the handlers share

    async def _asked(self, inode: int, name: bytes, value: bytes) -> bool:
        """Do what setting an attribute of the top directory asks for; False if it is an attribute like any other."""
        if inode != pyfuse3.ROOT_INODE or name not in (SETTLE, REKEY):
            return False
        await (self._settler.settle() if name == SETTLE else self._rekeyer.rekey(value))
        return True

    def _create(
        self, parent: int, name: bytes, mode: int, ctx: RequestContext, rdev: int = 0, target: bytes = b""
    ) -> Inode:
        inode = self._vault.create_inode(parent, name, mode, ctx.uid, ctx.gid, rdev, target, ctx.umask)
        self._poke()
        return inode

    def _opened(self, inode: int, flags: int) -> FileInfo:
        self._vault.open_inode(inode)
        self.open_handles += 1
        if flags & os.O_DIRECT:
            self._direct.add(inode)
        return FileInfo(fh=inode, keep_cache=inode not in self._direct)

    async def _content(self, plan: ReadPlan) -> bytes:
        # pyfuse3 hands the answer to the kernel before any other request gets its turn, and the buffers with it.
        content = plan.run_cached(self._buffers)
        self._prefetcher.read(plan.inode_id, plan.offset, plan.size, content is None, plan.is_in_memory)
        if content is None:
            content = await self._wait(plan.size, plan.run)
        return cast(bytes, content)  # pyfuse3 takes any buffer, and says bytes

    def _of_gone(self, inode: int, fields: SetattrFields) -> EntryAttributes:
        """The kernel writes back the times even of a file that is gone; refused, that fails the next syncfs(2)."""
        if not (fields.update_mtime or fields.update_ctime) or fields.update_size or fields.update_mode:
            raise Stale(f"there is no inode {inode}")
        self._gone.st_ino = inode
        return self._gone

    def _attributes(self, inode: Inode) -> EntryAttributes:
        return self._records.of(inode, self._vault.blocks(inode))

    def _known(self, inode: Inode) -> EntryAttributes:
        """The attributes for a reply by which the kernel learns of the inode: one lookup more to be forgotten."""
        attributes = self._attributes(inode)
        self._vault.remember(inode.id)
        return attributes

    def _names(self, directory: int) -> list[tuple[bytes, int]]:
        parent = self._vault.lookup(directory, b"..")
        return [(b".", directory), (b"..", parent.id), *self._vault.list_directory(directory)]

    async def _listed(self, directory: int, name: bytes, inode: int) -> EntryAttributes | None:
        if name in _DOTS:
            return dot(inode)
        try:
            found = await self._run(self._vault.readdir_entry, directory, name)
        except Damaged:
            return unreadable(inode)
        return None if found is None else self._attributes(found)

    def _reply(self, token: ReaddirToken, name: bytes, attributes: EntryAttributes, position: int) -> bool:
        fits = pyfuse3.readdir_reply(token, name, attributes, position)
        if fits and name not in _DOTS:
            self._vault.remember(attributes.st_ino)
        return fits


class PlainOperations(VaultOperations):
    """The same without extended attributes: the kernel is told once, and saves a request before each write(2)."""

    enable_acl = False
    getxattr = pyfuse3.Operations.getxattr
    listxattr = pyfuse3.Operations.listxattr
    removexattr = pyfuse3.Operations.removexattr

    @waiting_handler
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        # After one ENOSYS the kernel would never pass on the requests to settle and to rekey.
        if not await self._asked(inode, name, value):
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)


def _groups(ctx: RequestContext) -> set[int]:
    """The groups of the process behind a request; libfuse does not ask the kernel to mind them (SETXATTR_EXT)."""
    try:
        return {ctx.gid, *pyfuse3.get_sup_groups(ctx.pid)}
    except OSError:
        return {ctx.gid}


def _wanted(attr: EntryAttributes, fields: SetattrFields) -> SetAttr:
    # Under the writeback cache the kernel keeps the times itself, and its ctime is the one programs have seen.
    return SetAttr(
        mode=stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        size=attr.st_size if fields.update_size else None,
        atime=attr.st_atime_ns if fields.update_atime else None,
        mtime=attr.st_mtime_ns if fields.update_mtime else None,
        ctime=attr.st_ctime_ns if fields.update_ctime else None,
    )
