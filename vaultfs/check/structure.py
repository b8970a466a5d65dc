"""The quick check: maps decode, every object they name is there and long enough, and what is counted adds up."""

import stat
from typing import NamedTuple

from vaultfs.check.committed import CommittedTree, Gone, Place
from vaultfs.check.diagnosis import Diagnosis, diagnose_cut, diagnose_slot, object_size
from vaultfs.check.findings import Finding, Kind, Report, Severity
from vaultfs.check.idset import NameSet
from vaultfs.errors import Damaged
from vaultfs.format.constants import CHUNKS_PER_SEGMENT, KIND_NODE, ROOT_ID
from vaultfs.format.layout import object_path, slot_offset
from vaultfs.sealing.entries import Entry, decode_head
from vaultfs.sealing.maps import MapEntry, TreeMap, decode_content, leaf_entries
from vaultfs.sealing.slots import stored_slot_size
from vaultfs.vault.content import FileContent, load_index
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import Segment


class Counts(NamedTuple):
    """What a vault holds: `size` is the bytes of all files as stat has it, `stored` those in chunks.

    `journaled` are the changes since the last checkpoint, which the other numbers are without.
    """

    files: int = 0
    directories: int = 0
    others: int = 0
    size: int = 0
    stored: int = 0
    objects: int = 0
    journaled: int = 0


class Trouble(NamedTuple):
    """What is wrong with a part of a file; `start` and `end` are bytes, `end` None to its end."""

    diagnosis: Diagnosis
    stored: str
    start: int
    end: int | None


class StructureCheck:
    """Checks one inode after the other, keeping count and the names of all objects met."""

    def __init__(self, tree: CommittedTree, report: Report) -> None:
        self._tree = tree
        self._report = report
        self.reached = NameSet()
        self.counts = Counts()
        # Files whose map cannot be read whole, so that it cannot be told which objects are theirs.
        self.unmapped: set[int] = set()

    def visit(self, place: Place, entry: Entry) -> None:
        """Check one inode; what is wrong is reported once a newer root does not explain it."""
        if place.top == ROOT_ID:
            self._count(entry)
        if stat.S_ISDIR(entry.mode):
            self._visit_directory(entry)
        elif stat.S_ISREG(entry.mode):
            self._visit_file(place, entry)

    def _count(self, entry: Entry) -> None:
        counts = self.counts
        if stat.S_ISDIR(entry.mode):
            self.counts = counts._replace(directories=counts.directories + 1)
        elif stat.S_ISREG(entry.mode):
            self.counts = counts._replace(files=counts.files + 1, size=counts.size + entry.size)
        else:
            self.counts = counts._replace(others=counts.others + 1)

    def _visit_directory(self, entry: Entry) -> None:
        if not entry.content:
            return
        try:
            head = decode_head(entry.content)
        except Damaged:
            return  # the walker reported it
        for part in (head.base, head.delta):
            if part is not None:
                self._reach(part.object)

    def _visit_file(self, place: Place, entry: Entry) -> None:
        while True:
            troubles, stored, names = check_maps(self._tree.objects, entry)
            for name in names:
                self._reach(name)
            if not troubles:
                self.counts = self.counts._replace(stored=self.counts.stored + stored)
                return
            try:
                again = self._tree.look_again(place, entry)
            except Gone:
                return
            if again is None:
                self.unmapped.add(entry.id)
                for trouble in troubles:
                    self._report(finding_of(place, entry, trouble))
                return
            entry = again

    def _reach(self, name: bytes) -> None:
        self.reached.add(name)
        self.counts = self.counts._replace(objects=self.counts.objects + 1)


def finding_of(place: Place, entry: Entry, trouble: Trouble) -> Finding:
    """The finding for a part of a file that cannot be read."""
    (kind, cause), stored, start, end = trouble
    last = entry.size if end is None else min(end, entry.size)
    return Finding(Severity.ERROR, kind, cause, place.path, stored, start, last)


