"""The map of a file's content: which slot of which object holds each chunk, as bytes and back.

A leaf is an array of 24-byte map entries, one per chunk of a segment, cut behind the last chunk that has one.
An inner node lists references to leaves or to lower nodes. The content section of a directory entry holds the
leaf itself for a small file, references for a larger one, and for a very small one no map but the data.
"""

import struct
from itertools import pairwise
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    CHUNKS_PER_SEGMENT,
    INLINE_CHUNKS,
    INLINE_DATA,
    MAP_ENTRY_SIZE,
    MAX_SLOTS,
    OBJECT_NAME_SIZE,
    ROOT_REFERENCES,
    WRAPPED_KEY_SIZE,
)

_ENTRY = struct.Struct("<II16s")
_REFERENCE = struct.Struct("<Q16sII16sI")
_INLINE = struct.Struct("<16sIB")
_TREE = struct.Struct("<B16sIH")
_COMMON = struct.Struct("<B48sQ")
_INLINE_TAG, _TREE_TAG, _DATA_TAG = 1, 2, 3
_DATA = bytes((_DATA_TAG,))
assert _ENTRY.size == MAP_ENTRY_SIZE

HOLE = bytes(MAP_ENTRY_SIZE)
ONE_CHUNK_SIZE = _COMMON.size + _INLINE.size + _ENTRY.size
"""The bytes of the content section of a file with one chunk in an object."""


class MapEntry(NamedTuple):
    """Where a chunk is: slot index, plaintext length in bytes (without the trailer), authentication tag."""

    slot: int
    length: int
    tag: bytes


class NodeReference(NamedTuple):
    """Where a map node is. `seals` counts what was sealed under that object's key so far."""

    object: bytes
    slot: int
    length: int
    tag: bytes
    seals: int


class InlineMap(NamedTuple):
    """The whole map of a small file: one object and its leaf."""

    object: bytes
    seals: int
    leaf: bytes


class TreeMap(NamedTuple):
    """The top of a larger file's map: references to leaves (level 0) or to inner nodes of a level."""

    level: int
    index_object: bytes
    index_seals: int
    references: tuple[tuple[int, NodeReference], ...]


class InlineData(NamedTuple):
    """The data of a very small file's only chunk, without the zeros it may go on with."""

    data: bytes


class ContentSection(NamedTuple):
    """What a directory entry says of a file's content; `stored` is the bytes of chunk data it has.

    A file with inline data has no key: `wrapped_key` is empty then.
    """

    wrapped_key: bytes
    stored: int
    map: InlineMap | TreeMap | InlineData


def encode_inline_data(data: bytes | bytearray) -> bytes:
    """The content section of a file whose data stands in its entry."""
    return _DATA + data


def has_data(section: bytes, start: int = 0) -> bool:
    """Whether data stands in a content section; it is `section` from `start` on, and may be empty."""
    return section[start : start + 1] == _DATA


def inline_data(section: bytes) -> bytes:
    """The data that stands in a content section, b"" if none does."""
    return section[1:] if has_data(section) else b""


def leaf_entry(leaf: bytes | bytearray, index: int) -> MapEntry | None:
    """The entry of one chunk, None for a hole; `index` counts within the segment."""
    position = index * MAP_ENTRY_SIZE
    if position >= len(leaf):
        return None
    slot, length, tag = _ENTRY.unpack_from(leaf, position)
    return MapEntry(slot, length, tag) if length else None


def leaf_entries(leaf: bytes | bytearray) -> list[tuple[int, MapEntry]]:
    """All (index, entry) pairs of a leaf that are no holes."""
    return [
        (index, MapEntry(slot, length, tag))
        for index, (slot, length, tag) in enumerate(_ENTRY.iter_unpack(leaf))
        if length
    ]


def pack_entry(slot: int, length: int, tag: bytes) -> bytes:
    """One map entry's 24 bytes."""
    return _ENTRY.pack(slot, length, tag)


def trim_leaf(leaf: bytearray) -> bytes:
    """Cut a leaf behind its last entry that is no hole."""
    end = len(leaf)
    while end and leaf[end - MAP_ENTRY_SIZE : end] == HOLE:
        end -= MAP_ENTRY_SIZE
    return bytes(leaf[:end])


