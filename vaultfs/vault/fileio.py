"""Reading, writing and truncating files: decides what goes straight to a slot and what through the journal."""

import contextlib
import stat
from collections.abc import Iterator

from vaultfs.errors import FilesystemError, InvalidArgument, IsADirectory, TooLarge, WriteFailed
from vaultfs.format.constants import CHUNKS_PER_SEGMENT, MAX_FILE_SIZE, SLOT_OVERHEAD
from vaultfs.format.layout import slot_size
from vaultfs.sealing.records import Direct, SetAttributes, SetXattr, Truncate, Write
from vaultfs.vault.content import FileContent
from vaultfs.vault.core import Core
from vaultfs.vault.inode import Inode
from vaultfs.vault.segment import Segment
from vaultfs.vault.state import State
from vaultfs.vault.syncing import SyncPlan

_RECORD_ROOM = 512
MAX_WRITE = 2 << 20
# Nanoseconds: two ticks of the slowest clock by which a kernel stamps files. A write that comes so soon after the last
# change may have been stamped within the same tick, and then nobody says so again.
_TICKS = 20_000_000
CAPABILITY = b"security.capability"


def regular(inode: Inode) -> Inode:
    """The inode, if it has content; raises IsADirectory or InvalidArgument."""
    if stat.S_ISREG(inode.mode):
        return inode
    if stat.S_ISDIR(inode.mode):
        raise IsADirectory("a directory has no content to read or write")
    raise InvalidArgument("only regular files have content")


def without_set_id(mode: int) -> int:
    """A mode as a change of content leaves it: no set-user-ID, and no set-group-ID where it means that."""
    if mode & stat.S_ISUID:
        mode &= ~stat.S_ISUID
    if mode & stat.S_ISGID and mode & stat.S_IXGRP:
        mode &= ~stat.S_ISGID
    return mode


def drop_capability(core: Core, inode: Inode) -> None:
    """A file whose content changes loses its capabilities (capabilities(7))."""
    if CAPABILITY in inode.xattrs:
        core.commit(SetXattr(inode.id, inode.mode, core.now(), CAPABILITY, None))


def write(core: Core, inode_id: int, offset: int, data: bytes, keep_times: bool) -> int:
    """Write bytes at an offset and return how many, MAX_WRITE at most, so that one record can hold them all.

    With `keep_times` the mtime and ctime stay, as they do if they are those of a moment ago.
    Raises FilesystemError or NotReady, and then nothing changed.
    """
    data = data[:MAX_WRITE]
    core.admit(len(data) + _RECORD_ROOM)
    inode = regular(core.state.inode(inode_id))
    end = offset + len(data)
    if end > MAX_FILE_SIZE:
        raise TooLarge("the file would be larger than the format allows")
    if not data:
        return 0
    drop_capability(core, inode)
    content = core.state.content(inode)
    plan = _plan_write(core, content, inode.size, offset, data)
    mtime, ctime = _times(core, inode, keep_times)
    before = core.journal.sequence
    try:
        direct = _write_direct(core, content, plan.direct)
        wrapped_key = content.key.wrapped if direct and content.key is not None else b""
        size, mode = max(inode.size, end), without_set_id(inode.mode)
        core.commit(Write(inode_id, size, mode, mtime, wrapped_key, tuple(direct), tuple(plan.patches)))
    except Exception:
        # Nothing that interrupts from outside: it may come when the map names the slots already.
        _give_back(core, content, plan.direct)
        raise
    content.unsynced.update(dict.fromkeys([run.segment for run in plan.direct], before))
    _set_ctime(core, inode, mode, mtime, ctime)
    return len(data)


def _times(core: Core, inode: Inode, keep: bool) -> tuple[int, int]:
    """(mtime, ctime) after a change of content."""
    known = inode.mtime, inode.ctime
    if keep:
        return known
    now = core.now()
    # The kernel's stamps may be ahead of the clock it shows, by a tick (multigrain timestamps).
    return known if inode.mtime == inode.ctime and abs(now - inode.mtime) <= _TICKS else (now, now)


