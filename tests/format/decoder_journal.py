"""The second reader's journal: the records that follow a root, and what each of them does to the tree."""

import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.format.decoder_crypto import TAG, VERSION, DecodeError, Keys, Reader, expand, first_of, open_gcm, u64
from tests.format.decoder_tree import (
    FIRST_SHARD,
    ORPHANS_ID,
    SEGMENT_CHUNKS,
    SHARDS,
    SHARED_ID,
    Node,
    Objects,
    Place,
    parse_entry,
)

JOURNAL_HEADER, RECORD_HEADER, LARGEST_RECORD, ALIGNMENT = 112, 33, 2424832, 16
CREATE, LINK, UNLINK, RENAME, ATTRIBUTES, TRUNCATE, WRITE, XATTR, SYNCED, PURGE, LOCATE = range(1, 12)
RENAME_EXCHANGE = 2


class Record(NamedTuple):
    """A record whose seal verifies; `end` is where the next one begins."""

    sequence: int
    synced: int
    previous: bytes
    kind: int
    body: bytes
    tag: bytes
    end: int


def read_records(store: Path, keys: Keys, number: int, salt: bytes, sequence: int, tag: bytes) -> list[Record]:
    """The chain of records behind (sequence, tag), over all files from `number` on; DecodeError if it is damaged."""
    records: list[Record] = []
    known_synced = sequence
    first = number
    while (path := store / "journal" / f"{number:08x}").exists():
        data = path.read_bytes()
        try:
            metadata, found_salt = first_of(keys.metadata, partial(_check_header, keys, number, data))
        except DecodeError:
            if number == first or not _is_unused(keys, data, first):
                raise
            break
        if number == first and found_salt != salt:
            raise DecodeError("the journal is not the one the root names")
        key = expand(metadata, b"vaultfs journal", u64(number) + found_salt)
        offset = JOURNAL_HEADER
        while (record := _open(keys, key, number, data, offset)) is not None:
            if (record.sequence, record.previous) != (sequence + 1, tag):
                break
            records.append(record)
            sequence, tag, offset = record.sequence, record.tag, record.end
        for place in range(JOURNAL_HEADER, len(data), ALIGNMENT):
            record = _open(keys, key, number, data, place)
            known_synced = max(known_synced, record.synced if record is not None else 0)
        number += 1
    if number == first:
        raise DecodeError("the journal is missing")
    if known_synced > sequence:
        raise DecodeError("records that had been synced are gone")
    return records


def _is_unused(keys: Keys, data: bytes, first: int) -> bool:
    """Whether a file behind the first one has no records of its own yet: it is new, or has those of its life before."""
    if not any(data[JOURNAL_HEADER:]):
        return True
    for other in range(first):
        with suppress(DecodeError):
            first_of(keys.metadata, partial(_check_header, keys, other, data))
            return True
    return False


def _check_header(keys: Keys, number: int, data: bytes, metadata: bytes) -> tuple[bytes, bytes]:
    """(the metadata key, the file's salt) if its header verifies under that key; DecodeError if not."""
    reader = Reader(data)
    salt, nonce, sealed = reader.take(16), reader.take(12), reader.take(64 + TAG)
    key = expand(metadata, b"vaultfs journal header", u64(number) + salt)
    plain = Reader(open_gcm(key, nonce, sealed, b"J" + keys.vault_id + u64(number)))
    if plain.fields("HQ") != (VERSION, number):
        raise DecodeError("another journal")
    return metadata, salt


def _open(keys: Keys, key: bytes, number: int, data: bytes, offset: int) -> Record | None:
    reader = Reader(data)
    reader.at = offset
    try:
        (length,) = reader.fields("I")
        if not RECORD_HEADER + TAG <= length <= LARGEST_RECORD:
            return None
        nonce, sealed = reader.take(12), reader.take(length)
        plain = Reader(open_gcm(key, nonce, sealed, b"E" + keys.vault_id + u64(number) + u64(offset)))
    except DecodeError:
        return None
    (sequence, synced), previous, (kind,) = plain.fields("QQ"), plain.take(TAG), plain.fields("B")
    end = reader.at + -(reader.at - offset) % ALIGNMENT
    return Record(sequence, synced, previous, kind, plain.rest(), sealed[-TAG:], end)


