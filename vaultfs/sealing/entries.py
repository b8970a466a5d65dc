"""A directory entry as bytes and back: everything stat(2) and open(2) need of one inode."""

import stat
import struct
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import WRAPPED_KEY_SIZE
from vaultfs.sealing.maps import has_data, stored_size

_POINTER = struct.Struct("<HIQ")
_FIXED = struct.Struct("<HIQIIIQqqqq")
_DEVICE = struct.Struct("<Q")
_TARGET = struct.Struct("<H")
_XATTRS = struct.Struct("<I")
_XATTR = struct.Struct("<BI")
_HEAD = struct.Struct("<48sQI")
_PART = struct.Struct("<16sQ16s")

_HAS_DEVICE, _HAS_TARGET, _HAS_XATTRS, _HAS_CONTENT, _SHARED = 1, 2, 4, 8, 16
_KNOWN = 31
_ONLY_CONTENT = bytes((_HAS_CONTENT,))

Xattrs = dict[bytes, bytes]
_NO_XATTRS: Xattrs = {}  # one for all that have none: xattrs are values, never changed in place


class Entry(NamedTuple):
    """One inode's attributes. Times are ns since the epoch, `size` is bytes, `content` a content or head section.

    `mode` has the type bits of stat(2); `device` is a device number as in st_rdev.
    """

    id: int
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    atime: int
    mtime: int
    ctime: int
    birthtime: int
    device: int
    target: bytes
    xattrs: Xattrs
    content: bytes


def new_entry(inode_id: int, mode: int, uid: int, gid: int, time: int) -> Entry:
    """The entry of an inode that is made at a time (ns), with nothing in it."""
    links = 2 if stat.S_ISDIR(mode) else 1
    return Entry(inode_id, mode, uid, gid, links, 0, time, time, time, time, 0, b"", {}, b"")


class Glance(NamedTuple):
    """What stat(2) tells of an inode, from an entry read only so far; `stored` is the bytes of chunk data it has."""

    id: int
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    atime: int
    mtime: int
    ctime: int
    stored: int


class Pointer(NamedTuple):
    """The entry of a hard-linked file: its attributes live in the shared table under its id."""

    id: int
    mode: int


class Part(NamedTuple):
    """One object of a directory, up to the last committed frame: length in bytes, tag of that frame."""

    object: bytes
    length: int
    tag: bytes


class Head(NamedTuple):
    """A directory's committed content: a base object and, when that is large, a small delta object.

    `live` is the bytes of the live items, `entries` how many there are.
    """

    wrapped_key: bytes
    live: int
    entries: int
    base: Part
    delta: Part | None

    @property
    def stored(self) -> int:
        """The bytes of its objects."""
        return self.base.length + (self.delta.length if self.delta is not None else 0)


def encode_entry(entry: Entry) -> bytes:
    """The bytes of an entry."""
    flags = 0
    parts = [b""]
    if entry.device:
        flags |= _HAS_DEVICE
        parts.append(_DEVICE.pack(entry.device))
    if entry.target:
        flags |= _HAS_TARGET
        parts.append(_TARGET.pack(len(entry.target)) + entry.target)
    if entry.xattrs:
        flags |= _HAS_XATTRS
        blob = encode_xattrs(entry.xattrs)
        parts.append(_XATTRS.pack(len(blob)) + blob)
    if entry.content:
        flags |= _HAS_CONTENT
        parts.append(entry.content)
    parts[0] = _FIXED.pack(flags, entry.mode, *entry[:1], *entry[2:10])
    return b"".join(parts)


def encode_pointer(pointer: Pointer) -> bytes:
    """The bytes of a hard-linked file's entry."""
    return _POINTER.pack(_SHARED, pointer.mode, pointer.id)


