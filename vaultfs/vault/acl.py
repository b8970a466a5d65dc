"""POSIX ACLs as the kernel passes them in xattrs: keeps them in step with the mode, and inherits them.

The value of system.posix_acl_access and system.posix_acl_default is a little-endian u32 version 2, then entries of
tag u16, permissions u16, id u32 (linux/posix_acl_xattr.h; semantics in acl(5)).
"""

import stat
import struct
from typing import NamedTuple

from vaultfs.errors import InvalidArgument

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"

_VERSION = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_TAGS = (_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER)


class AclEntry(NamedTuple):
    """One entry: tag, permission bits (rwx), and the user or group id for named ones."""

    tag: int
    permissions: int
    id: int


def decode_acl(value: bytes) -> list[AclEntry]:
    """The entries of an ACL; raises InvalidArgument if it is malformed."""
    if len(value) < _VERSION.size or (len(value) - _VERSION.size) % _ENTRY.size:
        raise InvalidArgument("the ACL has an impossible length")
    if _VERSION.unpack_from(value)[0] != 2:
        raise InvalidArgument("the ACL has an unknown version")
    entries = [AclEntry(*fields) for fields in _ENTRY.iter_unpack(value[_VERSION.size :])]
    if any(entry.tag not in _TAGS or entry.permissions > 7 for entry in entries):
        raise InvalidArgument("the ACL has an unknown entry")
    tags = [entry.tag for entry in entries]
    if any(tags.count(tag) != 1 for tag in (_USER_OBJ, _GROUP_OBJ, _OTHER)) and entries:
        raise InvalidArgument("the ACL lacks an entry for owner, group or others")
    return entries


def encode_acl(entries: list[AclEntry]) -> bytes:
    """An ACL's value."""
    return _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def is_minimal(entries: list[AclEntry]) -> bool:
    """Whether the mode says all that the ACL says."""
    return all(entry.tag in (_USER_OBJ, _GROUP_OBJ, _OTHER) for entry in entries)


def mode_of(entries: list[AclEntry], mode: int) -> int:
    """The mode an access ACL goes with: the group bits are the mask's, if there is one."""
    bits = {entry.tag: entry.permissions for entry in entries}
    group = bits.get(_MASK, bits.get(_GROUP_OBJ, 0))
    return (mode & ~0o777) | bits.get(_USER_OBJ, 0) << 6 | group << 3 | bits.get(_OTHER, 0)


def with_mode(value: bytes, mode: int) -> bytes:
    """An access ACL after chmod(2) to `mode`."""
    entries = decode_acl(value)
    has_mask = any(entry.tag == _MASK for entry in entries)
    bits = {_USER_OBJ: mode >> 6 & 7, _OTHER: mode & 7, _MASK if has_mask else _GROUP_OBJ: mode >> 3 & 7}
    return encode_acl([entry._replace(permissions=bits.get(entry.tag, entry.permissions)) for entry in entries])


def inherit(default: bytes, mode: int) -> tuple[int, dict[bytes, bytes]]:
    """(mode, xattrs) of a new inode in a directory with a default ACL, asked for with `mode` (acl(5))."""
    entries = decode_acl(default)
    has_mask = any(entry.tag == _MASK for entry in entries)
    limits = {_USER_OBJ: mode >> 6 & 7, _OTHER: mode & 7, _MASK if has_mask else _GROUP_OBJ: mode >> 3 & 7}
    access = [entry._replace(permissions=entry.permissions & limits.get(entry.tag, 7)) for entry in entries]
    xattrs: dict[bytes, bytes] = {}
    if not is_minimal(access):
        xattrs[ACCESS] = encode_acl(access)
    if stat.S_ISDIR(mode):
        xattrs[DEFAULT] = default
    return mode_of(access, mode), xattrs