class Replay:
    """Applies records to inodes by id; `applied` counts those that were."""

    def __init__(self, objects: Objects, nodes: dict[int, Node], records: list[Record]) -> None:
        self._objects = objects
        self._chunk_size = objects.keys.chunk_size
        self._nodes = nodes
        self._records = records
        self._covered: dict[int, int] = {}
        self._caps: dict[int, int] = {}
        self._lost: set[int] = set()
        self.applied = 0

    def run(self) -> None:
        for record in self._records:
            if record.kind == SYNCED:
                inode_id, through = Reader(record.body).fields("QQ")
                self._covered[inode_id] = max(self._covered.get(inode_id, 0), through)
        for record in self._records:
            reader = Reader(record.body)
            if not self._apply(record, reader):
                break
            reader.end()
            self.applied += 1

    def _apply(self, record: Record, reader: Reader) -> bool:
        """Change the tree as the record says; False if the replay has to stop before it."""
        if record.kind == RENAME:
            return self._rename(reader)
        if record.kind == WRITE:
            self._write(record.sequence, reader)
            return True
        appliers: dict[int, Callable[[Reader], object]] = {
            CREATE: self._create,
            LINK: self._link,
            UNLINK: self._unlink,
            ATTRIBUTES: self._set_attributes,
            TRUNCATE: self._truncate,
            XATTR: self._xattr,
            SYNCED: lambda reader: reader.fields("QQ"),
            PURGE: lambda reader: reader.fields("Q"),
            LOCATE: self._locate,
        }
        if record.kind not in appliers:
            raise DecodeError("an unknown record")
        appliers[record.kind](reader)
        return True

    def _set_attributes(self, reader: Reader) -> None:
        inode_id, *values = reader.fields("QIIIqqq")
        node = self._nodes[inode_id]
        node.mode, node.uid, node.gid, node.atime, node.mtime, node.ctime = values

    def _locate(self, reader: Reader) -> None:
        inode_id, parent, length = reader.fields("QQB")
        name = reader.take(length)
        hidden = parent in (SHARED_ID, ORPHANS_ID) or parent in range(FIRST_SHARD, FIRST_SHARD + SHARDS)
        if not hidden and self._nodes[parent].names.get(name) != inode_id:
            raise DecodeError("an entry is not where the journal says")

    def _touch(self, inode_id: int, time: int) -> None:
        node = self._nodes[inode_id]
        node.mtime = node.ctime = time

    def _put(self, parent: int, time: int, name: bytes, entry: bytes) -> None:
        node = parse_entry(entry)
        assert isinstance(node, Node)
        self._nodes[node.id] = node
        self._nodes[parent].names[name] = node.id
        self._nodes[parent].nlink += stat.S_ISDIR(node.mode)
        self._touch(parent, time)

    def _create(self, reader: Reader) -> None:
        parent, time, length = reader.fields("QqB")
        self._put(parent, time, reader.take(length), reader.rest())

    def _link(self, reader: Reader) -> None:
        inode_id, parent, time, length = reader.fields("QQqB")
        node = self._nodes[inode_id]
        node.nlink += 1
        node.ctime = time
        self._nodes[parent].names[reader.take(length)] = inode_id
        self._touch(parent, time)

    def _drop(self, parent: int, name: bytes, time: int) -> None:
        node = self._nodes[self._nodes[parent].names.pop(name)]
        node.ctime = time
        if stat.S_ISDIR(node.mode):
            node.nlink = 0
            self._nodes[parent].nlink -= 1
        else:
            node.nlink -= 1

    def _unlink(self, reader: Reader) -> None:
        parent, time, _, length = reader.fields("QqBB")
        self._drop(parent, reader.take(length), time)
        self._touch(parent, time)

    def _rename(self, reader: Reader) -> bool:
        parent, new_parent, time, flags, _, length, new_length = reader.fields("QQqIBBB")
        name, new_name, whiteout = reader.take(length), reader.take(new_length), reader.rest()
        source, target = self._nodes[parent], self._nodes[new_parent]
        node, other = self._nodes[source.names[name]], target.names.get(new_name)
        if flags & RENAME_EXCHANGE and other is not None:
            self._move(self._nodes[other], target, source, name, time)
            self._move(node, source, target, new_name, time)
        else:
            if other is not None and node.id in self._lost:
                return False
            del source.names[name]
            if other is not None:
                self._drop(new_parent, new_name, time)
            self._move(node, source, target, new_name, time)
            if whiteout:
                self._put(parent, time, name, whiteout)
        self._touch(parent, time)
        self._touch(new_parent, time)
        return True

    def _move(self, node: Node, source: Node, target: Node, new_name: bytes, time: int) -> None:
        node.ctime = time
        target.names[new_name] = node.id
        if stat.S_ISDIR(node.mode) and source is not target:
            source.nlink -= 1
            target.nlink += 1

    def _xattr(self, reader: Reader) -> None:
        inode_id, mode, time, has_value, length = reader.fields("QIqBB")
        node = self._nodes[inode_id]
        name = reader.take(length)
        if has_value:
            node.xattrs[name] = reader.rest()
        else:
            node.xattrs.pop(name, None)
        node.mode, node.ctime = mode, time

    def _truncate(self, reader: Reader) -> None:
        inode_id, size, mode, time = reader.fields("QQIq")
        self._caps.pop(inode_id, None)
        if not size:
            self._lost.discard(inode_id)
        node = self._nodes[inode_id]
        if size < node.size:
            for chunk in list(node.chunks):
                kept = size - chunk * self._chunk_size
                node.chunks[chunk] = node.chunks[chunk][: max(kept, 0)]
        node.size, node.mode = size, mode
        self._touch(inode_id, time)

    def _write(self, sequence: int, reader: Reader) -> None:
        inode_id, size, mode, time, direct_count, patch_count = reader.fields("QQIqHH")
        node = self._nodes[inode_id]
        if direct_count:
            node.key = self._objects.keys.file_key(inode_id, reader.take(48))
        trusted = sequence <= self._covered.get(inode_id, 0)
        whole: list[tuple[int, bytes]] = []
        for _ in range(direct_count):
            (chunk,), name, (slot, length), tag = (
                reader.fields("Q"), reader.take(16), reader.fields("II"), reader.take(TAG)
            )  # fmt: skip
            try:
                segment = chunk // SEGMENT_CHUNKS
                data = self._objects.slot(b"C", name, inode_id, segment, node.key, Place(slot, length, tag), chunk)
                whole.append((chunk * self._chunk_size, data))
            except (DecodeError, FileNotFoundError):
                if trusted:
                    raise
                self._lose(node, chunk)
        patches: list[tuple[int, bytes]] = []
        for _ in range(patch_count):
            offset, length = reader.fields("QI")
            patches.append((offset, reader.take(length)))
        cap = size if trusted else min(size, self._caps.get(inode_id, size))
        for at, data in whole:
            if at + len(data) <= cap:
                node.chunks[at // self._chunk_size] = data
        for at, data in patches:
            self._patch(node, at, data[: max(cap - at, 0)])
        node.size, node.mode = cap, mode
        self._touch(inode_id, time)

    def _lose(self, node: Node, chunk: int) -> None:
        """A chunk that no sync mark covers did not reach the disk: the file keeps its old bytes and does not grow."""
        cap = max(node.size, chunk * self._chunk_size)
        self._caps[node.id] = min(self._caps.get(node.id, cap), cap)
        self._lost.add(node.id)

    def _patch(self, node: Node, offset: int, data: bytes) -> None:
        chunk, start = divmod(offset, self._chunk_size)
        old = node.chunks.get(chunk, b"")
        if data:
            node.chunks[chunk] = old[:start].ljust(start, b"\0") + data + old[start + len(data) :]
