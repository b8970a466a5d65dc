"""Names: looks them up, and plans their creation, removal and renaming."""

import logging
import stat

from vaultfs.errors import (
    Exists,
    FilesystemError,
    InvalidArgument,
    IsADirectory,
    NameTooLong,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    TooManyLinks,
)
from vaultfs.format.constants import MAX_LINKS, MAX_NAME, MAX_TARGET, ORPHANS_ID, ROOT_ID, SHARED_ID
from vaultfs.sealing.entries import Entry, encode_entry, new_entry
from vaultfs.sealing.records import Create, Link, Purge, Rename, Unlink
from vaultfs.vault.acl import DEFAULT, inherit
from vaultfs.vault.apply import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT
from vaultfs.vault.core import Core
from vaultfs.vault.directory import Directory
from vaultfs.vault.inode import Inode
from vaultfs.vault.state import State, shard_name, shard_of

log = logging.getLogger("vaultfs.vault")

_RECORD_ROOM = 1024
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


def check_name(name: bytes) -> None:
    """Raise NameTooLong or InvalidArgument for a name no directory can hold."""
    if len(name) > MAX_NAME:
        raise NameTooLong("a name has at most 255 bytes")
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise InvalidArgument("that is no name for a directory entry")


def lookup(state: State, parent: int, name: bytes) -> Inode:
    """The inode of a name, `.` and `..` included; raises NotFound, NotADirectory or NotReady."""
    if name == b".":
        # The kernel finds a file again by this, as long as it is in memory, for who has a handle of it
        # (open_by_handle_at(2)).
        return state.inode(parent)
    directory = state.directory(parent)
    if name == b"..":
        return state.inode(state.inode(parent).parent or ROOT_ID)
    if len(name) > MAX_NAME:
        raise NameTooLong("a name has at most 255 bytes")
    inode = state.child(directory, name)
    if inode is None:
        raise NotFound("there is no such name")
    return inode


def create(
    core: Core, parent: int, name: bytes, mode: int, uid: int, gid: int, device: int, target: bytes, umask: int
) -> Inode:
    """Make a new inode of any type; raises FilesystemError or NotReady, and then nothing changed."""
    check_name(name)
    core.admit(_RECORD_ROOM + len(target))
    state = core.state
    above = _living(state, parent)
    directory = state.directory(parent)
    if directory.find(name) is not None:
        raise Exists("the name is taken")
    if stat.S_IFMT(mode) not in _KINDS:
        raise InvalidArgument("there is no such type of file")
    if len(target) > MAX_TARGET:
        raise NameTooLong("a link's target has at most 4095 bytes")
    is_directory = stat.S_ISDIR(mode)
    if is_directory and above.nlink >= MAX_LINKS:
        raise TooManyLinks("the directory has too many directories in it")
    xattrs: dict[bytes, bytes] = {}
    if stat.S_ISLNK(mode):
        pass  # a link's mode says nothing
    elif DEFAULT in above.xattrs:
        mode, xattrs = inherit(above.xattrs[DEFAULT], mode)
    else:
        mode &= ~umask
    if above.mode & stat.S_ISGID:
        gid = above.gid
        if is_directory:
            mode |= stat.S_ISGID
    now = core.now()
    entry = Entry(
        state.next_id, mode, uid, gid, 2 if is_directory else 1, len(target),
        now, now, now, now, device, target, xattrs, b"",
    )  # fmt: skip
    core.commit(Create(parent, now, name, encode_entry(entry)))
    return state.inode(entry.id)


