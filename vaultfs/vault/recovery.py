"""Replays the journal over the committed root after an unclean end, in memory.

What a sync mark covers is trusted; what none covers is checked and, if it did not reach the disk, skipped. A torn
tail is the normal end of a journal; a record that is broken although a later one knows it was synced is damage.
"""

import logging
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from vaultfs.errors import Damaged, JournalDamaged, NotFound, PartlySynced
from vaultfs.format.constants import (
    CHUNKS_PER_SEGMENT,
    JOURNAL_HEADER_SIZE,
    MAX_RECORD_SIZE,
    RECORD_ALIGNMENT,
    RECORD_HEADER_SIZE,
    TAG_SIZE,
)
from vaultfs.format.layout import JOURNAL_FOLDER, journal_number, journal_path, object_path
from vaultfs.sealing.journal import (
    JournalHeader,
    RecordCipher,
    SealedRecord,
    object_name_of,
    open_journal_header,
)
from vaultfs.sealing.maps import MapEntry
from vaultfs.sealing.records import Direct, Record, Rename, Synced, Truncate, Write, decode_record
from vaultfs.sealing.roots import JournalStart, Root
from vaultfs.store.api import is_failure, read_file
from vaultfs.vault.apply import RENAME_EXCHANGE, apply
from vaultfs.vault.content import read_chunk
from vaultfs.vault.keeping import Keeper
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import Segment, SlotRef
from vaultfs.vault.state import State
from vaultfs.vault.waits import resolve

log = logging.getLogger("vaultfs.recovery")

Progress = Callable[[int, int], None]
"""Is told how many records have been replayed, of how many."""

_LENGTHS = struct.Struct(f"<I{RECORD_ALIGNMENT - 4}x")
# How far apart a journal file's number may be from the one it had when it was used before: an epoch has few files.
_MOST_APART = 1024


class JournalRecords(NamedTuple):
    """What the journals hold: (sequence, record) in order, and the end of the chain.

    `behind` are later ones that verify although one before them does not. `headers` are of all journals found,
    `ends` the offsets in them where the chain ends, `highest` is the highest number any journal file has. `broken` are
    the numbers of files that may have records nobody can read, because their header does not verify. `damaged` says
    why the records stop earlier than they should, empty if they do not.
    """

    records: list[tuple[int, Record]]
    behind: list[tuple[int, Record]]
    sequence: int
    tag: bytes
    headers: list[JournalHeader]
    ends: list[int]
    highest: int
    broken: list[int]
    damaged: str

    @property
    def left_behind(self) -> str:
        """What to say of the records in `behind`, a clause."""
        return (
            f"{len(self.behind)} later changes stand behind a broken one in the journal, as a power cut may leave them "
            "if nothing was synced since"
        )

    def replayed_files(self) -> set[int]:
        """The numbers of the files that have records of the chain."""
        ends = zip(self.headers, self.ends, strict=True)
        return {header.number for header, end in ends if end > JOURNAL_HEADER_SIZE}


def journal_numbers(objects: Objects) -> list[int]:
    """The numbers of all journal files in the store; none without their folder, which some sync clients leave out."""
    try:
        names = objects.store.names(JOURNAL_FOLDER)
    except FileNotFoundError:
        return []
    return sorted(number for number in map(journal_number, names) if number is not None)


