"""The second reader's tree: from a root over directories and maps to every inode with its chunks."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.format.decoder_crypto import TAG, VERSION, DecodeError, Keys, Reader, expand, first_of, open_gcm, u32, u64

SEGMENT_CHUNKS, INLINE_CHUNKS, NODE_REFERENCES, ENTRY_REFERENCES = 1024, 16, 512, 16
INLINE_DATA = 16384
OBJECT_HEADER = 96
SLOT_OVERHEAD = 44
INDEX_SEGMENT = 2**64 - 1
ROOT_ID, SHARED_ID, ORPHANS_ID = 1, 2, 3
FIRST_SHARD, SHARDS = 256, 256
SEGMENT, DIRECTORY = 1, 2


class Place(NamedTuple):
    """Where in an object a chunk or a map node is, and how long its data."""

    slot: int
    length: int
    tag: bytes


@dataclass
class Node:
    """An inode: attributes as stat(2) names them, times in ns; `chunks` are a regular file's content by number."""

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
    device: int = 0
    target: bytes = b""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    content: bytes = b""
    key: bytes = b""
    chunks: dict[int, bytes] = field(default_factory=dict)
    names: dict[bytes, int] = field(default_factory=dict)


def parse_entry(data: bytes) -> Node | int:
    """The inode an entry describes, or the id of the hard-linked file it points to."""
    reader = Reader(data)
    (flags,) = reader.fields("H")
    if flags & ~31:
        raise DecodeError("unknown entry flags")
    if flags & 16:
        _, inode_id = reader.fields("IQ")
        reader.end()
        return inode_id
    mode, inode_id, uid, gid, nlink, size, atime, mtime, ctime, birthtime = reader.fields("IQIIIQqqqq")
    node = Node(inode_id, mode, uid, gid, nlink, size, atime, mtime, ctime, birthtime)
    if flags & 1:
        (node.device,) = reader.fields("Q")
    if flags & 2:
        node.target = reader.take(*reader.fields("H"))
    if flags & 4:
        node.xattrs = _xattrs(Reader(reader.take(*reader.fields("I"))))
    if flags & 8:
        node.content = reader.rest()
    reader.end()
    return node


def _xattrs(reader: Reader) -> dict[bytes, bytes]:
    xattrs: dict[bytes, bytes] = {}
    while reader.left:
        name_length, value_length = reader.fields("BI")
        name = reader.take(name_length)
        xattrs[name] = reader.take(value_length)
    return xattrs