def decode_entry(data: bytes) -> Entry | Pointer:
    """Read an entry; raises Damaged if its shape is wrong."""
    try:
        flags, mode, inode_id = _POINTER.unpack_from(data)
        if flags & ~_KNOWN:
            raise Damaged(f"a directory entry has unknown flags {flags:#x}")
        if flags & _SHARED:
            if flags != _SHARED or len(data) != _POINTER.size:
                raise Damaged("a directory entry says more than a hard link's should")
            return Pointer(inode_id, mode)
        fixed = _FIXED.unpack_from(data)
        position = _FIXED.size
        device, target, xattrs, content = 0, b"", _NO_XATTRS, b""
        if flags & _HAS_DEVICE:
            (device,) = _DEVICE.unpack_from(data, position)
            position += _DEVICE.size
        if flags & _HAS_TARGET:
            (length,) = _TARGET.unpack_from(data, position)
            position += _TARGET.size
            target = _exactly(data, position, length)
            position += length
        if flags & _HAS_XATTRS:
            (length,) = _XATTRS.unpack_from(data, position)
            position += _XATTRS.size
            xattrs = decode_xattrs(_exactly(data, position, length))
            position += length
        if flags & _HAS_CONTENT:
            content = data[position:]
        elif position != len(data):
            raise Damaged("a directory entry is longer than it says")
    except struct.error as error:
        raise Damaged("a directory entry is cut short") from error
    *numbers, atime, mtime, ctime, birthtime = fixed[3:]
    # Tens of thousands are kept: those of a file that was made and left alone are one object of Python's, not four.
    atime = mtime if atime == mtime else atime
    ctime = mtime if ctime == mtime else ctime
    birthtime = atime if birthtime == atime else birthtime
    times = (atime, mtime, ctime, birthtime)
    return Entry._make((inode_id, mode, *numbers, *times, device, target, xattrs, content))


def glance(data: bytes) -> Glance | None:
    """The attributes of an encoded entry that has only such as most have; None for one to be decoded whole.

    A listing looks at tens of thousands of entries; this takes a third of the time.
    """
    try:
        flags, mode, inode_id, uid, gid, nlink, size, atime, mtime, ctime, _ = _FIXED.unpack_from(data)
        stored = 0
        if flags == _HAS_CONTENT:
            if stat.S_ISREG(mode):
                stored = stored_size(data, _FIXED.size)
        elif flags:
            return None
    except (struct.error, Damaged):
        return None
    return Glance(inode_id, mode, uid, gid, nlink, size, atime, mtime, ctime, stored)


def entry_id_and_mode(data: bytes) -> tuple[int, int]:
    """The inode id and mode of an encoded entry, without reading the rest; raises Damaged if it is cut before."""
    try:
        _, mode, inode_id = _POINTER.unpack_from(data)
    except struct.error as error:
        raise Damaged("a directory entry is cut short") from error
    return inode_id, mode


def has_inline_data(data: bytes) -> bool:
    """Whether an encoded entry of a file has its data; False too if the file has xattrs, which stand before that."""
    return data[:1] == _ONLY_CONTENT and has_data(data, _FIXED.size)


def may_have_xattrs(data: bytes) -> bool:
    """Whether an encoded entry has extended attributes, or says nothing of them as a hard link's does."""
    return not data or bool(data[0] & (_HAS_XATTRS | _SHARED))


def encode_xattrs(xattrs: Xattrs) -> bytes:
    """Extended attributes as bytes, in name order."""
    return b"".join(
        _XATTR.pack(len(name), len(value)) + name + value for name, value in sorted(xattrs.items())
    )


def decode_xattrs(data: bytes) -> Xattrs:
    """Read extended attributes; raises Damaged if cut short."""
    xattrs: Xattrs = {}
    position = 0
    while position < len(data):
        name_length, value_length = _XATTR.unpack(_exactly(data, position, _XATTR.size))
        position += _XATTR.size
        name = _exactly(data, position, name_length)
        xattrs[name] = _exactly(data, position + name_length, value_length)
        position += name_length + value_length
    return xattrs


def encode_head(head: Head) -> bytes:
    """The content section of a directory's entry."""
    parts = [_HEAD.pack(head.wrapped_key, head.live, head.entries), _PART.pack(*head.base)]
    if head.delta is not None:
        parts.append(_PART.pack(*head.delta))
    return b"".join(parts)


def decode_head(data: bytes) -> Head:
    """Read a directory's head; raises Damaged if its shape is wrong."""
    if len(data) not in (_HEAD.size + _PART.size, _HEAD.size + 2 * _PART.size):
        raise Damaged("a directory head has the wrong length")
    wrapped, live, count = _HEAD.unpack_from(data)
    base = Part(*_PART.unpack_from(data, _HEAD.size))
    delta = None
    if len(data) > _HEAD.size + _PART.size:
        delta = Part(*_PART.unpack_from(data, _HEAD.size + _PART.size))
    return Head(wrapped, live, count, base, delta)


def _exactly(data: bytes, position: int, length: int) -> bytes:
    value = data[position : position + length]
    if len(value) != length:
        raise Damaged("a directory entry is cut short")
    return value


assert len(encode_head(Head(bytes(WRAPPED_KEY_SIZE), 0, 0, Part(bytes(16), 0, bytes(16)), None))) == 100
