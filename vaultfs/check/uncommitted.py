"""Collects what journals say of files, for salvage: changes that were never committed, and those that were given up.

Every record that verifies counts, wherever it stands: whether it follows on a root, or was synced, is not asked.
"""

import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import JOURNAL_HEADER_SIZE
from vaultfs.format.layout import (
    JOURNAL_FOLDER,
    QUARANTINE_FOLDER,
    journal_number,
    journal_path,
    kept_journal_number,
    kept_journal_path,
)
from vaultfs.sealing.entries import Entry, decode_entry
from vaultfs.sealing.journal import RecordCipher, open_journal_header
from vaultfs.sealing.records import (
    Create,
    Locate,
    Record,
    Rename,
    SetAttributes,
    SetXattr,
    Truncate,
    Write,
    decode_record,
)
from vaultfs.store.api import read_file
from vaultfs.vault.apply import take_attributes, take_size, take_xattr
from vaultfs.vault.inode import Inode
from vaultfs.vault.objects import Objects
from vaultfs.vault.recovery import read_recorded, verifying_records

_ZEROS = bytes(1 << 20)

Edit = SetAttributes | SetXattr | Truncate | Write
Pieces = Iterator[tuple[int, bytes]]
Loss = Callable[[int, int, str], None]


class Changed:
    """One inode that is no directory, as journals tell of it, from its making on if that is in one.

    `name` is the last it is known by, `made` its entry as it was made (None: before these journals), `edits` follow.
    """

    def __init__(self, inode_id: int, name: bytes, made: Entry | None) -> None:
        self.id = inode_id
        self.name = name
        self.made = made
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

    def pieces(self, objects: Objects, before: Pieces, lost: Loss) -> Pieces:
        """(offset, bytes) of its data, each over those that came sooner; `before` is what it had before the edits."""
        end = 0
        for offset, data in before:
            yield offset, data
            end = max(end, offset + len(data))
        for edit in self.edits:
            if isinstance(edit, Truncate):
                # What is cut off must not show again if the file grows.
                for start in range(edit.size, end, len(_ZEROS)):
                    yield start, _ZEROS[: end - start]
                end = min(end, edit.size)
            elif isinstance(edit, Write):
                for offset, data in _written(objects, edit, lost):
                    yield offset, data
                    end = max(end, offset + len(data))


class Uncommitted(NamedTuple):
    """What the journals have: files by journal and its quarantined copies; `broken` are paths of none that verifies."""

    files: list[Changed]
    broken: list[str]


def read_uncommitted(objects: Objects) -> Uncommitted:
    """Look through all journals of a store, and the copies of those whose changes were given up."""
    files: list[Changed] = []
    broken: list[str] = []
    for folder, number_of, path_of in (
        (QUARANTINE_FOLDER, kept_journal_number, kept_journal_path),
        (JOURNAL_FOLDER, journal_number, journal_path),
    ):
        names: list[str] = []
        with suppress(OSError):
            names = objects.store.names(folder)
        # What was refused in one file may stand in the next one again, with something else.
        records: dict[int, Record] = {}
        for number in sorted(number for number in map(number_of, names) if number is not None):
            try:
                records.update(_records(objects, number, path_of(number)))
            except (Damaged, OSError):
                broken.append(path_of(number))
        files += _files(record for _, record in sorted(records.items(), key=lambda each: each[0]))
    return Uncommitted([changed for changed in files if changed.is_worth_having], broken)


def _records(objects: Objects, number: int, path: str) -> Iterator[tuple[int, Record]]:
    stored = read_file(objects.store, path)
    cipher = RecordCipher(objects.context, open_journal_header(objects.context, number, stored))
    for sealed in verifying_records(cipher, memoryview(stored), JOURNAL_HEADER_SIZE):
        with suppress(Damaged):
            yield sealed.sequence, decode_record(sealed.kind, sealed.body)


def _files(records: Iterator[Record]) -> list[Changed]:
    files: list[Changed] = []
    latest: dict[int, Changed] = {}
    names: dict[tuple[int, bytes], int] = {}

    def take(changed: Changed) -> Changed:
        files.append(changed)
        latest[changed.id] = changed
        return changed

    for record in records:
        match record:
            case Create(parent, _, name, encoded):
                entry = _made(encoded)
                # A number may come again, for something else: what a journal that is given up makes never was.
                if entry is not None and not stat.S_ISDIR(entry.mode):
                    take(Changed(entry.id, name, entry))
                    names[parent, name] = entry.id
            case Locate(inode, parent, name):
                names[parent, name] = inode
                if inode not in latest:
                    take(Changed(inode, name, None))
            case Rename():
                moved = names.pop((record.parent, record.name), 0)
                if moved in latest:
                    names[record.new_parent, record.new_name] = moved
                    latest[moved].name = record.new_name
            case SetAttributes() | SetXattr() | Truncate() | Write():
                changed = latest.get(record.inode) or take(Changed(record.inode, b"", None))
                changed.edits.append(record)
    return files


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