class Objects:
    """The objects of a store, verified as they are read."""

    def __init__(self, store: Path, keys: Keys) -> None:
        self.store = store
        self.keys = keys

    def _bytes(self, name: bytes, inode_id: int, kind: int, segment: int) -> bytes:
        """A whole object; its header has to say what it belongs to."""
        digits = name.hex()
        data = (self.store / "objects" / digits[:2] / digits[2:]).read_bytes()
        reader = Reader(data[:OBJECT_HEADER])
        epoch, nonce, sealed = reader.take(4), reader.take(12), reader.rest()
        aad = b"H" + self.keys.vault_id + name + epoch
        plain = Reader(
            first_of(
                self.keys.headers,
                lambda key: open_gcm(expand(key, b"vaultfs object header", name), nonce, sealed, aad),
            )
        )
        found = plain.fields("BB6xQQ")
        if found != (kind, VERSION, inode_id, segment):
            raise DecodeError("an object's header tells of something else")
        return data

    def slot(
        self, kind: bytes, name: bytes, inode_id: int, segment: int, key: bytes, place: Place, number: int
    ) -> bytes:
        """The data in a slot; `number` has to be sealed with it."""
        slot, length, tag = place
        start = OBJECT_HEADER + slot * (self.keys.chunk_size + SLOT_OVERHEAD)
        stored = self._bytes(name, inode_id, SEGMENT, segment)[start : start + length + SLOT_OVERHEAD]
        if len(stored) != length + SLOT_OVERHEAD or stored[-TAG:] != tag:
            raise DecodeError("a slot is not the one its map names")
        aad = kind + self.keys.vault_id + name + u32(slot)
        plain = open_gcm(expand(key, b"vaultfs object", name), stored[:12], stored[12:], aad)
        _, found = Reader(plain[length:]).fields("QQ")
        if found != number:
            raise DecodeError("a slot stands in another's place")
        return plain[:length]

    def frames(
        self, name: bytes, inode_id: int, key: bytes, length: int, last_tag: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        """The (name, entry) items of a directory object in order, up to its first `length` bytes."""
        data = self._bytes(name, inode_id, DIRECTORY, 0)[:length]
        if len(data) != length:
            raise DecodeError("a directory object is cut short")
        reader, tag = Reader(data), bytes(TAG)
        reader.take(OBJECT_HEADER)
        cipher_key = expand(key, b"vaultfs object", name)
        while reader.left:
            offset = reader.at
            (size,) = reader.fields("I")
            nonce, sealed = reader.take(12), reader.take(size)
            aad = b"D" + self.keys.vault_id + name + u64(offset) + u32(size) + tag
            plain, tag = Reader(open_gcm(cipher_key, nonce, sealed, aad)), sealed[-TAG:]
            plain.fields("Q")
            while plain.left:
                name_length, entry_length = plain.fields("BI")
                yield plain.take(name_length), plain.take(entry_length)
        if tag != last_tag:
            raise DecodeError("a directory does not end with the frame its head names")


class Tree:
    """Every inode of a committed root by id; those hard-linked come from the shared table."""

    def __init__(self, objects: Objects, root: bytes, shared: bytes, orphans: bytes) -> None:
        self._objects = objects
        self.nodes: dict[int, Node] = {}
        for inode_id, entry in ((SHARED_ID, shared), (ORPHANS_ID, orphans), (ROOT_ID, root)):
            node = parse_entry(entry)
            if not isinstance(node, Node) or node.id != inode_id:
                raise DecodeError("a root's top directories are others")
            self._adopt(node)
        for node in self.nodes.values():
            if any(child not in self.nodes for child in node.names.values()):
                raise DecodeError("a hard link points to nothing")

    def _adopt(self, node: Node) -> int:
        self.nodes[node.id] = node
        if stat.S_ISDIR(node.mode):
            if node.content:
                self._read_directory(node)
        elif stat.S_ISREG(node.mode) and node.content:
            self._read_content(node)
        return node.id

    def _read_directory(self, node: Node) -> None:
        reader = Reader(node.content)
        node.key = self._objects.keys.file_key(node.id, reader.take(48))
        _, count = reader.fields("QI")
        entries: dict[bytes, bytes] = {}
        while reader.left:
            name, (length,), tag = reader.take(16), reader.fields("Q"), reader.take(TAG)
            for item, entry in self._objects.frames(name, node.id, node.key, length, tag):
                if not item:
                    continue
                if entry:
                    entries[item] = entry
                else:
                    entries.pop(item, None)
        if len(entries) != count:
            raise DecodeError("a directory has another number of entries")
        for item, entry in entries.items():
            parsed = parse_entry(entry)
            node.names[item] = parsed if isinstance(parsed, int) else self._adopt(parsed)

    def _read_content(self, node: Node) -> None:
        reader = Reader(node.content)
        (tag,) = reader.fields("B")
        if tag == 3:
            node.chunks[0] = reader.rest()
            if not 0 < len(node.chunks[0]) <= INLINE_DATA:
                raise DecodeError("inline data has an impossible length")
            return
        node.key = self._objects.keys.file_key(node.id, reader.take(48))
        (stored,) = reader.fields("Q")
        if tag == 1:
            name, (_, count) = reader.take(16), reader.fields("IB")
            if count > INLINE_CHUNKS:
                raise DecodeError("an inline map is too long")
            self._read_leaf(node, 0, name, Reader(reader.take(count * 24)))
            reader.end()
        elif tag == 2:
            self._read_map(node, reader)
        else:
            raise DecodeError("an unknown kind of map")
        if stored != sum(len(data) for data in node.chunks.values()):
            raise DecodeError("a file has another amount of data")

    def _read_map(self, node: Node, reader: Reader) -> None:
        (level,), index_object, (_, count) = reader.fields("B"), reader.take(16), reader.fields("IH")
        references = _references(reader)
        if len(references) != count or count > ENTRY_REFERENCES:
            raise DecodeError("a map's top has another length")
        for height in range(level, 0, -1):
            below: list[tuple[int, bytes, Place]] = []
            for index, name, place in references:
                number = height << 56 | index
                if name != index_object:
                    raise DecodeError("an inner node is in another object")
                plain = self._objects.slot(b"N", name, node.id, INDEX_SEGMENT, node.key, place, number)
                children = _references(Reader(plain))
                if any(child // NODE_REFERENCES != index for child, _, _ in children):
                    raise DecodeError("an inner node has another's children")
                below += children
            references = below
        for segment, name, place in references:
            leaf = self._objects.slot(b"N", name, node.id, segment, node.key, place, segment)
            self._read_leaf(node, segment, name, Reader(leaf))

    def _read_leaf(self, node: Node, segment: int, name: bytes, reader: Reader) -> None:
        for index in range(SEGMENT_CHUNKS):
            if not reader.left:
                break
            (slot, length), tag = reader.fields("II"), reader.take(TAG)
            if length:
                number = segment * SEGMENT_CHUNKS + index
                place = Place(slot, length, tag)
                node.chunks[number] = self._objects.slot(b"C", name, node.id, segment, node.key, place, number)
        reader.end()


def _references(reader: Reader) -> list[tuple[int, bytes, Place]]:
    references: list[tuple[int, bytes, Place]] = []
    while reader.left:
        (index,), name, (slot, length), tag, _ = (
            reader.fields("Q"), reader.take(16), reader.fields("II"), reader.take(TAG), reader.fields("I")
        )  # fmt: skip
        references.append((index, name, Place(slot, length, tag)))
    if [index for index, _, _ in references] != sorted({index for index, _, _ in references}):
        raise DecodeError("a node's children are out of order")
    return references
