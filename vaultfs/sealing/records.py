"""The journal's records as bytes and back: each is one whole operation, applied or not, never half.

Every record says what changes, not how: replaying it on the state it was written against gives the same state.
Times are ns since the epoch, offsets and sizes bytes.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import MAX_RECORD_SIZE, RECORD_HEADER_SIZE, TAG_SIZE

_LONGEST_BODY = MAX_RECORD_SIZE - RECORD_HEADER_SIZE - TAG_SIZE


class Create(NamedTuple):
    """A new inode under a new name. `entry` is an encoded Entry without content."""

    parent: int
    time: int
    name: bytes
    entry: bytes


class Link(NamedTuple):
    """One more name for an inode."""

    inode: int
    parent: int
    time: int
    name: bytes


class Unlink(NamedTuple):
    """A name goes (also rmdir); `purge` if the inode may go with its last name, else it waits among the orphans."""

    parent: int
    time: int
    purge: bool
    name: bytes


class Rename(NamedTuple):
    """rename(2) with its flags; `purge` as in Unlink, for what is replaced; `whiteout` is an Entry or empty."""

    parent: int
    new_parent: int
    time: int
    flags: int
    purge: bool
    name: bytes
    new_name: bytes
    whiteout: bytes


class SetAttributes(NamedTuple):
    """Mode, owner and times as they are afterwards."""

    inode: int
    mode: int
    uid: int
    gid: int
    atime: int
    mtime: int
    ctime: int


class Truncate(NamedTuple):
    """The size changes; content beyond it is gone. Mode as it is afterwards (set-id bits may fall)."""

    inode: int
    size: int
    mode: int
    time: int


class Direct(NamedTuple):
    """A whole chunk that already stands in a slot."""

    chunk: int
    object: bytes
    slot: int
    length: int
    tag: bytes


class Write(NamedTuple):
    """Content written: whole chunks by reference, parts of chunks by value; size and mode as they are afterwards."""

    inode: int
    size: int
    mode: int
    time: int
    wrapped_key: bytes
    direct: tuple[Direct, ...]
    patches: tuple[tuple[int, bytes], ...]


class SetXattr(NamedTuple):
    """An extended attribute is set, or removed if `value` is None; mode as it is afterwards (ACLs change it)."""

    inode: int
    mode: int
    time: int
    name: bytes
    value: bytes | None


class Synced(NamedTuple):
    """Everything written to the inode up to record `through` is durable."""

    inode: int
    through: int


class Purge(NamedTuple):
    """An orphan was closed for the last time: it and its content go."""

    inode: int


class Locate(NamedTuple):
    """Where an inode's entry is that the next records change: replay finds it by this, since ids say nothing."""

    inode: int
    parent: int
    name: bytes


Record = Locate | Create | Link | Unlink | Rename | SetAttributes | Truncate | Write | SetXattr | Synced | Purge

_CREATE = struct.Struct("<QqB")
_LINK = struct.Struct("<QQqB")
_UNLINK = struct.Struct("<QqBB")
_RENAME = struct.Struct("<QQqIBBB")
_ATTRIBUTES = struct.Struct("<QIIIqqq")
_TRUNCATE = struct.Struct("<QQIq")
_WRITE = struct.Struct("<QQIqHH")
_DIRECT = struct.Struct("<Q16sII16s")
_PATCH = struct.Struct("<QI")
_XATTR = struct.Struct("<QIqBB")
_SYNCED = struct.Struct("<QQ")
_PURGE = struct.Struct("<Q")
_LOCATE = struct.Struct("<QQB")

CREATE, LINK, UNLINK, RENAME, ATTRIBUTES, TRUNCATE, WRITE, XATTR, SYNCED, PURGE, LOCATE = range(1, 12)


def encode_record(record: Record) -> tuple[int, bytes]:
    """(type, body) of a record; ValueError for one so long that a reader would take it for the journal's end."""
    kind, body = _encode(record)
    if len(body) > _LONGEST_BODY:
        raise ValueError(f"a journal record of {len(body)} bytes is too long")
    return kind, body


def _encode(record: Record) -> tuple[int, bytes]:
    match record:
        case Write():
            return WRITE, _encode_write(record)
        case Create(parent, time, name, entry):
            return CREATE, _CREATE.pack(parent, time, len(name)) + name + entry
        case SetAttributes():
            return ATTRIBUTES, _ATTRIBUTES.pack(*record)
        case Unlink(parent, time, purge, name):
            return UNLINK, _UNLINK.pack(parent, time, purge, len(name)) + name
        case Rename(parent, new_parent, time, flags, purge, name, new_name, whiteout):
            fixed = _RENAME.pack(parent, new_parent, time, flags, purge, len(name), len(new_name))
            return RENAME, fixed + name + new_name + whiteout
        case Truncate():
            return TRUNCATE, _TRUNCATE.pack(*record)
        case SetXattr(inode, mode, time, name, value):
            fixed = _XATTR.pack(inode, mode, time, value is not None, len(name))
            return XATTR, fixed + name + (value or b"")
        case Link(inode, parent, time, name):
            return LINK, _LINK.pack(inode, parent, time, len(name)) + name
        case Synced():
            return SYNCED, _SYNCED.pack(*record)
        case Purge():
            return PURGE, _PURGE.pack(*record)
        case Locate(inode, parent, name):
            return LOCATE, _LOCATE.pack(inode, parent, len(name)) + name