def check_leaf(leaf: bytes, chunk_size: int) -> bytes:
    """Return `leaf` if its shape is sound; raises Damaged."""
    if len(leaf) % MAP_ENTRY_SIZE or len(leaf) > CHUNKS_PER_SEGMENT * MAP_ENTRY_SIZE:
        raise Damaged("a map leaf has an impossible length")
    if any(length > chunk_size or slot >= MAX_SLOTS for slot, length, _ in _ENTRY.iter_unpack(leaf)):
        raise Damaged("a map leaf names a chunk or a slot larger than there are")
    return leaf


def encode_node(references: list[tuple[int, NodeReference]]) -> bytes:
    """An inner node's plaintext."""
    return b"".join(_REFERENCE.pack(index, *reference) for index, reference in references)


def decode_node(data: bytes) -> list[tuple[int, NodeReference]]:
    """An inner node's (index, reference) pairs; raises Damaged on an impossible length or order."""
    if len(data) % _REFERENCE.size:
        raise Damaged("a map node has an impossible length")
    references = [(fields[0], NodeReference(*fields[1:])) for fields in _REFERENCE.iter_unpack(data)]
    if any(one[0] >= other[0] for one, other in pairwise(references)):
        raise Damaged("a map node has its references out of order")
    return references


def encode_content(section: ContentSection) -> bytes:
    """The content section of a directory entry."""
    if isinstance(section.map, InlineData):
        return encode_inline_data(section.map.data)
    if isinstance(section.map, InlineMap):
        inline = section.map
        return b"".join(
            (
                _COMMON.pack(_INLINE_TAG, section.wrapped_key, section.stored),
                _INLINE.pack(inline.object, inline.seals, len(inline.leaf) // MAP_ENTRY_SIZE),
                inline.leaf,
            )
        )
    tree = section.map
    return b"".join(
        (
            _COMMON.pack(_TREE_TAG, section.wrapped_key, section.stored),
            _TREE.pack(tree.level, tree.index_object, tree.index_seals, len(tree.references)),
            encode_node(list(tree.references)),
        )
    )


def decode_content(data: bytes) -> ContentSection:
    """Read a content section; raises Damaged if its shape is wrong."""
    if has_data(data):
        size = len(data) - 1
        if not 0 < size <= INLINE_DATA:
            raise Damaged("inline data has an impossible length")
        return ContentSection(b"", size, InlineData(inline_data(data)))
    try:
        tag, wrapped, stored = _COMMON.unpack_from(data)
        if tag == _INLINE_TAG:
            name, seals, count = _INLINE.unpack_from(data, _COMMON.size)
            leaf = data[_COMMON.size + _INLINE.size :]
            if len(leaf) != count * MAP_ENTRY_SIZE or count > INLINE_CHUNKS:
                raise Damaged("an inline map has the wrong length")
            return ContentSection(wrapped, stored, InlineMap(name, seals, leaf))
        if tag == _TREE_TAG:
            level, index_object, index_seals, count = _TREE.unpack_from(data, _COMMON.size)
            references = decode_node(data[_COMMON.size + _TREE.size :])
            if len(references) != count or count > ROOT_REFERENCES:
                raise Damaged("a map has the wrong number of references")
            return ContentSection(wrapped, stored, TreeMap(level, index_object, index_seals, tuple(references)))
    except struct.error as error:
        raise Damaged("a content section is cut short") from error
    raise Damaged(f"a content section has the unknown tag {tag}")


def stored_size(data: bytes, start: int = 0) -> int:
    """The bytes of chunk data a content section tells of, without reading the rest of it; raises Damaged.

    The section is `data` from `start` on.
    """
    if len(data) == start:
        return 0
    if has_data(data, start):
        return len(data) - start - 1
    if len(data) < start + _COMMON.size:
        raise Damaged("a content section is cut short")
    stored: int = _COMMON.unpack_from(data, start)[2]
    return stored


assert struct.calcsize("<48s16s") == WRAPPED_KEY_SIZE + OBJECT_NAME_SIZE
