"""The thorough check: every chunk is read and verified, by several threads, in the order of the slots.

Authenticated decryption and reading release Python's lock, so threads use more than one core and keep the disk busy.
"""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from vaultfs.check.committed import CommittedTree, Gone, Place
from vaultfs.check.cursor import Cursor, cursor_of
from vaultfs.check.diagnosis import diagnose_slot, object_size
from vaultfs.check.findings import Kind, Report, warning
from vaultfs.check.structure import (
    Trouble,
    chunk_troubles,
    finding_of,
    index_name,
    leaf_of,
    load_map,
    segment_trouble,
)
from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    CHUNKS_PER_SEGMENT,
    INDEX_SEGMENT,
    OBJECT_DIRECTORY,
    OBJECT_HEADER_SIZE,
    OBJECT_SEGMENT,
    SLOT_TRAILER_SIZE,
)
from vaultfs.format.layout import object_path, slot_offset, slot_size
from vaultfs.sealing.entries import Entry, decode_head
from vaultfs.sealing.maps import MapEntry, decode_content
from vaultfs.sealing.objects import open_object_header
from vaultfs.sealing.slots import stored_slot_size
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import Segment

_RUN_BYTES = 2 << 20
_BATCH_BYTES = 8 << 20
_BATCH_RUNS = 64
_BATCHES_AHEAD = 4  # for each thread

Entries = list[tuple[int, MapEntry]]


class Run(NamedTuple):
    """Neighbouring slots of one segment, and the file they belong to; the first run of a segment has its header."""

    place: Place
    entry: Entry
    segment: Segment
    entries: Entries
    first: bool


class Batch(NamedTuple):
    """Work for one thread; once it is done, everything up to `after` is."""

    runs: list[Run]
    size: int
    after: Cursor | None


class Pace:
    """Keeps to a rate of so many bytes a second; None is no limit."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._due = time.monotonic()

    def spend(self, size: int) -> None:
        """Wait until `size` more bytes are due."""
        if self._rate:
            time.sleep(max(self._due - time.monotonic(), 0))
            self._due = max(self._due, time.monotonic()) + size / self._rate


class DataCheck:
    """Takes inodes one after the other; `progress` is told (bytes verified, up to where everything is done).

    `folders` are the first bytes of the names of the objects to check, None for all; `rate` is bytes a second.
    """

    def __init__(
        self,
        tree: CommittedTree,
        report: Report,
        progress: Callable[[int, Cursor | None], None],
        folders: frozenset[int] | None = None,
        rate: int | None = None,
    ) -> None:
        self._tree = tree
        self._report = report
        self._progress = progress
        self._folders = folders
        self._pace = Pace(rate)
        self._threads = max(2, min(os.cpu_count() or 1, 8))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="vaultfs-check")
        self._running: deque[tuple[Batch, Future[list[Run]]]] = deque()
        self._runs: list[Run] = []
        self._size = 0
        self._last: Cursor | None = None
        self._examined: set[bytes] = set()
        self._verified = 0

    def visit(self, place: Place, entry: Entry) -> None:
        """Have an inode's objects verified, sooner or later."""
        if entry.content and stat.S_ISREG(entry.mode):
            self._check_index_header(place, entry)
            for run in file_runs(self._tree.objects, place, entry, self._wants):
                self._runs.append(run)
                self._size += sum(item.length for _, item in run.entries)
                if self._size >= _BATCH_BYTES or len(self._runs) >= _BATCH_RUNS:
                    self._submit()
        elif entry.content and stat.S_ISDIR(entry.mode):
            self._visit_directory(place, entry)
        self._last = cursor_of(place, entry)

    def finish(self) -> None:
        """Wait for everything."""
        self._submit()
        while self._running:
            self._collect()

    def close(self) -> None:
        """Give up what was not begun, and wait for the rest."""
        self._pool.shutdown(cancel_futures=True)

    def _wants(self, name: bytes) -> bool:
        return self._folders is None or name[0] in self._folders

    def _submit(self) -> None:
        batch = Batch(self._runs, self._size, self._last)
        self._runs, self._size = [], 0
        self._pace.spend(batch.size)
        self._running.append((batch, self._pool.submit(broken_runs, self._tree.objects, batch)))
        while len(self._running) > _BATCHES_AHEAD * self._threads:
            self._collect()

    def _collect(self) -> None:
        batch, future = self._running.popleft()
        for run in future.result():
            if run.segment.name not in self._examined:
                self._examined.add(run.segment.name)
                self._examine(run)
        self._verified += batch.size
        self._progress(self._verified, batch.after)

    def _examine(self, run: Run) -> None:
        """Look closely at a segment in which something does not verify, under the newest root."""
        entry = run.entry
        while True:
            troubles, header = check_segment(self._tree.objects, entry, run.segment.number)
            if not troubles and not header:
                return
            try:
                again = self._tree.look_again(run.place, entry)
            except Gone:
                return
            if again is None:
                break
            entry = again
        for trouble in troubles:
            self._report(finding_of(run.place, entry, trouble))
        if header:
            self._report(warning(Kind.CORRUPT, header, run.place.path, run.segment.path))

    def _check_index_header(self, place: Place, entry: Entry) -> None:
        name = index_name(entry)
        if name is not None and self._wants(name):
            section = decode_content(entry.content)
            key = self._tree.objects.context.unwrap_file_key(entry.id, section.wrapped_key).key
            self._check_header(place, name, (OBJECT_SEGMENT, entry.id, INDEX_SEGMENT, key))

    def _visit_directory(self, place: Place, entry: Entry) -> None:
        try:
            head = decode_head(entry.content)
            key = self._tree.objects.context.unwrap_file_key(entry.id, head.wrapped_key).key
        except Damaged:
            return  # the walker reported it
        for part in (head.base, head.delta):
            if part is not None and self._wants(part.object):
                self._check_header(place, part.object, (OBJECT_DIRECTORY, entry.id, 0, key))

    def _check_header(self, place: Place, name: bytes, expected: tuple[int, int, int, bytes]) -> None:
        cause = header_trouble(self._tree.objects, name, expected)
        # A missing object is the structure check's business, or was let go by a newer root.
        if cause and isinstance(object_size(self._tree.objects, object_path(name)), int):
            self._report(warning(Kind.CORRUPT, cause, place.path, object_path(name)))


