"""Collects what journals say of files, for salvage: changes that were never committed, and those that were given up.

Every record that verifies counts, wherever it stands: whether it follows on a root, or was synced, is not asked.
"""

import errno
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import JOURNAL_HEADER_SIZE, JOURNAL_SALT_SIZE
from vaultfs.format.layout import (
    JOURNAL_FOLDER,
    QUARANTINE_FOLDER,
    journal_number,
    kept_journal_number,
)
from vaultfs.sealing.entries import Entry, decode_entry
from vaultfs.sealing.journal import JournalHeader, RecordCipher, SealedRecord, open_journal_header
from vaultfs.sealing.records import (
    Create,
    Link,
    Locate,
    Record,
    Rename,
    SetAttributes,
    SetXattr,
    Truncate,
    Unlink,
    Write,
    decode_record,
)
from vaultfs.store.api import read_file
from vaultfs.vault.apply import RENAME_EXCHANGE, take_attributes, take_size, take_xattr
from vaultfs.vault.inode import Inode
from vaultfs.vault.objects import Objects
from vaultfs.vault.recovery import read_recorded, verifying_records
from vaultfs.vault.state import HIDDEN_IDS

# What stands where a folder should is met by whoever needs the folder.
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.EINVAL)

Edit = SetAttributes | SetXattr | Truncate | Write
Pieces = Iterator[tuple[int, bytes]]
Loss = Callable[[int, int, str], None]
Range = tuple[int, int]


class _Layer(NamedTuple):
    """What one record wrote; bytes from `limit` on were cut off later."""

    write: Write
    limit: int


class Changed:
    """One inode that is no directory, as journals tell of it, from its making on if that is in one.

    `name` is the last it is known by, `made` its entry as it was made (None: before these journals), `edits` follow.
    `goes_on` says whether what the vault has of it, if anything, is what the edits were made to.
    """

    def __init__(self, inode_id: int, name: bytes, made: Entry | None, goes_on: bool) -> None:
        self.id = inode_id
        self.name = name
        self.made = made
        self.goes_on = goes_on and made is None
        self.edits: list[Edit] = []

    @property
    def is_worth_having(self) -> bool:
        """Whether it is new, or has other content than before."""
        return self.made is not None or any(isinstance(edit, Write | Truncate) for edit in self.edits)

    def dress(self, inode: Inode) -> None:
        """Give an inode that is as this one was before the edits the attributes from after them."""
        for edit in self.edits:
            match edit:
                case SetAttributes():
                    take_attributes(inode, edit)
                case SetXattr():
                    take_xattr(inode, edit)
                case Truncate() | Write():
                    take_size(inode, edit)

    def pieces(self, objects: Objects, before: Callable[[Loss], Pieces] | None, size: int, lost: Loss) -> Pieces:
        """(offset, bytes) of its data, each over those that came sooner.

        `before` gives what it had before the edits, None if nobody knows that; `size` is what it has after them.
        """
        layers, limit = self._layers(size)

        def told(above: int, limit: int) -> Loss:
            def tell(start: int, end: int, cause: str) -> None:
                for left in _uncovered((start, min(end, limit)), layers[above:], objects.chunk_size):
                    lost(*left, cause)

            return tell

        if before is not None:
            yield from _clipped(before(told(0, limit)), limit)
        elif self.made is None:
            told(0, limit)(0, limit, "only changes to this file are left, and not what it was before")
        for above, layer in enumerate(layers, 1):
            yield from _clipped(_written(objects, layer.write, told(above, layer.limit)), layer.limit)

    def _layers(self, size: int) -> tuple[list[_Layer], int]:
        """What was written, oldest first, and up to where what was there before is left."""
        layers: list[_Layer] = []
        for edit in reversed(self.edits):
            if isinstance(edit, Truncate):
                size = min(size, edit.size)
            elif isinstance(edit, Write):
                layers.append(_Layer(edit, size))
        return layers[::-1], size


def _clipped(pieces: Pieces, limit: int) -> Pieces:
    return ((offset, data[: limit - offset]) for offset, data in pieces if offset < limit)


def _uncovered(lost: Range, above: list[_Layer], chunk_size: int) -> list[Range]:
    """What is left of a lost range once what was written later is over it."""
    left = [lost]
    for write, limit in above:
        written = [(direct.chunk * chunk_size, direct.chunk * chunk_size + direct.length) for direct in write.direct]
        written += [(offset, offset + len(data)) for offset, data in write.patches]
        for start, end in written:
            end = min(end, limit)
            if start < end:
                left = [part for old in left for part in ((old[0], min(old[1], start)), (max(old[0], end), old[1]))]
    return [(start, end) for start, end in left if start < end]


class Uncommitted(NamedTuple):
    """What the journals have. `broken` are paths of none that verifies, `failures` sentences of what cannot be read."""

    files: list[Changed]
    broken: list[str]
    failures: list[str]


