"""One segment object in memory: which slots are taken, its ciphers, and how it is written and read."""

import contextlib
import heapq
import threading
from collections.abc import Sequence

from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    MAX_SLOTS,
    OBJECT_HEADER_SIZE,
    OBJECT_SEGMENT,
    SLOT_OVERHEAD,
)
from vaultfs.format.layout import object_path, slot_offset, slot_size
from vaultfs.sealing.maps import MapEntry, NodeReference, check_leaf, leaf_entries
from vaultfs.sealing.objects import ObjectHeader, seal_object_header
from vaultfs.sealing.slots import Buffer
from vaultfs.vault.objects import Objects, SlotCiphers, lost
from vaultfs.vault.settings import Settings

KEY_EPOCH = 1


class Segment:
    """Slots are taken lowest first and given back only once no root and no journal can name them.

    `leaf` is the committed leaf (None: not loaded yet), `node` where that leaf is stored, if it has a slot of its
    own. Allocation may happen on the owner thread and in the checkpoint worker at once.
    """

    __slots__ = (
        "_free", "_lock", "_objects", "created", "end", "inode_id", "key", "leaf", "name", "node",
        "number", "path", "seals",
    )  # fmt: skip

    def __init__(
        self, objects: Objects, inode_id: int, number: int, name: bytes, key: bytes,
        *, created: bool, seals: int = 0, leaf: bytes | None = None, node: NodeReference | None = None,
    ) -> None:  # fmt: skip
        self.inode_id = inode_id
        self.number = number
        self.name = name
        self.key = key
        self.path = object_path(name)
        self._objects = objects
        self.created = created
        self.seals = seals
        self.leaf = leaf
        self.node = node
        self.end = 0
        self._free: list[int] = []
        self._lock = threading.Lock()
        if leaf is not None:
            self.adopt_leaf(leaf)

    @property
    def _ciphers(self) -> SlotCiphers:
        return self._objects.slot_ciphers(self.name, self.key)

    def adopt_leaf(self, leaf: bytes) -> None:
        """Take a committed leaf just loaded; every slot it does not name, below the last, is free."""
        self.leaf = leaf
        used = {entry.slot for _, entry in leaf_entries(leaf)}
        if self.node is not None:
            used.add(self.node.slot)
        self.adopt_slots(used)

    def adopt_slots(self, used: set[int]) -> None:
        """Count the given slots as taken and all others below the highest as free."""
        self.leaf = self.leaf or b""
        self.end = max(used) + 1 if used else 0
        self._free = [slot for slot in range(self.end) if slot not in used]

    def reserve(self, slot: int) -> None:
        """Count a slot as taken that a replayed record names; raises Damaged for one no segment has."""
        if slot >= MAX_SLOTS:
            raise Damaged("a journal record names a slot no segment has")
        with self._lock:
            while self.end <= slot:
                heapq.heappush(self._free, self.end)
                self.end += 1
            if slot in self._free:
                self._free.remove(slot)
                heapq.heapify(self._free)

    def allocate(self, count: int) -> list[int]:
        """The lowest slots that are free."""
        assert self.leaf is not None, "which slots are free is only known with the leaf"
        with self._lock:
            self.seals += count
            slots = [heapq.heappop(self._free) for _ in range(min(count, len(self._free)))]
            begin = self.end
            self.end += count - len(slots)
            return slots + list(range(begin, self.end))

    @property
    def taken(self) -> int:
        """How many slots are not free."""
        with self._lock:
            return self.end - len(self._free)

    def release(self, slot: int) -> None:
        """Give a slot back."""
        with self._lock:
            heapq.heappush(self._free, slot)

    def cut_tail(self) -> bool:
        """Forget the free slots at the end; True if there were any, so that the object may be cut."""
        with self._lock:
            free = set(self._free)
            end = self.end
            while end and end - 1 in free:
                end -= 1
            if end == self.end:
                return False
            self.end = end
            self._free = sorted(slot for slot in free if slot < end)
            return True

    def should_move(self, settings: Settings) -> bool:
        """Whether the object is mostly free slots, or its key has sealed about as much as a key should."""
        taken = self.end - len(self._free)
        return self.seals >= settings.seals_per_object or (
            self.end > settings.compaction_slots and taken * 4 < self.end
        )

    def write(self, slot: int, buffers: Sequence[Buffer]) -> None:
        """Write from a slot on, making the object with its header first if it is not there yet.

        Raises OSError, or Damaged if it was there and is lost.
        """
        objects = self._objects
        offset = slot_offset(slot, objects.chunk_size)
        if not self.created:
            with self._lock:
                if not self.created:
                    self._create(buffers if offset == OBJECT_HEADER_SIZE else [])
                    if offset == OBJECT_HEADER_SIZE:
                        return
        try:
            objects.handles.write(self.path, buffers, offset)
        except FileNotFoundError as error:
            if not objects.replaces_lost:
                raise lost(self.path) from error
            with self._lock:
                self._create([])
            objects.handles.write(self.path, buffers, offset)

    def write_over(self, slot: int, data: memoryview, size: int, page: int) -> None:
        """Write the first `size` bytes of `data`, which has a page of bytes more, from a slot on; raises OSError.

        Where there are slots behind them already, what follows in `data` is written as well, up to the end of the page:
        the kernel would have to read the rest of that page first, and wait for a disk that is busy writing. Nothing but
        their own slot's rest, and a slot that is free, is overwritten that way.
        """
        stride = slot_size(self._objects.chunk_size)
        offset = slot_offset(slot, self._objects.chunk_size)
        following = slot + -(-size // stride)
        rest = -(offset + size) % page
        with self._lock:  # nobody may take the following slot, and write to it, meanwhile
            if self.created and following < self.end:
                room = (following - slot) * stride - size
                if rest > room and self._free and self._free[0] == following:
                    room += stride
                if rest <= room:
                    size += rest
                self._objects.handles.write(self.path, [data[:size]], offset)
                return
        self.write(slot, [data[:size]])

    def make(self) -> None:
        """Make the object with nothing but its header, unless it is there; raises OSError."""
        with self._lock:
            if not self.created:
                self._create([])

    def _create(self, buffers: Sequence[Buffer]) -> None:
        """Make the object with its header, and what follows that, in one write; all of it or nothing."""
        objects = self._objects
        header = ObjectHeader(OBJECT_SEGMENT, self.inode_id, self.number, objects.generation, self.key)
        sealed = seal_object_header(objects.context, self.name, header, KEY_EPOCH)
        objects.handles.create(self.path)
        try:
            objects.handles.write(self.path, [sealed, *buffers], 0)
        except OSError:
            objects.handles.drop(self.path)
            objects.store.delete(self.path)
            raise
        self.created = True

    def truncate(self) -> None:
        """Cut the object, unless it is missing, behind its last slot; what goes is free. Raises OSError."""
        objects = self._objects
        with contextlib.suppress(FileNotFoundError):
            objects.handles.truncate(self.path, slot_offset(self.end, objects.chunk_size))

    def load_node(self) -> bytes:
        """The committed leaf, from its slot; raises Damaged."""
        node = self.node
        if node is None:
            raise Damaged("a map leaf has no slot of its own any more")
        stored = self._objects.read_slot(self.path, node.slot, node.length)
        return check_leaf(self.open_node(node_number(0, self.number), node, stored), self._objects.chunk_size)

    def seal_chunk(self, slot: int, generation: int, number: int, data: Buffer) -> tuple[bytes, bytes, bytes]:
        """(nonce, ciphertext ‖ tag, tag) of a chunk for a slot; `number` counts chunks in the file."""
        return self._ciphers.chunks.seal(slot, generation, number, data)

    def seal_chunks_into(
        self, slots: Sequence[int], generation: int, number: int, data: Sequence[Buffer], out: memoryview
    ) -> list[bytes]:
        """Seal chunks from `number` on for these slots, one behind the other, into `out`; returns their tags."""
        return self._ciphers.chunks.seal_into(slots, generation, number, data, out)

    def seal_node(self, slot: int, generation: int, number: int, data: bytes) -> tuple[bytes, bytes, bytes]:
        """(nonce, ciphertext ‖ tag, tag) of a map node for a slot."""
        return self._ciphers.nodes.seal(slot, generation, number, data)

    def open_chunk_into(self, number: int, entry: MapEntry, stored: memoryview, out: memoryview) -> None:
        """Decrypt a chunk into `out`, of the entry's length plus the trailer's; raises Damaged."""
        if len(stored) != entry.length + SLOT_OVERHEAD:
            raise Damaged("a chunk is cut short")
        self._ciphers.chunks.open_into(entry.slot, number, entry.tag, stored, out)

    def open_chunk(self, number: int, entry: MapEntry, stored: Buffer) -> bytearray:
        """A chunk's data; raises Damaged."""
        if len(stored) != entry.length + SLOT_OVERHEAD:
            raise Damaged("a chunk is cut short")
        return self._ciphers.chunks.open(entry.slot, number, entry.tag, stored)

    def open_node(self, number: int, reference: NodeReference, stored: bytes) -> bytes:
        """A map node's data; raises Damaged."""
        if len(stored) != reference.length + SLOT_OVERHEAD:
            raise Damaged("a map node is cut short")
        return bytes(self._ciphers.nodes.open(reference.slot, number, reference.tag, stored))


class SlotRef:
    """Where a chunk stands: its segment and its map entry."""

    __slots__ = ("entry", "segment")

    def __init__(self, segment: Segment, entry: MapEntry) -> None:
        self.segment = segment
        self.entry = entry


def node_number(level: int, index: int) -> int:
    """The number sealed in a map node: its level and its index there."""
    return level << 56 | index