def file_runs(objects: Objects, place: Place, entry: Entry, wants: Callable[[bytes], bool]) -> Iterator[Run]:
    """A file's chunks in the order of their slots; what cannot be read of its map is the structure check's business."""
    try:
        content = load_map(objects, entry)
    except Damaged:
        return
    most = max(_RUN_BYTES // objects.chunk_size, 1)
    for segment in content.committed.values():
        try:
            entries = leaf_of(segment) if wants(segment.name) else []
        except Damaged:
            continue
        entries.sort(key=lambda item: item[1].slot)
        run: Entries = []
        first = True
        for item in entries:
            if run and (item[1].slot != run[-1][1].slot + 1 or len(run) >= most):
                yield Run(place, entry, segment, run, first)
                run, first = [], False
            run.append(item)
        if run:
            yield Run(place, entry, segment, run, first)


def broken_runs(objects: Objects, batch: Batch) -> list[Run]:
    """The runs of a batch in which something does not verify. Any thread."""
    scratch = memoryview(bytearray(objects.chunk_size + SLOT_TRAILER_SIZE))
    return [
        run
        for run in batch.runs
        if (run.first and header_trouble(objects, run.segment.name, _expected(run.segment)))
        or _broken_chunks(objects, run.segment, run.entries, scratch)
    ]


def _broken_chunks(objects: Objects, segment: Segment, entries: Entries, scratch: memoryview) -> list[int]:
    """The indices of the chunks among neighbouring slots that do not verify; all of them if none can be read."""
    base = slot_offset(entries[0][1].slot, objects.chunk_size)
    stride = slot_size(objects.chunk_size)
    size = (len(entries) - 1) * stride + stored_slot_size(entries[-1][1].length)
    try:
        stored = memoryview(objects.open(segment.path).read(size, base))
    except (OSError, Damaged):
        return [index for index, _ in entries]
    broken: list[int] = []
    first = segment.number * CHUNKS_PER_SEGMENT
    for position, (index, entry) in enumerate(entries):
        begin = position * stride
        slot = stored[begin : begin + stored_slot_size(entry.length)]
        try:
            segment.open_chunk_into(first + index, entry, slot, scratch[: entry.length + SLOT_TRAILER_SIZE])
        except Damaged:
            broken.append(index)
    return broken


def check_segment(objects: Objects, entry: Entry, number: int) -> tuple[list[Trouble], str]:
    """(what is wrong with a segment's chunks, what is with its header), read chunk by chunk."""
    try:
        segment = load_map(objects, entry).committed.get(number)
        entries = leaf_of(segment) if segment is not None else []
    except Damaged:
        return [], ""
    if segment is None or not entries:
        return [], ""
    found = object_size(objects, segment.path)
    if not isinstance(found, int):
        return [segment_trouble(objects, segment, found)], ""
    scratch = memoryview(bytearray(objects.chunk_size + SLOT_TRAILER_SIZE))
    wrong = {
        item[0]: diagnose_slot(objects, segment, item[1])
        for item in entries
        if _broken_chunks(objects, segment, [item], scratch)
    }
    return chunk_troubles(objects, segment, wrong), header_trouble(objects, segment.name, _expected(segment))


def _expected(segment: Segment) -> tuple[int, int, int, bytes]:
    return OBJECT_SEGMENT, segment.inode_id, segment.number, segment.key


def header_trouble(objects: Objects, name: bytes, expected: tuple[int, int, int, bytes]) -> str:
    """What is wrong with an object's header, which should say (kind, inode, segment, key); empty if nothing is."""
    try:
        header = open_object_header(objects.context, name, objects.open(object_path(name)).read(OBJECT_HEADER_SIZE, 0))
    except (Damaged, OSError):
        return "the object's header, which only salvage needs, does not verify"
    if (header.kind, header.inode_id, header.segment, header.key) != expected:
        return "the object's header, which only salvage needs, names another file"
    return ""
