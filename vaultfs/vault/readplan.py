"""A read, planned on the owner thread and carried out in any: which slots and which bytes make up the answer."""

from vaultfs.errors import Damaged
from vaultfs.format.constants import SLOT_TRAILER_SIZE
from vaultfs.format.layout import slot_offset, slot_size
from vaultfs.sealing.maps import MapEntry
from vaultfs.sealing.slots import stored_slot_size
from vaultfs.store.api import StoreFile
from vaultfs.vault.content import FileContent
from vaultfs.vault.fileio import regular
from vaultfs.vault.objects import Objects
from vaultfs.vault.scratch import ReadBuffers, Scratch
from vaultfs.vault.segment import Segment, SlotRef
from vaultfs.vault.state import State


class _Slots:
    """Neighbouring slots that are read at once: chunks from `chunk` on, one map entry each."""

    __slots__ = ("chunk", "entries", "segment")

    def __init__(self, segment: Segment, chunk: int, entry: MapEntry) -> None:
        self.segment = segment
        self.chunk = chunk
        self.entries = [entry]

    def follows(self, segment: Segment, chunk: int, entry: MapEntry, chunk_size: int) -> bool:
        """Whether a slot stands right behind these, full ones all."""
        last = self.entries[-1]
        return (
            segment is self.segment
            and chunk == self.chunk + len(self.entries)
            and entry.slot == last.slot + 1
            and last.length == chunk_size
        )

    def stored_size(self, chunk_size: int) -> int:
        """The bytes from the first slot's beginning to the last one's end."""
        return (len(self.entries) - 1) * slot_size(chunk_size) + stored_slot_size(self.entries[-1].length)


class _Bytes:
    """Bytes that are in memory; None stands for zeros. They begin at file offset `offset`."""

    __slots__ = ("data", "offset")

    def __init__(self, offset: int, data: bytes | None) -> None:
        self.offset = offset
        self.data = data