def _set_ctime(core: Core, inode: Inode, mode: int, mtime: int, ctime: int) -> None:
    """After a record that has one time for both; that a ctime could not be kept does not undo the change."""
    if ctime != mtime:
        with contextlib.suppress(FilesystemError):
            core.commit(SetAttributes(inode.id, mode, inode.uid, inode.gid, inode.atime, mtime, ctime))


class _Run:
    """Whole chunks that follow one another, on their way to slots of one segment."""

    __slots__ = ("chunk", "data", "segment", "slots")

    def __init__(self, chunk: int, segment: Segment) -> None:
        self.chunk = chunk
        self.segment = segment
        self.data: list[memoryview] = []
        self.slots: list[int] = []

    def stretches(self) -> Iterator[tuple[int, int]]:
        """(first, end) of the chunks, as indices, whose slots follow one another."""
        first = 0
        for index in range(1, len(self.slots) + 1):
            if index == len(self.slots) or self.slots[index] != self.slots[index - 1] + 1:
                yield first, index
                first = index


class _WritePlan:
    __slots__ = ("_run", "_segment", "direct", "patches")

    def __init__(self) -> None:
        self.direct: list[_Run] = []
        self.patches: list[tuple[int, bytes]] = []
        self._segment = -1
        self._run: _Run | None = None

    def run(self, content: FileContent, chunk: int) -> _Run | None:
        """Where a whole chunk goes, None for the journal; raises NotReady. Chunks are asked for in their order."""
        number = chunk // CHUNKS_PER_SEGMENT
        if number != self._segment:
            self._segment, self._run = number, None
            segment = None if content.is_moving(number) else _present(content, content.writable_segment(number))
            if segment is not None and content.has_slots_for(segment, MAX_WRITE // content.objects.chunk_size):
                self._run = _Run(chunk, segment)
                self.direct.append(self._run)
        return self._run


def _present(content: FileContent, segment: Segment | None) -> Segment | None:
    """A segment whose object is there, if it should be; raises Damaged: no checkpoint could write to it."""
    if segment is not None and segment.created:
        content.objects.open(segment.path)
    return segment


def _plan_write(core: Core, content: FileContent, size: int, offset: int, data: bytes) -> _WritePlan:
    """Divide a write by chunks, and have everything in memory that applying it will need.

    Of a stream the kernel writes out pieces that end somewhere in a chunk. The bytes of that chunk are kept in memory
    and in the journal until the next piece completes it: it goes to one slot, once, before those that follow.
    """
    plan = _WritePlan()
    chunk_size = core.objects.chunk_size
    view = memoryview(data)
    position = offset
    end = offset + len(data)
    stream = offset > 0 and len(data) >= core.settings.stream_minimum
    goes_on = stream and end % core.settings.page_size == 0
    if content.has_short_map:
        _present(content, content.segment(0))  # its leaf may outgrow the entry, and go there
    while position < end:
        chunk, start = divmod(position, chunk_size)
        stop = min(chunk_size, start + end - position)
        piece = view[position - offset : position - offset + stop - start]
        beginning = content.beginning(chunk, start) if stream and start and stop == chunk_size else None
        covered = start == 0 and stop >= min(chunk_size, size - position)
        whole = covered or beginning is not None
        large = stop == chunk_size or (stop >= core.settings.direct_minimum and not goes_on)
        run = plan.run(content, chunk) if whole and large else None
        if run is not None:
            run.data.append(memoryview(beginning + piece) if beginning else piece)
        else:
            _present(content, content.segment(chunk // CHUNKS_PER_SEGMENT))
            if not whole:
                content.fetch(chunk)
            plan.patches.append((position, bytes(piece)))
        position += stop - start
    return plan


def _write_direct(core: Core, content: FileContent, runs: list[_Run]) -> list[Direct]:
    """Seal whole chunks into free slots, neighbours in one write; nothing names them until the record does."""
    direct: list[Direct] = []
    for run in runs:
        segment, run.slots = run.segment, run.segment.allocate(len(run.data))
        tags = _seal_and_write(core, run)
        direct += [
            Direct(run.chunk + index, segment.name, slot, len(data), tag)
            for index, (slot, data, tag) in enumerate(zip(run.slots, run.data, tags, strict=True))
        ]
        core.state.active.direct_bytes += len(run.data) * slot_size(core.objects.chunk_size)
    return direct


def _seal_and_write(core: Core, run: _Run) -> list[bytes]:
    """Put a run's chunks into its slots; their tags."""
    page = core.settings.page_size
    stride = slot_size(core.objects.chunk_size)
    segment = run.segment
    sealed = core.scratch.take(len(run.data) * stride + page)
    tags: list[bytes] = []
    try:
        for first, end in run.stretches():
            slots, data = run.slots[first:end], run.data[first:end]
            tags += segment.seal_chunks_into(slots, core.objects.generation, run.chunk + first, data, sealed)
            size = sum(map(len, data)) + len(data) * SLOT_OVERHEAD
            segment.write_over(slots[0], sealed, size, page)
    except OSError as error:
        raise core.fail("a file's content could not be written", error) from error
    return tags


def _give_back(core: Core, content: FileContent, runs: list[_Run]) -> None:
    """Free the slots no record names; the next checkpoint takes care of segments made for them."""
    for run in runs:
        for slot in run.slots:
            run.segment.release(slot)
    if runs:
        core.state.changed_content(core.state.edit(content.id))


def truncate(core: Core, inode_id: int, size: int, keep_times: bool = False) -> None:
    """Set a file's size, with `keep_times` as in `write`; raises FilesystemError or NotReady, and nothing changed."""
    if size < 0:
        raise InvalidArgument("a size is not negative")
    admit_truncation(core, inode_id, size)
    inode = regular(core.state.inode(inode_id))
    if size > MAX_FILE_SIZE:
        raise TooLarge("the file would be larger than the format allows")
    content = core.state.content(inode)
    chunk, rest = divmod(size, core.objects.chunk_size)
    content.require_map()
    kept = chunk + bool(rest)
    if kept % CHUNKS_PER_SEGMENT:
        segment = content.segment(kept // CHUNKS_PER_SEGMENT)
        if size < inode.size:
            _present(content, segment)
    if rest and size < inode.size:
        content.segment(chunk // CHUNKS_PER_SEGMENT)
        content.fetch(chunk)
    drop_capability(core, inode)
    mode = without_set_id(inode.mode)
    mtime, ctime = _times(core, inode, keep_times)
    core.commit(Truncate(inode_id, size, mode, mtime))
    _set_ctime(core, inode, mode, mtime, ctime)


def admit_truncation(core: Core, inode_id: int, size: int) -> None:
    """Let a change of size begin, as `Core.admit` does; where whole chunks go, as little is needed as for deleting."""
    known = core.state.find_inode(inode_id)
    if known is not None and size < known.size and not size % core.objects.chunk_size:
        core.admit_removal()
    else:
        core.admit(_RECORD_ROOM)


def blocks(state: State, inode: Inode) -> int:
    """An inode's allocated size in 512-byte units (stat(2)); only chunks that hold data count."""
    if not stat.S_ISREG(inode.mode):
        return 0
    content = state.contents.get(inode.id)
    stored = content.allocated() if content is not None else inode.stored
    return blocks_of(stored, inode.size)


def blocks_of(stored: int, size: int) -> int:
    """The 512-byte units that `stored` bytes of chunks occupy in a file of `size` bytes."""
    return -(-min(stored, -(-size // 4096) * 4096) // 512)


def begin_sync(core: Core, inode_id: int | None) -> SyncPlan:
    """Plan an fsync; raises WriteFailed if something could not be written, before or now, or NoSpace."""
    if core.write_failed:
        raise WriteFailed(core.read_only_reason)
    core.write_out()
    return SyncPlan(core, inode_id)