def read_journals(objects: Objects, start: JournalStart) -> JournalRecords:
    """Read the journals that follow a root; raises PartlySynced if the first is missing, Damaged if it is broken."""
    numbers = journal_numbers(objects)
    if start.number not in numbers:
        raise PartlySynced(
            f"journal {journal_path(start.number)} is missing, so the last changes are; "
            "let the store finish syncing, or mount it with the --journal-dir it had, then try again"
        )
    reader = _ChainReader(objects, start)
    headers: list[JournalHeader] = []
    ends: list[int] = []
    broken: list[int] = []
    for number in range(start.number, numbers[-1] + 1):
        # A gap does not end the search: what lies behind it may know that more had been synced.
        if number not in numbers:
            continue
        stored = read_file(objects.store, journal_path(number))
        try:
            header = open_journal_header(objects.context, number, stored)
        except Damaged:
            if number == start.number:
                raise
            if not _is_unused(objects, number, stored, start.number):
                broken.append(number)
            continue
        if number == start.number and header.salt != start.salt:
            raise Damaged(f"journal {number} is not the one the root names")
        headers.append(header)
        ends.append(reader.read(header, stored))
    damaged = [f"the header of {journal_path(number)} is broken, and its changes are missing" for number in broken]
    if reader.known_synced > reader.sequence:
        damaged.append(
            f"journal records {reader.sequence + 1} to {reader.known_synced} had been synced and are broken or missing"
        )
    return JournalRecords(
        reader.records,
        reader.behind(),
        reader.sequence,
        reader.tag,
        headers,
        ends,
        numbers[-1],
        broken,
        ", and ".join(damaged),
    )


def _is_unused(objects: Objects, number: int, stored: bytes, first: int) -> bool:
    """Whether a journal file whose header does not verify was only made ready, and no change is lost with it.

    Records come behind a header that is durable. Until then a power cut may take the header of a new file, which has
    nothing else; of one that is used again it may take the new header or the new name. What such a file has from its
    life before is in the root, whose journals begin with number `first`.
    """
    if not stored[JOURNAL_HEADER_SIZE:].strip(b"\0"):
        return True
    for other in range(max(number - _MOST_APART, 0), number + _MOST_APART):
        try:
            header = open_journal_header(objects.context, other, stored)
        except Damaged:
            continue
        record = RecordCipher(objects.context, header).open(memoryview(stored), JOURNAL_HEADER_SIZE)
        return other < first or record is None
    return False


class _ChainReader:
    """Follows the chain of records over the journal files, and behind its end looks for what had been synced."""

    def __init__(self, objects: Objects, start: JournalStart) -> None:
        self._context = objects.context
        self.sequence = start.sequence
        self.tag = start.tag
        self._first = start.sequence
        # The tag of each record, behind the one the chain starts from.
        self._tags = [start.tag]
        self.records: list[tuple[int, Record]] = []
        self.known_synced = start.sequence
        self._behind: dict[int, Record] = {}

    def behind(self) -> list[tuple[int, Record]]:
        """The records found that come later than the chain ends."""
        return [found for found in sorted(self._behind.items()) if found[0] > self.sequence]

    def read(self, header: JournalHeader, stored: bytes) -> int:
        """Take the records of one file that go on from the last one, and return the offset behind them.

        Raises Damaged for a record of an unknown type.
        """
        cipher = RecordCipher(self._context, header)
        view = memoryview(stored)
        offset = JOURNAL_HEADER_SIZE
        self._rewind(cipher, view)
        for sealed in _chain(cipher, view, offset, self.sequence, self.tag):
            self.records.append((sealed.sequence, decode_record(sealed.kind, sealed.body)))
            self.sequence, self.tag = sealed.sequence, sealed.tag
            self._tags.append(sealed.tag)
            self.known_synced = max(self.known_synced, sealed.synced)
            offset = sealed.end
        self._look_behind(cipher, view, offset)
        return offset

    def _rewind(self, cipher: RecordCipher, view: memoryview) -> None:
        """Drop records the file does not follow on: their append was refused, but reached the disk all the same."""
        sealed = cipher.open(view, JOURNAL_HEADER_SIZE)
        if sealed is None or not self._first < sealed.sequence <= self.sequence:
            return
        keep = sealed.sequence - 1 - self._first
        if sealed.previous == self._tags[keep]:
            del self.records[keep:], self._tags[keep + 1 :]
            self.sequence, self.tag = sealed.sequence - 1, sealed.previous

    def _look_behind(self, cipher: RecordCipher, view: memoryview, offset: int) -> None:
        """Find records behind the break; what they say of being synced tells damage from a torn tail."""
        for sealed in verifying_records(cipher, view, offset):
            self.known_synced = max(self.known_synced, sealed.synced)
            with suppress(Damaged):
                self._behind[sealed.sequence] = decode_record(sealed.kind, sealed.body)


