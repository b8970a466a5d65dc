"""The checkpoint of one file's content: writes what is only in memory to slots, and the new map's nodes."""

import logging
from collections.abc import Callable

from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    CHUNKS_PER_SEGMENT,
    INDEX_SEGMENT,
    INLINE_CHUNKS,
    MAP_ENTRY_SIZE,
    NODE_REFERENCES,
    ROOT_REFERENCES,
)
from vaultfs.sealing.maps import (
    HOLE,
    ContentSection,
    InlineMap,
    MapEntry,
    NodeReference,
    TreeMap,
    encode_content,
    encode_inline_data,
    encode_node,
    leaf_entries,
    leaf_entry,
    pack_entry,
    trim_leaf,
)
from vaultfs.vault.content import ContentCommit, FileContent, LeafCommit, load_index, read_chunk
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import Segment, SlotRef, node_number

log = logging.getLogger("vaultfs.vault")


class ContentWriter:
    """Commits one file's frozen layer; runs in the checkpoint worker, raises OSError and Damaged.

    What of the file is damaged already, and not needed for the change, stays as it is: the change may be good again.
    `may_inline` tells whether data of a size in bytes may go to the file's entry.
    """

    def __init__(
        self, objects: Objects, content: FileContent, allocated: list[tuple[Segment, int]],
        may_inline: Callable[[int], bool],
    ) -> None:  # fmt: skip
        assert content.frozen is not None
        self._objects = objects
        self._content = content
        self._layer = content.frozen
        self._chunks = dict(content.frozen.chunks)
        inline = content.inline
        if inline and content.frozen.cut > 0:
            self._chunks.setdefault(0, bytearray(inline))
        self._may_inline = may_inline
        # What is allocated here goes back if the checkpoint fails.
        self._allocated = allocated
        self._leaves: dict[Segment, LeafCommit] = {}
        self._let_go: list[tuple[Segment, int]] = []
        self._dropped: list[Segment] = []
        self._stored = content.stored - len(inline)

    def commit(self) -> ContentCommit:
        """Write what has to be written, and return the new state of the content."""
        content = self._content
        committed = dict(content.committed)
        for number in self._cut_segments():
            segment = committed.pop(number)
            self._dropped.append(segment)
            self._stored -= self._stored_in(segment)
        if not committed:
            self._stored = 0  # whatever could not be read
            if data := self._inline_data():
                return self._finish({})._replace(section=encode_inline_data(data), stored=len(data))
        for number in sorted(self._changed_segments()):
            segment = content.frozen_segment(number)
            leaf = self._new_leaf(number, segment)
            if number in self._layer.moved:
                leaf, segment = self._move_if_whole(number, segment, leaf)
            # Even one without any chunk stays: a write of the next epoch may just be going to it.
            segment.make()
            committed[number] = segment
            self._leaves[segment] = LeafCommit(leaf, segment.node)
        return self._finish(committed)

    def _inline_data(self) -> bytearray | None:
        """All that the file holds, if that goes to its entry."""
        data = self._chunks.get(0)
        if not data or not isinstance(data, bytearray) or any(chunk and value for chunk, value in self._chunks.items()):
            return None
        # A checkpoint that is tried again does what it did before: writes go by that meanwhile.
        inlined = self._layer.inlined or (self._may_inline(len(data)) and self._content.claim_inline())
        return data if inlined else None

    def _cut_segments(self) -> list[int]:
        cut = self._layer.cut
        return [number for number in self._content.committed if number * CHUNKS_PER_SEGMENT >= cut]

    def _changed_segments(self) -> set[int]:
        numbers = {chunk // CHUNKS_PER_SEGMENT for chunk in self._chunks} | self._layer.fresh.keys()
        boundary = self._layer.cut // CHUNKS_PER_SEGMENT
        if self._layer.cut % CHUNKS_PER_SEGMENT and boundary in self._content.committed:
            numbers.add(boundary)
        return numbers

    def _stored_in(self, segment: Segment) -> int:
        """The bytes of chunks in a segment, 0 if that cannot be read any more."""
        try:
            return sum(entry.length for _, entry in leaf_entries(self._leaf_of(segment)))
        except Damaged as error:
            log.warning("of inode %d a damaged part is cut off: %s", self._content.id, error)
            return 0

    def _leaf_of(self, segment: Segment) -> bytes:
        return segment.leaf if segment.leaf is not None else segment.load_node()

    def _new_leaf(self, number: int, segment: Segment) -> bytes:
        first = number * CHUNKS_PER_SEGMENT
        leaf = bytearray(self._leaf_of(segment))
        self._cut_leaf(leaf, segment, self._layer.cut - first)
        changes = [
            (chunk - first, value)
            for chunk, value in sorted(self._chunks.items())
            if 0 <= chunk - first < CHUNKS_PER_SEGMENT
        ]
        written = self._write_chunks(segment, first, [item for item in changes if isinstance(item[1], bytearray)])
        for index, value in changes:
            self._set_entry(leaf, segment, index, value.entry if isinstance(value, SlotRef) else written[index])
        return trim_leaf(leaf)

    def _cut_leaf(self, leaf: bytearray, segment: Segment, keep: int) -> None:
        for index, entry in leaf_entries(leaf):
            if index >= keep:
                self._let_go.append((segment, entry.slot))
                self._stored -= entry.length
        del leaf[max(keep, 0) * MAP_ENTRY_SIZE :]

    def _set_entry(self, leaf: bytearray, segment: Segment, index: int, entry: MapEntry | None) -> None:
        position = index * MAP_ENTRY_SIZE
        old = leaf_entry(leaf, index)
        if old is not None:
            self._let_go.append((segment, old.slot))
            self._stored -= old.length
        if len(leaf) <= position:
            leaf.extend(bytes(position + MAP_ENTRY_SIZE - len(leaf)))
        leaf[position : position + MAP_ENTRY_SIZE] = HOLE if entry is None else pack_entry(*entry)
        self._stored += entry.length if entry is not None else 0

    def _write_chunks(
        self, segment: Segment, first: int, chunks: list[tuple[int, bytearray | SlotRef]]
    ) -> dict[int, MapEntry | None]:
        """Seal and write chunks, as many as stand side by side in one write; empty ones become holes."""
        written: dict[int, MapEntry | None] = {}
        run: list[bytes] = []
        start = expected = -1
        for index, data in chunks:
            assert isinstance(data, bytearray)
            if not data:
                written[index] = None
                continue
            slot = self._allocate(segment)
            nonce, sealed, tag = segment.seal_chunk(slot, self._objects.generation, first + index, data)
            written[index] = MapEntry(slot, len(data), tag)
            if slot != expected and run:
                segment.write(start, run)
                run = []
            if not run:
                start = slot
            run += (nonce, sealed)
            # A short chunk does not fill its slot, so nothing can follow it in the same write.
            expected = slot + 1 if len(data) == self._objects.chunk_size else -1
        if run:
            segment.write(start, run)
        return written

    def _move_if_whole(self, number: int, segment: Segment, leaf: bytes) -> tuple[bytes, Segment]:
        """A segment's leaf and object once it has moved, or as they are if not all of it can be read."""
        try:
            return self._move(number, segment, leaf)
        except Damaged as error:
            log.warning("a part of inode %d stays where it is: %s", self._content.id, error)
            self._dropped.append(self._layer.moved[number])
            return leaf, segment

    def _move(self, number: int, segment: Segment, leaf: bytes) -> tuple[bytes, Segment]:
        """Seal all chunks of a segment anew in another object; the old one goes once the new one is committed."""
        target = self._layer.moved[number]
        first = number * CHUNKS_PER_SEGMENT
        moved = bytearray(leaf)
        for index, entry in leaf_entries(leaf):
            data = read_chunk(self._objects, first + index, SlotRef(segment, entry))
            written = self._write_chunks(target, first, [(index, data)])[index]
            assert written is not None
            moved[index * MAP_ENTRY_SIZE : (index + 1) * MAP_ENTRY_SIZE] = pack_entry(*written)
        self._dropped.append(segment)
        return bytes(moved), target

    def _allocate(self, segment: Segment) -> int:
        (slot,) = segment.allocate(1)
        self._allocated.append((segment, slot))
        return slot

    def _finish(self, committed: dict[int, Segment]) -> ContentCommit:
        content = self._content
        key = content.key
        inner: dict[tuple[int, int], NodeReference] = {}
        section = b""
        level = 0
        index = content.index
        only = committed.get(0) if len(committed) == 1 else None
        if only is not None and self._is_short(only):
            leaf = self._leaf(only)
            self._let_go_node(only.node, only)
            self._leaves[only] = LeafCommit(leaf, None)
            assert key is not None
            section = encode_content(ContentSection(key.wrapped, self._stored, InlineMap(only.name, only.seals, leaf)))
        elif committed:
            references = {number: self._leaf_node(number, segment) for number, segment in committed.items()}
            tree, inner, index = self._write_inner(references)
            level = tree.level
            assert key is not None
            section = encode_content(ContentSection(key.wrapped, self._stored, tree))
        if content.index is not None and not inner:
            self._dropped.append(content.index)
            index = None
        elif content.index is not None:
            self._let_go += [
                (content.index, old.slot) for place, old in content.inner.items() if inner.get(place) != old
            ]
        return ContentCommit(
            content, section, committed, self._leaves, index, inner, level, self._stored, self._let_go, self._dropped
        )

    def _is_short(self, segment: Segment) -> bool:
        """Whether a segment's leaf may stand in the entry; one that cannot be read stays where it is."""
        try:
            return len(self._leaf(segment)) <= INLINE_CHUNKS * MAP_ENTRY_SIZE
        except Damaged:
            return False

    def _leaf(self, segment: Segment) -> bytes:
        commit = self._leaves.get(segment)
        return commit.leaf if commit is not None else self._leaf_of(segment)

    def _leaf_node(self, number: int, segment: Segment) -> NodeReference:
        commit = self._leaves.get(segment)
        if commit is None and segment.node is not None:
            return segment.node
        leaf = self._leaf(segment)
        self._let_go_node(segment.node, segment)
        node = self._write_node(segment, node_number(0, number), leaf)
        self._leaves[segment] = LeafCommit(leaf, node)
        return node

    def _let_go_node(self, node: NodeReference | None, segment: Segment) -> None:
        if node is not None:
            self._let_go.append((segment, node.slot))

    def _write_node(self, segment: Segment, number: int, data: bytes) -> NodeReference:
        slot = self._allocate(segment)
        nonce, sealed, tag = segment.seal_node(slot, self._objects.generation, number, data)
        segment.write(slot, [nonce, sealed])
        return NodeReference(segment.name, slot, len(data), tag, segment.seals)

    def _write_inner(
        self, references: dict[int, NodeReference]
    ) -> tuple[TreeMap, dict[tuple[int, int], NodeReference], Segment | None]:
        """Write the inner nodes that changed, level by level, until the entry can hold the rest."""
        old = self._content.inner
        index = self._content.index or self._layer.index
        inner: dict[tuple[int, int], NodeReference] = {}
        changed = {
            number
            for number in references.keys() | self._content.committed.keys()
            if number not in self._content.committed or references.get(number) != self._content.committed[number].node
        }
        level = 0
        while len(references) > ROOT_REFERENCES:
            level += 1
            groups: dict[int, list[tuple[int, NodeReference]]] = {}
            for number in sorted(references):
                groups.setdefault(number // NODE_REFERENCES, []).append((number, references[number]))
            # A group that lost its last member is no group any more, but the node above it changes all the same.
            touched = changed = {number // NODE_REFERENCES for number in changed}
            references = {}
            for group, members in groups.items():
                node = old.get((level, group))
                if node is None or group in touched:
                    index = index or self._new_index()
                    node = self._write_node(index, node_number(level, group), encode_node(members))
                    changed = changed | {group}
                references[group] = inner[level, group] = node
        name, seals = (index.name, index.seals) if index is not None and level else (bytes(16), 0)
        return TreeMap(level, name, seals, tuple(sorted(references.items()))), inner, index

    def _new_index(self) -> Segment:
        content = self._content
        assert content.key is not None
        name = self._objects.names.next_frozen()
        index = Segment(self._objects, content.id, INDEX_SEGMENT, name, content.key.key, created=False, leaf=b"")
        # Kept with the layer, so that a checkpoint that is tried again writes to the same object.
        self._layer.index = index
        return index


def purged_objects(content: FileContent) -> list[bytes]:
    """The names of all objects of a file that is gone; raises Damaged if its map cannot be read."""
    segments = [*content.committed.values(), *content.active.fresh.values()]
    names = [segment.name for segment in segments if segment.created]
    if content.index is not None:
        names.append(content.index.name)
    if not content.loaded:
        loaded = load_index(content, content.section)
        names += [loaded.index_segment.name, *(reference.object for reference in loaded.leaves.values())]
    return names


def section_objects(objects: Objects, inode_id: int, section: bytes) -> list[bytes]:
    """The same of a file that is as its entry says; raises Damaged."""
    return purged_objects(FileContent.from_section(objects, inode_id, section))
