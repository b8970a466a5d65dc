"""One file's content in memory: the committed map, with the changes of up to two epochs over it."""

import sys
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import CHUNKS_PER_SEGMENT, INDEX_SEGMENT, MAX_SLOTS, NODE_REFERENCES
from vaultfs.sealing.context import WrappedKey
from vaultfs.sealing.maps import (
    InlineData,
    InlineMap,
    NodeReference,
    TreeMap,
    check_leaf,
    decode_content,
    decode_node,
    inline_data,
    leaf_entry,
)
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import Segment, SlotRef, node_number
from vaultfs.vault.settings import Settings
from vaultfs.vault.waits import NotReady

NO_CUT = sys.maxsize
_FETCHED_CHUNKS = 8
_COUNTED_CHUNKS = 64


class Layer:
    """The content changes of one epoch.

    `chunks` holds whole chunks, by value or by slot. Nothing below this layer shows from chunk `cut` on.
    `fresh` holds segments that are new in this epoch, or replace one that was cut off whole. `inlined` is set once
    a checkpoint has decided that the data goes to the entry: no segment of this layer may be made from then on.
    """

    __slots__ = ("chunks", "cut", "fresh", "index", "inlined", "moved")

    def __init__(self) -> None:
        self.chunks: dict[int, bytearray | SlotRef] = {}
        self.cut = NO_CUT
        self.fresh: dict[int, Segment] = {}
        self.index: Segment | None = None
        # Segments whose chunks all go to a new object, by number.
        self.moved: dict[int, Segment] = {}
        self.inlined = False

    @property
    def empty(self) -> bool:
        """Whether nothing changed."""
        return not self.chunks and self.cut == NO_CUT and not self.fresh


