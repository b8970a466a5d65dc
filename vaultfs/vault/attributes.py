"""Attributes: modes, owners, times, and extended attributes with the ACLs among them."""

import stat
from collections.abc import Collection

from vaultfs.errors import Exists, InvalidArgument, NoAttribute, NotPermitted, NotSupported, RangeTooSmall
from vaultfs.format.constants import MAX_XATTR_NAME, MAX_XATTR_VALUE, MAX_XATTRS_SIZE
from vaultfs.sealing.entries import encode_xattrs
from vaultfs.sealing.records import SetAttributes, SetXattr
from vaultfs.vault import acl, fileio
from vaultfs.vault.core import Core
from vaultfs.vault.inode import Inode, SetAttr

XATTR_CREATE = 1
XATTR_REPLACE = 2
_NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.posix_acl_")
_RECORD_ROOM = 512
# Times an entry can hold: signed 64-bit nanoseconds.
_TIME_LIMIT = 2**63 - 1


def setattr(core: Core, inode_id: int, change: SetAttr) -> Inode:
    """Change attributes, the size among them; raises FilesystemError or NotReady, and then nothing changed."""
    if change.size is None:
        core.admit(_RECORD_ROOM)
    else:
        fileio.admit_truncation(core, inode_id, change.size)
    wanted_mode, uid, gid, size, atime, mtime, ctime = change
    inode = core.state.inode(inode_id)
    if size is not None:
        fileio.truncate(core, inode_id, size)
        inode = core.state.inode(inode_id)
    # Set-id bits and capabilities fall for a new owner, and when nothing (but the ctime) is to change: the kernel asks
    # for the latter for chown(2) with -1 for both, and before an unprivileged user's write.
    has_new_owner = uid is not None or gid is not None
    has_more = has_new_owner or wanted_mode is not None or atime is not None or mtime is not None
    drops_privileges = has_new_owner or (size is None and not has_more)
    if drops_privileges:
        fileio.drop_capability(core, inode)
    if drops_privileges or has_more or ctime is not None:
        mode = _new_mode(inode, wanted_mode, drops_privileges)
        core.commit(
            SetAttributes(
                inode_id,
                mode,
                inode.uid if uid is None else uid,
                inode.gid if gid is None else gid,
                inode.atime if atime is None else _time(atime),
                inode.mtime if mtime is None else _time(mtime),
                core.now() if ctime is None else _time(ctime),
            )
        )
        if wanted_mode is not None and acl.ACCESS in inode.xattrs:
            value = acl.with_mode(inode.xattrs[acl.ACCESS], mode)
            core.commit(SetXattr(inode_id, mode, core.now(), acl.ACCESS, value))
    return core.state.inode(inode_id)


def _time(value: int) -> int:
    return max(-_TIME_LIMIT, min(value, _TIME_LIMIT))


def _new_mode(inode: Inode, mode: int | None, drops_privileges: bool) -> int:
    if mode is None:
        mode = inode.mode
        if drops_privileges and not stat.S_ISDIR(mode):
            mode = fileio.without_set_id(mode)
    return stat.S_IFMT(inode.mode) | stat.S_IMODE(mode)


def getxattr(inode: Inode, name: bytes) -> bytes:
    """An extended attribute's value; raises NoAttribute, or what `_check_namespace` does."""
    value = inode.xattrs.get(name)
    if value is None:
        _check_namespace(name)
        raise NoAttribute("there is no such extended attribute")
    return value


def setxattr(
    core: Core, inode_id: int, name: bytes, value: bytes, flags: int, groups: Collection[int] | None
) -> None:
    """Set an extended attribute; raises FilesystemError or NotReady, and then nothing changed.

    `groups` are those of the caller, None if it is privileged: an access ACL from one who is not in the file's
    group takes the set-id bit for groups away, as chmod(2) does.
    """
    core.admit(_RECORD_ROOM + len(value))
    inode = core.state.inode(inode_id)
    _check_name(inode, name)
    if len(value) > MAX_XATTR_VALUE:
        raise RangeTooSmall("an extended attribute has at most 64 KiB")
    if flags & XATTR_CREATE and name in inode.xattrs:
        raise Exists("the extended attribute is there already")
    if flags & XATTR_REPLACE and name not in inode.xattrs:
        raise NoAttribute("there is no such extended attribute")
    if len(encode_xattrs({**inode.xattrs, name: value})) > MAX_XATTRS_SIZE:
        raise RangeTooSmall("all extended attributes together have at most 256 KiB")
    mode = inode.mode
    stored: bytes | None = value
    if name in (acl.ACCESS, acl.DEFAULT):
        mode, stored = _checked_acl(inode, name, value)
        if name == acl.ACCESS and groups is not None and inode.gid not in groups:
            mode &= ~stat.S_ISGID
    if stored is None and name not in inode.xattrs:
        # All in the mode, as `cp -a` sets it for every file: said together with the times and owners it sets as well.
        core.commit(SetAttributes(inode_id, mode, inode.uid, inode.gid, inode.atime, inode.mtime, core.now()))
        return
    core.commit(SetXattr(inode_id, mode, core.now(), name, stored))


def _checked_acl(inode: Inode, name: bytes, value: bytes) -> tuple[int, bytes | None]:
    """(mode, value to keep) for an ACL: a minimal access ACL is all in the mode, an empty one is removed."""
    entries = acl.decode_acl(value)
    if name == acl.DEFAULT:
        if not stat.S_ISDIR(inode.mode):
            raise NotPermitted("only directories have default ACLs")
        return inode.mode, value if entries else None
    if not entries:
        return inode.mode, None
    return acl.mode_of(entries, inode.mode), None if acl.is_minimal(entries) else value


def removexattr(core: Core, inode_id: int, name: bytes) -> None:
    """Remove an extended attribute; raises FilesystemError or NotReady, and then nothing changed."""
    core.admit_removal()
    inode = core.state.inode(inode_id)
    _check_name(inode, name)
    if name not in inode.xattrs:
        raise NoAttribute("there is no such extended attribute")
    core.commit(SetXattr(inode_id, inode.mode, core.now(), name, None))


def _check_namespace(name: bytes) -> None:
    """The errnos of a local filesystem, which the kernel leaves to FUSE; raises NotSupported or InvalidArgument."""
    if not name.startswith(_NAMESPACES):
        raise NotSupported("there is no such namespace of extended attributes")
    if name in _NAMESPACES:
        raise InvalidArgument("an extended attribute has a name behind its namespace")


def _check_name(inode: Inode, name: bytes) -> None:
    _check_namespace(name)
    if len(name) > MAX_XATTR_NAME:
        raise InvalidArgument("an extended attribute's name has at most 255 bytes")
    if name.startswith(b"user.") and not (stat.S_ISREG(inode.mode) or stat.S_ISDIR(inode.mode)):
        raise NotPermitted("only files and directories have user attributes")