def _chain(
    cipher: RecordCipher, view: memoryview, offset: int, sequence: int, tag: bytes
) -> Iterator[SealedRecord]:
    """The records from an offset on as far as each follows on the one before; (sequence, tag) are of the first's."""
    while (sealed := cipher.open(view, offset)) is not None:
        if sealed.sequence != sequence + 1 or sealed.previous != tag:
            return
        yield sealed
        sequence, tag, offset = sealed.sequence, sealed.tag, sealed.end


def verifying_records(cipher: RecordCipher, view: memoryview, offset: int) -> Iterator[SealedRecord]:
    """Every record that verifies in a journal file's bytes from an offset on, whatever is broken between them."""
    usable = (len(view) - offset) // RECORD_ALIGNMENT * RECORD_ALIGNMENT
    least, most = RECORD_HEADER_SIZE + TAG_SIZE, MAX_RECORD_SIZE
    candidates = [
        place
        for place, (length,) in enumerate(_LENGTHS.iter_unpack(view[offset : offset + usable]))
        if least <= length <= most
    ]
    for place in candidates:
        sealed = cipher.open(view, offset + place * RECORD_ALIGNMENT)
        if sealed is not None:
            yield sealed


def unknown_journals(objects: Objects, numbers: Iterable[int], root: Root) -> list[int]:
    """Those of the numbers, of journals that are not replayed, whose records did not lead to a root.

    They may be of a session that went on from an older root, on another machine, say; or a power cut took the records
    between. Nor did those that cannot be read, as far as anybody knows, or whose header is broken, unless the root
    needs that journal: then its changes are missing, which is told of as damage. One without records is none of them.
    """
    start = root.journal
    known = {start.tag}
    unknown = []
    for number in sorted(numbers, reverse=True):
        try:
            stored = read_file(objects.store, journal_path(number))
            found = _ends_of(objects, number, stored)
        except FileNotFoundError:
            continue  # a sync client may have come first
        except OSError:
            unknown.append(number)
            continue
        except Damaged:
            needed = not root.clean and number >= start.number
            if not needed and not _is_unused(objects, number, stored, start.number):
                unknown.append(number)
            continue
        if found is None:
            continue
        # A power cut may have taken the last records of the very journal that the root names.
        named = number == start.number and found.salt == start.salt
        if named or found.last in known:
            known.add(found.previous)
        else:
            unknown.append(number)
    return unknown


class _Ends(NamedTuple):
    """The salt of a journal file, the tag before the chain it begins with, and that of its last record."""

    salt: bytes
    previous: bytes
    last: bytes


def _ends_of(objects: Objects, number: int, stored: bytes) -> _Ends | None:
    """The ends of the chain a journal file begins with; None if it has no records. Raises Damaged for its header."""
    header = open_journal_header(objects.context, number, stored)
    cipher, view = RecordCipher(objects.context, header), memoryview(stored)
    first = cipher.open(view, JOURNAL_HEADER_SIZE)
    if first is None:
        return None
    last = first
    for record in _chain(cipher, view, first.end, first.sequence, first.tag):
        last = record
    return _Ends(header.salt, first.previous, last.tag)


def read_recorded(objects: Objects, record: Write, piece: Direct) -> bytearray:
    """A whole chunk that a record says was written, from where it says; raises Damaged."""
    key = objects.context.unwrap_file_key(record.inode, record.wrapped_key).key
    number = piece.chunk // CHUNKS_PER_SEGMENT
    segment = Segment(objects, record.inode, number, piece.object, key, created=True, leaf=b"")
    return read_chunk(objects, piece.chunk, SlotRef(segment, MapEntry(piece.slot, piece.length, piece.tag)))