class ReadPlan:
    """`offset` and `size` are bytes; the size is already cut at the end of the file."""

    __slots__ = ("_objects", "_parts", "inode_id", "offset", "size")

    def __init__(self, objects: Objects, inode_id: int, offset: int, size: int) -> None:
        self._objects = objects
        self._parts: list[_Slots | _Bytes] = []
        self.inode_id = inode_id
        self.offset = offset
        self.size = size

    def gather(self, content: FileContent) -> None:
        """Find where every chunk is; raises NotReady. Owner thread."""
        chunk_size = self._objects.chunk_size
        end = self.offset + self.size
        for chunk in range(self.offset // chunk_size, -(-end // chunk_size)):
            found = content.find(chunk)
            if isinstance(found, SlotRef):
                self._add_slot(found, chunk, chunk_size)
            else:
                start = max(self.offset - chunk * chunk_size, 0)
                stop = end - chunk * chunk_size
                data = bytes(found[start:stop]) if found is not None else None
                self._parts.append(_Bytes(chunk * chunk_size + start, data))

    def _add_slot(self, found: SlotRef, chunk: int, chunk_size: int) -> None:
        last = self._parts[-1] if self._parts else None
        if isinstance(last, _Slots) and last.follows(found.segment, chunk, found.entry, chunk_size):
            last.entries.append(found.entry)
        else:
            self._parts.append(_Slots(found.segment, chunk, found.entry))

    def run(self) -> memoryview:
        """The bytes, in memory that is the caller's alone. Any thread; raises Damaged."""
        data = self._run(ReadBuffers(), True)
        assert data is not None
        return data

    def run_cached(self, buffers: ReadBuffers) -> memoryview | None:
        """The bytes, until the buffers are used again; None if the disk has to be waited for. Raises Damaged."""
        return self._run(buffers, False)

    def _run(self, buffers: ReadBuffers, wait: bool) -> memoryview | None:
        # Slots are decrypted where they belong in the answer; each leaves its trailer in the next one's place. No byte
        # of the answer may be left as it was: another file's may have been there.
        view = buffers.answer.take(self.size + SLOT_TRAILER_SIZE)
        for part in self._parts:
            if isinstance(part, _Bytes):
                self._place(view, part)
            elif not self._read(view, part, buffers, wait):
                return None
        return view[: self.size]

    @property
    def is_in_memory(self) -> bool:
        """Whether nothing of it has to be read from a slot."""
        return not any(isinstance(part, _Slots) for part in self._parts)

    def read_ahead(self) -> None:
        """Have what it reads from slots brought in, without waiting. Any thread."""
        chunk_size = self._objects.chunk_size
        for part in self._parts:
            if isinstance(part, _Slots):
                offset = slot_offset(part.entries[0].slot, chunk_size)
                self._objects.handles.read_ahead(part.segment.path, part.stored_size(chunk_size), offset)

    def _place(self, view: memoryview, part: _Bytes) -> None:
        start = part.offset - self.offset
        chunk_size = self._objects.chunk_size
        stop = min(start + chunk_size - part.offset % chunk_size, self.size)
        data = part.data or b""
        view[start : start + len(data)] = data
        view[start + len(data) : stop] = bytes(stop - start - len(data))

    def _read(self, view: memoryview, part: _Slots, buffers: ReadBuffers, wait: bool) -> bool:
        chunk_size = self._objects.chunk_size
        stride = slot_size(chunk_size)
        size = part.stored_size(chunk_size)
        file = self._objects.open(part.segment.path)
        position = slot_offset(part.entries[0].slot, chunk_size)
        try:
            slots = _stored(file, size, position, None if wait else buffers.stored)
        except OSError as error:
            raise Damaged(f"object {part.segment.path} cannot be read: {error.strerror}") from error
        if slots is None:
            return False
        for number, entry in enumerate(part.entries):
            begin = number * stride
            slot = slots[begin : begin + stored_slot_size(entry.length)]
            self._decrypt(view, part.segment, part.chunk + number, entry, slot, buffers)
        return True

    def _decrypt(
        self, view: memoryview, segment: Segment, chunk: int, entry: MapEntry, slot: memoryview, buffers: ReadBuffers
    ) -> None:
        chunk_size = self._objects.chunk_size
        first = chunk * chunk_size
        start = first - self.offset
        if start >= 0 and start + entry.length <= self.size:
            segment.open_chunk_into(chunk, entry, slot, view[start : start + entry.length + SLOT_TRAILER_SIZE])
            stop = start + entry.length
        else:
            data = buffers.chunk.take(entry.length + SLOT_TRAILER_SIZE)
            segment.open_chunk_into(chunk, entry, slot, data)
            skip = max(-start, 0)
            start = max(start, 0)
            piece = data[skip : min(skip + self.size - start, entry.length)]
            stop = start + len(piece)
            view[start:stop] = piece
        # A chunk shorter than its place, in a file that was made longer, goes on with zeros.
        rest = min(first + chunk_size - self.offset, self.size)
        if rest > stop:
            view[stop:rest] = bytes(rest - stop)

    def places(self) -> list[tuple[int, int, bytes]]:
        """(chunk, slot, tag) of everything read from slots, to tell whether a second plan differs."""
        return [
            (part.chunk + number, entry.slot, entry.tag)
            for part in self._parts
            if isinstance(part, _Slots)
            for number, entry in enumerate(part.entries)
        ]


def _stored(file: StoreFile, size: int, offset: int, cached: Scratch | None) -> memoryview | None:
    """What stands there; with a buffer for what is cached, None instead of waiting for the disk."""
    if cached is None:
        return memoryview(file.read(size, offset))
    buffer = cached.take(size)
    done = file.read_cached(buffer, offset)
    return None if done is None else buffer[:done]


def read_plan(state: State, inode_id: int, offset: int, size: int) -> ReadPlan:
    """Plan a read; raises FilesystemError or NotReady. Owner thread."""
    inode = regular(state.inode(inode_id))
    plan = ReadPlan(state.objects, inode_id, offset, max(min(size, inode.size - offset), 0))
    if plan.size:
        plan.gather(state.content(inode))
    return plan


def reread(state: State, plan: ReadPlan) -> ReadPlan | None:
    """A plan to try after Damaged, if what the first one read has moved meanwhile; raises NotReady."""
    again = read_plan(state, plan.inode_id, plan.offset, plan.size)
    return again if again.places() != plan.places() else None