def check_maps(objects: Objects, entry: Entry) -> tuple[list[Trouble], int, list[bytes]]:
    """(what is wrong, bytes of chunks mapped, names of the objects) of one file, without reading its chunks."""
    troubles: list[Trouble] = []
    try:
        content = load_map(objects, entry)
    except Damaged as damage:
        name = index_name(entry)
        path = object_path(name) if name is not None else ""
        size = object_size(objects, path) if path else 0
        kind = Kind.CORRUPT if isinstance(size, int) else size[0]
        return [Trouble((kind, f"the file's map: {damage}"), path, 0, None)], 0, []
    stored = 0
    names = [content.index.name] if content.index is not None else []
    for segment in content.committed.values():
        names.append(segment.name)
        try:
            entries = leaf_of(segment)
        except Damaged:
            troubles.append(leaf_trouble(objects, segment))
            continue
        stored += sum(item.length for _, item in entries)
        troubles += _check_length(objects, segment, entries)
    return troubles, stored, names


def _check_length(objects: Objects, segment: Segment, entries: list[tuple[int, MapEntry]]) -> list[Trouble]:
    """Trouble if the segment's object is missing, or shorter than its slots need."""
    ends = {index: slot_end(objects, entry) for index, entry in entries}
    try:
        size = objects.handles.get(segment.path).size()
    except OSError:
        found = object_size(objects, segment.path)
        if isinstance(found, int):
            size = found
        else:
            return [segment_trouble(objects, segment, found)]
    lost = [index for index, end in ends.items() if end > size]
    return chunk_troubles(objects, segment, {index: diagnose_cut(objects, size) for index in lost})


def slot_end(objects: Objects, entry: MapEntry) -> int:
    """Where a slot's bytes end in its object."""
    return slot_offset(entry.slot, objects.chunk_size) + stored_slot_size(entry.length)


def chunk_troubles(objects: Objects, segment: Segment, wrong: dict[int, Diagnosis]) -> list[Trouble]:
    """Troubles for chunks of a segment by index, neighbours with the same diagnosis put together."""
    first = segment.number * CHUNKS_PER_SEGMENT
    size = objects.chunk_size
    troubles: list[Trouble] = []
    for index in sorted(wrong):
        start = (first + index) * size
        last = troubles[-1] if troubles else None
        if last is not None and last.end == start and last.diagnosis == wrong[index]:
            troubles[-1] = last._replace(end=start + size)
        else:
            troubles.append(Trouble(wrong[index], segment.path, start, start + size))
    return troubles


def segment_trouble(objects: Objects, segment: Segment, diagnosis: Diagnosis) -> Trouble:
    """Trouble with all of a segment."""
    size = CHUNKS_PER_SEGMENT * objects.chunk_size
    return Trouble(diagnosis, segment.path, segment.number * size, (segment.number + 1) * size)


def leaf_trouble(objects: Objects, segment: Segment) -> Trouble:
    """Trouble with the map of a segment."""
    node = segment.node
    assert node is not None
    kind, cause = diagnose_slot(objects, segment, MapEntry(node.slot, node.length, node.tag), KIND_NODE)
    return segment_trouble(objects, segment, (kind, f"a part of the file's map: {cause}"))


def load_map(objects: Objects, entry: Entry) -> FileContent:
    """A file's map with the references to all its segments, their leaves not loaded; raises Damaged."""
    content = FileContent.from_section(objects, entry.id, entry.content)
    if not content.loaded:
        loaded = load_index(content, entry.content)
        content.index = loaded.index_segment
        content.adopt_references(loaded.leaves)
    return content


def leaf_of(segment: Segment) -> list[tuple[int, MapEntry]]:
    """A segment's (index, map entry) pairs; raises Damaged."""
    return leaf_entries(segment.leaf if segment.leaf is not None else segment.load_node())


def index_name(entry: Entry) -> bytes | None:
    """The name of the object with a file's inner map nodes; None if it has none or that cannot be told."""
    try:
        tree = decode_content(entry.content).map
    except Damaged:
        return None
    return tree.index_object if isinstance(tree, TreeMap) and tree.level else None