class Replay:
    """Applies records to a state. `applied` counts them; `skipped` are (inode id, chunk) that were never durable."""

    def __init__(self, state: State, records: list[tuple[int, Record]], *, tolerant: bool) -> None:
        self._state = state
        self._records = records
        self._keeper = Keeper(state, records) if tolerant else None
        # Whether something that a record changes was left as it was.
        self.left_out = False
        # Whether that is because it is broken, so that something that may have been synced is missing.
        self.refused = False
        self._covered = covered_by_syncs(records)
        # Sizes that files may not grow past, because a chunk there was lost.
        self._caps: dict[int, int] = {}
        self._lost: set[int] = set()
        self.applied = 0
        self.skipped: list[tuple[int, int]] = []
        self.objects: set[bytes] = set()

    def run(self, progress: Progress) -> None:
        """Apply all records, or those before a rename-over whose new content is not there.

        Raises Damaged where something is broken that a record changes; if `tolerant`, that record is left out, and
        nothing is deleted behind it.
        """
        for sequence, record in self._records:
            progress(self.applied, len(self._records))
            try:
                if isinstance(record, Rename) and self._loses_content(record):
                    log.warning("recovery stops before a rename whose new content had not reached the disk")
                    # With consent, the disk may only have failed to give that content: what follows is worth keeping.
                    self.left_out = self.left_out or self._keeper is not None
                    return
                self._replay(sequence, record)
            except (Damaged, NotFound) as error:
                if self._keeper is None:
                    raise Damaged(f"a change cannot be made again: {error}") from error
                log.warning("a change is left out: %s", error)
                self.left_out = self.refused = True
                if isinstance(record, Write):
                    # Nothing reaches them then, but a repair may bring back what is in them.
                    self.objects.update(direct.object for direct in record.direct)
            self.applied += 1

    def _replay(self, sequence: int, record: Record) -> None:
        if isinstance(record, Write):
            self._write(sequence, record)
            return
        if isinstance(record, Truncate):
            self._caps.pop(record.inode, None)
            if record.size == 0:
                self._lost.discard(record.inode)
            record = self._cut_readable(record)
        self._apply(record)

    def _apply(self, record: Record) -> None:
        if self._keeper is None or not self.left_out or self._keeper.make_way(record):
            resolve(lambda: apply(self._state, record))

    def _loses_content(self, record: Rename) -> bool:
        if record.flags & RENAME_EXCHANGE:
            return False
        state = self._state
        source = resolve(lambda: state.directory(record.parent))
        target = resolve(lambda: state.directory(record.new_parent))
        inode = resolve(lambda: state.child(source, record.name))
        return inode is not None and inode.id in self._lost and target.find(record.new_name) is not None

    def _write(self, sequence: int, record: Write) -> None:
        if sequence > self._covered.get(record.inode, 0):
            record = self._verified(record)
        record = self._readable(record)
        self._apply(record)
        for direct in record.direct:
            self.objects.add(direct.object)
            self._reserve(record.inode, direct)

    def _reserve(self, inode_id: int, direct: Direct) -> None:
        """Keep a slot that a record names from being used again before a root without it is durable."""
        content = self._state.contents[inode_id]
        segment = content.segment(direct.chunk // CHUNKS_PER_SEGMENT)
        if segment is not None and segment.name == direct.object:
            segment.reserve(direct.slot)

    def _verified(self, record: Write) -> Write:
        """The record without the chunks that never reached the disk, and without growth past the first of them."""
        inode = resolve(lambda: self._state.inode(record.inode))
        chunk_size = self._state.objects.chunk_size
        direct: list[Direct] = []
        for piece in record.direct:
            if self._is_durable(record, piece):
                direct.append(piece)
                continue
            self.skipped.append((record.inode, piece.chunk))
            self._lost.add(record.inode)
            cap = max(inode.size, piece.chunk * chunk_size)
            self._caps[record.inode] = min(self._caps.get(record.inode, cap), cap)
        if record.inode not in self._caps:
            return record._replace(direct=tuple(direct))
        cap = self._caps[record.inode]
        return record._replace(
            size=min(record.size, cap),
            direct=tuple(piece for piece in direct if piece.chunk * chunk_size + piece.length <= cap),
            patches=tuple(
                (offset, data[: cap - offset]) for offset, data in record.patches if offset < cap
            ),
        )

    def _readable(self, record: Write) -> Write:
        """The record without changes to parts of chunks that no longer verify: those chunks stay unreadable."""
        chunk_size = self._state.objects.chunk_size
        size = resolve(lambda: self._state.inode(record.inode)).size
        patches = []
        for offset, data in record.patches:
            chunk, start = divmod(offset, chunk_size)
            if (start == 0 and offset + len(data) >= size) or self._fetches(record.inode, chunk):
                patches.append((offset, data))
        return record._replace(patches=tuple(patches))

    def _cut_readable(self, record: Truncate) -> Truncate:
        """The record, made to keep all of the last chunk if that does not verify and so cannot be cut."""
        chunk_size = self._state.objects.chunk_size
        size = resolve(lambda: self._state.inode(record.inode)).size
        chunk, rest = divmod(record.size, chunk_size)
        if not rest or record.size >= size or self._fetches(record.inode, chunk):
            return record
        return record._replace(size=min(size, (chunk + 1) * chunk_size))

    def _fetches(self, inode_id: int, chunk: int) -> bool:
        """Whether a chunk can be read, to be changed; False if it is damaged."""
        content = self._state.content(resolve(lambda: self._state.inode(inode_id)))
        try:
            resolve(lambda: content.fetch(chunk))
        except Damaged as error:
            if isinstance(error.__cause__, OSError) and self._keeper is None:
                raise  # what is missing, or a disk gives no bytes for, may be there the next time
            log.warning("chunk %d of inode %d stays unreadable, a change to it is left out: %s", chunk, inode_id, error)
            self.left_out = self.refused = True
            return False
        return True

    def _is_durable(self, record: Write, piece: Direct) -> bool:
        try:
            read_recorded(self._state.objects, record, piece)
        except Damaged as error:
            if is_failure(error):
                # It was not synced, so nothing waits for it; but the next try may read it.
                self.left_out = True
                self.objects.add(piece.object)
            return False
        return True


def covered_by_syncs(records: Iterable[tuple[int, Record]]) -> dict[int, int]:
    """By inode, the last sequence through which records say that its content had been synced."""
    covered: dict[int, int] = {}
    for _, record in records:
        if isinstance(record, Synced):
            covered[record.inode] = max(covered.get(record.inode, 0), record.through)
    return covered


def named_objects(records: Iterable[tuple[int, Record]]) -> set[bytes]:
    """The names of all objects that records say something of, whether or not they could be applied."""
    return {direct.object for _, record in records if isinstance(record, Write) for direct in record.direct}


def synced_objects(records: list[tuple[int, Record]]) -> set[bytes]:
    """The names of the objects with content that had been synced, as these records have it."""
    covered = covered_by_syncs(records)
    return named_objects(
        (sequence, record) for sequence, record in records
        if isinstance(record, Write) and sequence <= covered.get(record.inode, 0)
    )  # fmt: skip


def cut_free_ends(objects: Objects, journals: JournalRecords) -> None:
    """Give up the room behind the records of journals that are whole: a full store may have no other. Raises OSError.

    Nothing is lost should recovery have to begin again: what lies there never followed on the records.
    """
    if journals.damaged or journals.behind:
        return
    for header, end in zip(journals.headers, journals.ends, strict=True):
        file = objects.store.open(journal_path(header.number), write=True)
        try:
            file.truncate(end)
        finally:
            file.close()


def delete_strays(objects: Objects, headers: list[JournalHeader], kept: set[bytes], gap: int) -> int:
    """Delete objects that were made under these journals and that nothing reached; returns how many."""
    deleted = 0
    for header in headers:
        counter = missing = 0
        while missing < gap:
            counter += 1
            name = object_name_of(header.secret, counter)
            if name in kept:
                missing = 0
                continue
            try:
                objects.handles.drop(object_path(name))
                objects.store.delete(object_path(name))
                deleted += 1
                missing = 0
            except FileNotFoundError:
                missing += 1
    return deleted


def explain(journals: JournalRecords) -> JournalDamaged:
    """The error for a journal that is damaged, not just torn."""
    return JournalDamaged(
        f"the journal is damaged: {journals.damaged}; mount with --read-only to look, "
        "or with --accept-damage to go on without them"
    )