def link(core: Core, inode_id: int, parent: int, name: bytes) -> Inode:
    """Give an inode one more name; raises FilesystemError or NotReady, and then nothing changed."""
    check_name(name)
    core.admit(_RECORD_ROOM)
    state = core.state
    inode = state.inode(inode_id)
    if stat.S_ISDIR(inode.mode):
        raise NotPermitted("a directory has one name only")
    if inode.nlink == 0:
        raise NotFound("the file is deleted already")
    _living(state, parent)
    if state.directory(parent).find(name) is not None:
        raise Exists("the name is taken")
    if inode.nlink >= MAX_LINKS:
        raise TooManyLinks("the file has too many names")
    if not inode.shared:
        _load_shard(state, inode)
    core.commit(Link(inode_id, parent, core.now(), name))
    return state.inode(inode_id)


def _load_shard(state: State, inode: Inode) -> None:
    """Have in memory what moving an inode to the shared table needs."""
    state.directory(inode.parent)
    shard = shard_of(inode.id)
    if state.child(state.directory(SHARED_ID), shard_name(shard)) is not None:
        state.directory(shard)


def unlink(core: Core, parent: int, name: bytes) -> None:
    """Remove a name of anything but a directory; raises FilesystemError or NotReady, and then nothing changed."""
    core.admit_removal()
    inode = _existing(core.state, core.state.directory(parent), name)
    if stat.S_ISDIR(inode.mode):
        raise IsADirectory("a directory is removed with rmdir")
    _load_to_drop(core.state, inode)
    core.commit(Unlink(parent, core.now(), _purges(core.state, inode), name))


def rmdir(core: Core, parent: int, name: bytes) -> None:
    """Remove an empty directory; raises FilesystemError or NotReady, and then nothing changed."""
    if name == b".":
        raise InvalidArgument("a directory cannot be removed from within")
    if name == b"..":
        raise NotEmpty("a directory with this one in it is not empty")
    core.admit_removal()
    inode = _existing(core.state, core.state.directory(parent), name)
    if not stat.S_ISDIR(inode.mode):
        raise NotADirectory("only directories are removed with rmdir")
    if core.state.directory(inode.id).count:
        raise NotEmpty("the directory is not empty")
    _load_to_drop(core.state, inode)
    core.commit(Unlink(parent, core.now(), _purges(core.state, inode), name))


def rename(core: Core, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int) -> None:
    """rename(2), renameat2(2); raises FilesystemError or NotReady, and then nothing changed."""
    check_name(name)
    check_name(new_name)
    known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT
    if flags & ~known or (flags & RENAME_EXCHANGE and flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)):
        raise InvalidArgument("these rename flags do not go together")
    core.admit(_RECORD_ROOM)
    state = core.state
    source, target = state.directory(parent), state.directory(new_parent)
    inode = _existing(state, source, name)
    _living(state, new_parent)
    other = state.child(target, new_name)
    if other is None and flags & RENAME_EXCHANGE:
        raise NotFound("there is nothing to exchange with")
    if other is not None and flags & RENAME_NOREPLACE:
        raise Exists("the new name is taken")
    _check_no_cycle(state, inode, new_parent)
    if other is not None:
        if other.id == inode.id:
            return
        if flags & RENAME_EXCHANGE:
            _check_no_cycle(state, other, parent)
        else:
            _check_replace(state, inode, other)
            _load_to_drop(state, other)
    purge = other is not None and not flags & RENAME_EXCHANGE and _purges(state, other)
    whiteout = _whiteout(core) if flags & RENAME_WHITEOUT else b""
    core.commit(Rename(parent, new_parent, core.now(), flags, purge, name, new_name, whiteout))
    if other is not None or stat.S_ISDIR(inode.mode):
        _remember_renamed(core, inode)
    if other is not None and flags & RENAME_EXCHANGE:
        _remember_renamed(core, other)


def readlink(state: State, inode_id: int) -> bytes:
    """A symlink's target; raises InvalidArgument for anything else."""
    inode = state.inode(inode_id)
    if not stat.S_ISLNK(inode.mode):
        raise InvalidArgument("only symbolic links have a target")
    return inode.target