class FileContent:
    """What a file holds, looked up active layer first, then frozen, then committed.

    `committed` maps segment numbers to segments. `inner` are the committed inner map nodes by (level, index), kept
    in the slots of `index`. `stored` is the committed bytes of chunk data, `section` what the entry says of them.
    """

    __slots__ = (
        "active", "committed", "fetched", "forgotten", "frozen", "id", "index", "inner", "key", "level", "loaded",
        "objects", "section", "stored", "unsynced",
    )  # fmt: skip

    def __init__(self, objects: Objects, inode_id: int) -> None:
        self.objects = objects
        self.id = inode_id
        self.key: WrappedKey | None = None
        self.active = Layer()
        self.frozen: Layer | None = None
        self.committed: dict[int, Segment] = {}
        self.index: Segment | None = None
        self.inner: dict[tuple[int, int], NodeReference] = {}
        self.level = 0
        self.stored = 0
        self.loaded = True
        self.section = b""
        # The data of chunks by their tags, read ahead of a change to a part of them.
        self.fetched: dict[bytes, bytearray] = {}
        # Segments written directly and not known to be durable, each with the last record before its last write.
        self.unsynced: dict[Segment, int] = {}
        # Set when another object may stand for the file from now on, or none.
        self.forgotten = False

    @classmethod
    def from_section(cls, objects: Objects, inode_id: int, section: bytes) -> "FileContent":
        """The content a directory entry describes; raises Damaged. Inner nodes are left to be loaded."""
        content = cls(objects, inode_id)
        if not section:
            return content
        decoded = decode_content(section)
        content.section = section
        content.stored = decoded.stored
        if isinstance(decoded.map, InlineData):
            return content
        content.key = objects.context.unwrap_file_key(inode_id, decoded.wrapped_key)
        key = content.key.key
        if isinstance(decoded.map, InlineMap):
            name, seals, leaf = decoded.map
            check_leaf(leaf, objects.chunk_size)
            content.committed[0] = Segment(objects, inode_id, 0, name, key, created=True, seals=seals, leaf=leaf)
        else:
            content.level = decoded.map.level
            content.loaded = content.level == 0
            if content.loaded:
                content.adopt_references(dict(decoded.map.references))
        return content

    @property
    def inline(self) -> bytes:
        """The committed data of a very small file's only chunk, b"" if it is not in the entry; no segments then."""
        return inline_data(self.section)

    def _new_segment(self, layer: Layer, number: int, place: dict[int, Segment] | None = None) -> Segment:
        if self.key is None:
            self.key = self.objects.context.new_file_key(self.id)
        names = self.objects.names
        name = names.next_frozen() if layer is self.frozen else names.next()
        segment = Segment(self.objects, self.id, number, name, self.key.key, created=False, leaf=b"")
        (layer.fresh if place is None else place)[number] = segment
        return segment

    def writable_segment(self, number: int) -> Segment:
        """The segment new slots of segment `number` go to, made if need be; raises NotReady.

        A running checkpoint may be about to make it as well; both must find the same one in the frozen layer.
        """
        segment = self.segment(number)
        if segment is not None:
            return segment
        with self.objects.lock:
            layer, frozen = self.active, self.frozen
            if frozen is not None and number * CHUNKS_PER_SEGMENT < self.active.cut:
                if number in frozen.fresh:
                    return frozen.fresh[number]
                if not frozen.inlined and self._checkpoint_needs(frozen, number):
                    layer = frozen
            return self._new_segment(layer, number)

    def _checkpoint_needs(self, frozen: Layer, number: int) -> bool:
        """Whether a checkpoint puts chunks in a segment, or may do so."""
        if number == 0 and self.inline and frozen.cut > 0:
            return True
        return any(chunk // CHUNKS_PER_SEGMENT == number for chunk in frozen.chunks)

    def claim_inline(self) -> bool:
        """Have the frozen layer's data go to the entry; False if a segment was made for it already. Worker."""
        frozen = self.frozen
        assert frozen is not None
        with self.objects.lock:
            frozen.inlined = not frozen.fresh
            return frozen.inlined

    def frozen_segment(self, number: int) -> Segment:
        """The segment the checkpoint worker puts the frozen chunks of segment `number` in."""
        frozen = self.frozen
        assert frozen is not None
        with self.objects.lock:
            segment = frozen.fresh.get(number)
            if segment is None and number * CHUNKS_PER_SEGMENT < frozen.cut:
                segment = self.committed.get(number)
            return segment or self._new_segment(frozen, number)

    def freeze(self, settings: Settings) -> None:
        """Hand the active layer to a checkpoint; segments that are worn out or nearly empty will move."""
        self.frozen = self.active
        self.active = Layer()
        for number in {chunk // CHUNKS_PER_SEGMENT for chunk in self.frozen.chunks}:
            segment = self.segment(number)
            if segment is not None and segment.should_move(settings):
                self._new_segment(self.frozen, number, self.frozen.moved)

    def has_slots_for(self, segment: Segment, count: int) -> bool:
        """Whether `count` chunks may go to a segment at once; slots for what checkpoints may have to put there stay.

        The running one has at most as many as it has in memory, the next one as many as a segment has; and a node each.
        """
        taken = segment.taken + min(count, CHUNKS_PER_SEGMENT) + CHUNKS_PER_SEGMENT + 1
        if self.frozen is None or taken + CHUNKS_PER_SEGMENT < MAX_SLOTS:
            return taken <= MAX_SLOTS
        first = segment.number * CHUNKS_PER_SEGMENT
        chunks = self.frozen.chunks
        waiting = sum(isinstance(chunks.get(first + index), bytearray) for index in range(CHUNKS_PER_SEGMENT))
        return taken + waiting + 1 <= MAX_SLOTS

    def is_moving(self, number: int) -> bool:
        """Whether a running checkpoint moves a segment, so that no slots of it may be written now."""
        return self.frozen is not None and number in self.frozen.moved

    def adopt_references(self, references: dict[int, NodeReference]) -> None:
        """Take the references to all leaves."""
        assert self.key is not None
        for number, reference in references.items():
            self.committed[number] = Segment(
                self.objects, self.id, number, reference.object, self.key.key,
                created=True, seals=reference.seals, node=reference,
            )  # fmt: skip
        self.loaded = True

    @property
    def has_short_map(self) -> bool:
        """Whether the committed map stands in the entry as the leaf of a single segment."""
        first = self.committed.get(0)
        return first is not None and first.node is None

    def require_map(self) -> None:
        """Go on if the map's inner nodes are in memory; raises NotReady if they have to be read."""
        if not self.loaded:
            raise NeedIndex(self)

    def find(self, chunk: int) -> bytes | bytearray | SlotRef | None:
        """A chunk's data or slot, None for a hole; raises NotReady if the map has to be loaded."""
        for layer in (self.active, self.frozen):
            if layer is None:
                continue
            value = layer.chunks.get(chunk)
            if value is not None:
                return value
            if chunk >= layer.cut:
                return None
        return self.find_committed(chunk)

    def find_committed(self, chunk: int) -> bytes | SlotRef | None:
        """A chunk's committed slot or inline data, None for a hole; raises NotReady if the map has to be loaded."""
        self.require_map()
        if chunk == 0 and (data := self.inline):
            return data
        number, index = divmod(chunk, CHUNKS_PER_SEGMENT)
        segment = self.committed.get(number)
        if segment is None:
            return None
        if segment.leaf is None:
            raise NeedLeaf(self, segment)
        entry = leaf_entry(segment.leaf, index)
        return None if entry is None else SlotRef(segment, entry)

    def segment(self, number: int) -> Segment | None:
        """The segment new slots of segment `number` go to, None if it has to be made; raises NotReady."""
        for layer in (self.active, self.frozen):
            if layer is None:
                continue
            segment = layer.fresh.get(number)
            if segment is not None:
                return segment
            if number * CHUNKS_PER_SEGMENT >= layer.cut:
                return None
        self.require_map()
        segment = self.committed.get(number)
        if segment is not None and segment.leaf is None:
            raise NeedLeaf(self, segment)
        return segment

    def thaw(self, commit: "ContentCommit") -> None:
        """Take over what a checkpoint committed."""
        for segment, leaf in commit.leaves.items():
            if segment.leaf is None:
                segment.adopt_leaf(leaf.leaf)
            segment.leaf = leaf.leaf
            segment.node = leaf.node
        self.committed = commit.committed
        self.index = commit.index_segment
        self.inner = commit.inner
        self.level = commit.level
        self.stored = commit.stored
        self.section = commit.section
        self.frozen = None

    def set_slot(self, chunk: int, reference: SlotRef) -> bytearray | SlotRef | None:
        """Let a chunk stand in a slot; returns what the active layer had for it."""
        replaced = self.active.chunks.get(chunk)
        self.active.chunks[chunk] = reference
        return replaced

    def settle(self, through: int) -> None:
        """Count as durable what was written directly before the record `through` was appended."""
        self.unsynced = {segment: before for segment, before in self.unsynced.items() if before >= through}

    def fetch(self, chunk: int) -> None:
        """Have a chunk's data at hand for `overlay` if it stands in a slot; raises NotReady or Damaged."""
        found = self.find(chunk)
        if not isinstance(found, SlotRef):
            return
        if found.entry.tag in self.fetched:
            return
        data = read_chunk_cached(self.objects, chunk, found)
        if data is None:
            raise NeedChunk(self, chunk, found)
        self.keep_fetched(found.entry.tag, data)

    def keep_fetched(self, tag: bytes, data: bytearray) -> None:
        """Have a chunk's data at hand for `overlay`; a write has two partial chunks at most."""
        if len(self.fetched) > _FETCHED_CHUNKS:
            self.fetched.clear()
        self.fetched[tag] = data

    def beginning(self, chunk: int, size: int) -> bytes | None:
        """The first `size` bytes of a chunk whose data the active layer has in memory, or None."""
        value = self.active.chunks.get(chunk)
        return bytes(value[:size]).ljust(size, b"\0") if isinstance(value, bytearray) else None

    def overlay(self, chunk: int) -> tuple[bytearray, bytearray | SlotRef | None]:
        """(a chunk's data, to be changed in place, what the active layer had for it instead).

        Reads the chunk if it stands in a slot and was not fetched before; raises Damaged.
        """
        replaced = self.active.chunks.get(chunk)
        if isinstance(replaced, bytearray):
            return replaced, None
        found = self.find(chunk)
        if isinstance(found, SlotRef):
            fetched = self.fetched.pop(found.entry.tag, None)
            data = fetched if fetched is not None else read_chunk(self.objects, chunk, found)
        else:
            data = bytearray(found or b"")
        self.active.chunks[chunk] = data
        return data, replaced

    def allocated(self) -> int:
        """The bytes of chunk data there are, those not committed yet included; an estimate while they are not."""
        total = self.stored
        for layer in (self.frozen, self.active):
            if layer is None:
                continue
            if layer.cut != NO_CUT:
                total = min(total, layer.cut * self.objects.chunk_size)
            if len(layer.chunks) > _COUNTED_CHUNKS:
                # Each stat of a large file being written would cost milliseconds. Too much rather than too little:
                # the caller knows the file's size.
                total += len(layer.chunks) * self.objects.chunk_size
                continue
            for chunk, value in layer.chunks.items():
                total += len(value) if isinstance(value, bytearray) else value.entry.length
                if self.section and chunk < layer.cut:
                    total -= self._committed_length(chunk)
        return max(total, 0)

    def _committed_length(self, chunk: int) -> int:
        if chunk == 0 and (data := self.inline):
            return len(data)
        number, index = divmod(chunk, CHUNKS_PER_SEGMENT)
        segment = self.committed.get(number)
        entry = leaf_entry(segment.leaf, index) if segment is not None and segment.leaf is not None else None
        return entry.length if entry is not None else 0

    @property
    def changed(self) -> bool:
        """Whether anything here waits for a checkpoint."""
        return self.frozen is not None or not self.active.empty


class LeafCommit(NamedTuple):
    """A segment's new leaf, and where it was written if it has a slot of its own."""

    leaf: bytes
    node: NodeReference | None


class ContentCommit(NamedTuple):
    """What `FileContent.thaw` takes over, and what may be let go then."""

    content: FileContent
    section: bytes
    committed: dict[int, Segment]
    leaves: dict[Segment, LeafCommit]
    index_segment: Segment | None
    inner: dict[tuple[int, int], NodeReference]
    level: int
    stored: int
    let_go_slots: list[tuple[Segment, int]]
    let_go_segments: list[Segment]


class NeedIndex(NotReady):
    """A large file's inner map nodes have to be read."""

    def __init__(self, content: FileContent) -> None:
        super().__init__(content.id)
        self._content = content
        self._section = content.section
        self._loaded: LoadedIndex | None = None
        self._error: Damaged | None = None

    def prepare(self) -> None:
        """Read all inner nodes."""
        try:
            self._loaded = load_index(self._content, self._section)
        except Damaged as error:
            self._error = error

    def install(self) -> None:
        """Take them over, unless a checkpoint wrote others meanwhile; raises Damaged."""
        if self._content.loaded or self._content.section != self._section or self._content.forgotten:
            return
        if self._error is not None:
            raise self._error
        assert self._loaded is not None
        self._content.index = self._loaded.index_segment
        self._content.inner = self._loaded.inner
        self._content.adopt_references(self._loaded.leaves)


class NeedLeaf(NotReady):
    """A segment's leaf has to be read."""

    def __init__(self, content: FileContent, segment: Segment) -> None:
        super().__init__(segment.path)
        self.segment = segment
        self._content = content
        self._leaf = b""
        self._error: Damaged | None = None

    @property
    def size(self) -> int | None:
        """The leaf's length."""
        return None if self.segment.node is None else self.segment.node.length

    def prepare(self) -> None:
        """Read the leaf."""
        try:
            self._leaf = self.segment.load_node()
        except Damaged as error:
            self._error = error

    def install(self) -> None:
        """Take it over; raises Damaged."""
        if self.segment.leaf is not None or self._content.forgotten:
            return
        if self._error is not None:
            raise self._error
        self.segment.adopt_leaf(self._leaf)


class NeedChunk(NotReady):
    """A chunk's data has to be read before a part of it can change."""

    def __init__(self, content: FileContent, chunk: int, reference: SlotRef) -> None:
        super().__init__(content.id)
        self._content = content
        self._chunk = chunk
        self._reference = reference
        self._data = bytearray()
        self._error: Damaged | None = None

    @property
    def size(self) -> int | None:
        """The chunk's length."""
        return self._reference.entry.length

    def prepare(self) -> None:
        """Read the chunk."""
        try:
            self._data = read_chunk(self._content.objects, self._chunk, self._reference)
        except Damaged as error:
            self._error = error

    def install(self) -> None:
        """Keep it for the change; raises Damaged unless the chunk moved meanwhile."""
        if self._content.forgotten:
            return
        if self._error is not None:
            found = self._content.find(self._chunk)
            if isinstance(found, SlotRef) and found.entry == self._reference.entry:
                raise self._error
            return
        self._content.keep_fetched(self._reference.entry.tag, self._data)


def read_chunk(objects: Objects, chunk: int, reference: SlotRef) -> bytearray:
    """A chunk's data from its slot; raises Damaged."""
    entry = reference.entry
    stored = objects.read_slot(reference.segment.path, entry.slot, entry.length)
    return reference.segment.open_chunk(chunk, entry, stored)


def read_chunk_cached(objects: Objects, chunk: int, reference: SlotRef) -> bytearray | None:
    """A chunk's data if its slot is in the page cache, else None; raises Damaged."""
    entry = reference.entry
    stored = objects.read_slot_cached(reference.segment.path, entry.slot, entry.length)
    return None if stored is None else reference.segment.open_chunk(chunk, entry, stored)


class LoadedIndex(NamedTuple):
    """A large file's inner nodes, their segment, and the references to all leaves."""

    index_segment: Segment
    inner: dict[tuple[int, int], NodeReference]
    leaves: dict[int, NodeReference]


def load_index(content: FileContent, section: bytes) -> LoadedIndex:
    """Read the inner map nodes a content section refers to, level by level; raises Damaged."""
    tree = decode_content(section).map
    assert isinstance(tree, TreeMap) and content.key is not None
    index = Segment(
        content.objects, content.id, INDEX_SEGMENT, tree.index_object, content.key.key,
        created=True, seals=tree.index_seals,
    )  # fmt: skip
    inner: dict[tuple[int, int], NodeReference] = {}
    references = dict(tree.references)
    for level in range(tree.level, 0, -1):
        below: dict[int, NodeReference] = {}
        for number, reference in references.items():
            if reference.object != index.name:
                raise Damaged("an inner map node is in another file's object")
            stored = content.objects.read_slot(index.path, reference.slot, reference.length)
            children = decode_node(index.open_node(node_number(level, number), reference, stored))
            if any(child // NODE_REFERENCES != number for child, _ in children):
                raise Damaged("an inner map node has another node's children")
            below.update(children)
            inner[level, number] = reference
        references = below
    if any(reference.slot >= MAX_SLOTS for reference in inner.values()):
        raise Damaged("an inner map node stands in a slot no segment has")
    index.adopt_slots({reference.slot for reference in inner.values()})
    return LoadedIndex(index, inner, references)