def read_uncommitted(objects: Objects) -> Uncommitted:
    """Look through all journals of a store, and the copies of those whose changes were given up."""
    found = Uncommitted([], [], [])
    kept = _journals(objects, QUARANTINE_FOLDER, kept_journal_number, found.failures)
    live = _journals(objects, JOURNAL_FOLDER, journal_number, found.failures)
    for history in _histories(objects, kept, found):
        found.files.extend(_files(history, goes_on=False))
    for history in _histories(objects, live, found):
        found.files.extend(_files(history, goes_on=True))
    return found


def _journals(
    objects: Objects, folder: str, number_of: Callable[[str], int | None], failures: list[str]
) -> list[tuple[int, str]]:
    """(number, path) of the journals in a folder, in order."""
    try:
        names = objects.store.names(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            failures.append(f"{folder}: it cannot be read: {error.strerror}")
        return []
    return sorted((number, f"{folder}/{name}") for name in names if (number := number_of(name)) is not None)


def _histories(
    objects: Objects, journals: list[tuple[int, str]], found: Uncommitted
) -> list[list[SealedRecord]]:
    """The records of journals, as far as they go on from one another.

    One that goes on from an earlier record than the last does without what is behind that, which was refused or given
    up. Nobody can tell here which of them somebody wants back: there is a history with it, and one without.
    """
    histories: list[list[SealedRecord]] = []
    for number, path in journals:
        try:
            records = _records(objects, number, path)
        except FileNotFoundError:
            continue  # a checkpoint has just made it needless
        except OSError as error:
            found.failures.append(f"{path}: it cannot be read: {error.strerror}")
            continue
        except Damaged:
            found.broken.append(path)
            continue
        if not records:
            continue
        last = histories[-1] if histories else []
        places = [place for place, record in enumerate(last, 1) if record.tag == records[0].previous]
        if places and places[0] == len(last):
            last += records
        else:
            histories.append(last[: places[0]] + records if places else records)
    return histories


def _records(objects: Objects, number: int, path: str) -> list[SealedRecord]:
    """Every record that verifies in a journal; raises OSError, or Damaged if none does because of its header."""
    stored = read_file(objects.store, path)
    try:
        header, damage = open_journal_header(objects.context, number, stored), None
    except Damaged as error:
        # Of the header the records need only the salt, and each of them tells whether that is whole.
        header, damage = JournalHeader(number, 0, stored[:JOURNAL_SALT_SIZE], b""), error
    records = list(verifying_records(RecordCipher(objects.context, header), memoryview(stored), JOURNAL_HEADER_SIZE))
    if damage is not None and not records:
        raise damage
    return records


def _files(history: list[SealedRecord], goes_on: bool) -> list[Changed]:
    """What the records of one history are about."""
    naming = _Naming(goes_on)
    for sealed in history:
        with suppress(Damaged):
            naming.take(decode_record(sealed.kind, sealed.body))
    return [changed for changed in naming.files if changed.is_worth_having]


class _Naming:
    """Gives each record to the file it is about, and each file the last name that it had."""

    def __init__(self, goes_on: bool) -> None:
        self.files: list[Changed] = []
        self._goes_on = goes_on
        self._latest: dict[int, Changed] = {}
        self._names: dict[tuple[int, bytes], int] = {}

    def take(self, record: Record) -> None:
        """One record more."""
        match record:
            case Create(parent, _, name, encoded):
                entry = _made(encoded)
                # A number may come again, for something else: what a journal that is given up makes never was.
                if entry is not None and not stat.S_ISDIR(entry.mode):
                    self._add(Changed(entry.id, name, entry, self._goes_on))
                    self._name(entry.id, parent, name)
            case Locate(inode, parent, name) if parent not in HIDDEN_IDS:
                self._known(inode)
                self._name(inode, parent, name)
            case Link(inode, parent, _, name):
                self._name(inode, parent, name)
            case Unlink(parent, _, _, name):
                self._names.pop((parent, name), None)
            case Rename():
                self._rename(record)
            case SetAttributes() | SetXattr() | Truncate() | Write():
                self._known(record.inode).edits.append(record)

    def _add(self, changed: Changed) -> Changed:
        self.files.append(changed)
        self._latest[changed.id] = changed
        return changed

    def _known(self, inode_id: int) -> Changed:
        return self._latest.get(inode_id) or self._add(Changed(inode_id, b"", None, self._goes_on))

    def _name(self, inode_id: int, parent: int, name: bytes) -> None:
        self._names[parent, name] = inode_id
        if inode_id in self._latest:
            self._latest[inode_id].name = name

    def _rename(self, record: Rename) -> None:
        moved = self._names.pop((record.parent, record.name), None)
        other = self._names.pop((record.new_parent, record.new_name), None)
        if moved is not None:
            self._name(moved, record.new_parent, record.new_name)
        if other is not None and record.flags & RENAME_EXCHANGE:
            self._name(other, record.parent, record.name)


def _made(encoded: bytes) -> Entry | None:
    with suppress(Damaged):
        entry = decode_entry(encoded)
        return entry if isinstance(entry, Entry) else None
    return None


def _written(objects: Objects, write: Write, lost: Loss) -> Pieces:
    for direct in write.direct:
        start = direct.chunk * objects.chunk_size
        try:
            yield start, bytes(read_recorded(objects, write, direct))
        except Damaged as damage:
            lost(start, start + direct.length, str(damage))
    yield from write.patches