def _remember_renamed(core: Core, inode: Inode) -> None:
    """The next journal sync makes what got the name durable first: the file, or all there is below a directory.

    What was replaced is not lost for it then, and a directory that is renamed once it is complete is complete.
    """
    state = core.state
    renamed = [inode.id]
    if stat.S_ISDIR(inode.mode):
        unsynced = [key for key, content in state.contents.items() if content.unsynced]
        renamed = [key for key in unsynced if _may_be_in(state, key, inode.id)]
    for key in renamed:
        content = state.contents.get(key)
        if content is not None and content.unsynced:
            core.replacements[key] = content


def _may_be_in(state: State, inode_id: int, directory: int) -> bool:
    """Whether an inode is below a directory, as far as is known without reading anything."""
    while inode_id and inode_id != directory:
        inode = state.find_inode(inode_id)
        if inode is None or inode.shared:
            return True
        inode_id = inode.parent
    return inode_id == directory


def _whiteout(core: Core) -> bytes:
    return encode_entry(new_entry(core.state.next_id, stat.S_IFCHR, 0, 0, core.now()))


def _check_replace(state: State, inode: Inode, other: Inode) -> None:
    if stat.S_ISDIR(other.mode):
        if not stat.S_ISDIR(inode.mode):
            raise IsADirectory("a file cannot take a directory's name")
        if state.directory(other.id).count:
            raise NotEmpty("the directory to replace is not empty")
    elif stat.S_ISDIR(inode.mode):
        raise NotADirectory("a directory cannot take a file's name")


def _check_no_cycle(state: State, inode: Inode, parent: int) -> None:
    """A directory cannot move into itself or below."""
    if not stat.S_ISDIR(inode.mode):
        return
    while parent:
        if parent == inode.id:
            raise InvalidArgument("a directory cannot move into itself")
        parent = state.inode(parent).parent


def _existing(state: State, directory: Directory, name: bytes) -> Inode:
    if len(name) > MAX_NAME:
        raise NameTooLong("a name has at most 255 bytes")
    inode = state.child(directory, name)
    if inode is None:
        raise NotFound("there is no such name")
    return inode


def _living(state: State, parent: int) -> Inode:
    """A directory that can take new names; one that was removed cannot."""
    above = state.inode(parent)
    if above.nlink == 0:
        raise NotFound("the directory is deleted already")
    return above


def _load_to_drop(state: State, inode: Inode) -> None:
    """Have in memory what the loss of a name may need."""
    state.directory(ORPHANS_ID)
    if inode.shared:
        state.directory(inode.parent)


def _purges(state: State, inode: Inode) -> bool:
    """Whether an inode can go with its last name: nobody has it open, or may use it without our being told."""
    return inode.id not in state.opens and not (_is_used_untold(inode) and inode.id in state.known)


def _is_used_untold(inode: Inode) -> bool:
    """Whether the kernel lets programs use an inode of this type as long as it knows it, and says nothing of that.

    A process works in a directory; and the kernel opens pipes, sockets and devices itself.
    """
    return not (stat.S_ISREG(inode.mode) or stat.S_ISLNK(inode.mode))


def purge_forgotten(core: Core, inode_id: int) -> None:
    """Remove an inode without a name that was kept for its untold users, as `purge_closed` does."""
    inode = core.state.find_inode(inode_id)
    if inode is not None and inode.nlink == 0 and _is_used_untold(inode):
        purge_closed(core, inode_id)


def purge_closed(core: Core, inode_id: int) -> None:
    """Remove an orphan that was closed for the last time; if that fails it stays for the next open. Raises NotReady."""
    inode = core.state.find_inode(inode_id)
    if inode is None or inode.nlink or core.read_only_reason:
        return
    try:
        _load_to_drop(core.state, inode)
        core.admit_removal()  # this may be the first change after a clean root
        core.commit(Purge(inode_id))
    except FilesystemError as error:
        log.warning("a deleted file stays in the store until the vault is opened again: %s", error)