def _encode_write(record: Write) -> bytes:
    fixed = _WRITE.pack(
        record.inode, record.size, record.mode, record.time, len(record.direct), len(record.patches)
    )
    parts = [fixed]
    if record.direct:
        parts.append(record.wrapped_key)
        parts += [_DIRECT.pack(*direct) for direct in record.direct]
    for offset, data in record.patches:
        parts += (_PATCH.pack(offset, len(data)), data)
    return b"".join(parts)


def decode_record(kind: int, body: bytes) -> Record:
    """Read a record's body; raises Damaged if its shape is wrong or its type unknown."""
    decoder: Callable[[bytes], Record] | None = _DECODERS.get(kind)
    if decoder is None:
        raise Damaged(f"a journal record has the unknown type {kind}")
    try:
        return decoder(body)
    except struct.error as error:
        raise Damaged("a journal record is cut short") from error


def _decode_create(body: bytes) -> Create:
    parent, time, length = _CREATE.unpack_from(body)
    name, entry = _split(body, _CREATE.size, length)
    return Create(parent, time, name, entry)


def _decode_locate(body: bytes) -> Locate:
    inode, parent, length = _LOCATE.unpack_from(body)
    return Locate(inode, parent, _last(body, _LOCATE.size, length))


def _decode_link(body: bytes) -> Link:
    inode, parent, time, length = _LINK.unpack_from(body)
    return Link(inode, parent, time, _last(body, _LINK.size, length))


def _decode_unlink(body: bytes) -> Unlink:
    parent, time, purge, length = _UNLINK.unpack_from(body)
    return Unlink(parent, time, bool(purge), _last(body, _UNLINK.size, length))


def _decode_rename(body: bytes) -> Rename:
    parent, new_parent, time, flags, purge, length, new_length = _RENAME.unpack_from(body)
    name, _ = _split(body, _RENAME.size, length)
    new_name, whiteout = _split(body, _RENAME.size + length, new_length)
    return Rename(parent, new_parent, time, flags, bool(purge), name, new_name, whiteout)


def _decode_write(body: bytes) -> Write:
    inode, size, mode, time, direct_count, patch_count = _WRITE.unpack_from(body)
    position = _WRITE.size
    wrapped = b""
    direct: list[Direct] = []
    if direct_count:
        wrapped = body[position : position + 48]
        position += 48
        for _ in range(direct_count):
            direct.append(Direct(*_DIRECT.unpack_from(body, position)))
            position += _DIRECT.size
    patches: list[tuple[int, bytes]] = []
    for _ in range(patch_count):
        offset, length = _PATCH.unpack_from(body, position)
        position += _PATCH.size
        patches.append((offset, body[position : position + length]))
        position += length
    if position != len(body):
        raise Damaged("a journal record is cut short")
    return Write(inode, size, mode, time, wrapped, tuple(direct), tuple(patches))


def _decode_xattr(body: bytes) -> SetXattr:
    inode, mode, time, has_value, length = _XATTR.unpack_from(body)
    name, value = _split(body, _XATTR.size, length)
    if value and not has_value:
        raise Damaged("a journal record is longer than it says")
    return SetXattr(inode, mode, time, name, value if has_value else None)


def _split(body: bytes, position: int, length: int) -> tuple[bytes, bytes]:
    """The `length` bytes at `position`, and what follows them."""
    end = position + length
    if end > len(body):
        raise Damaged("a journal record is cut short")
    return body[position:end], body[end:]


def _last(body: bytes, position: int, length: int) -> bytes:
    """The `length` bytes at `position`, which must be the last ones."""
    value, rest = _split(body, position, length)
    if rest:
        raise Damaged("a journal record is longer than it says")
    return value


_DECODERS: dict[int, Callable[[bytes], Record]] = {
    CREATE: _decode_create,
    LINK: _decode_link,
    UNLINK: _decode_unlink,
    RENAME: _decode_rename,
    ATTRIBUTES: lambda body: SetAttributes(*_ATTRIBUTES.unpack(body)),
    TRUNCATE: lambda body: Truncate(*_TRUNCATE.unpack(body)),
    WRITE: _decode_write,
    XATTR: _decode_xattr,
    SYNCED: lambda body: Synced(*_SYNCED.unpack(body)),
    PURGE: lambda body: Purge(*_PURGE.unpack(body)),
    LOCATE: _decode_locate,
}
