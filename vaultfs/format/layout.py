"""Where each kind of object lives in the store, and how large slots and files come out."""

import re
from collections.abc import Iterator
from itertools import count

from vaultfs.format.constants import OBJECT_HEADER_SIZE, ROOT_SLOTS, SLOT_OVERHEAD

_NAME = re.compile("[0-9a-f]{32}")
_JOURNAL = re.compile("[0-9a-f]{8}")
_KEPT = re.compile("journal-([0-9a-f]{8})(?:-[0-9]+)?")

HEADER_PATH = "vaultfs.json"
HEADER_BACKUP_PATH = "vaultfs.json.backup"
LOCK_PATH = "lock"
JOURNAL_FOLDER = "journal"
OBJECTS_FOLDER = "objects"
BALLAST_PATH = "journal/ballast"
QUARANTINE_FOLDER = "quarantine"


def object_path(name: bytes) -> str:
    """The path of an object: its 16-byte name in hex, split after the first byte."""
    digits = name.hex()
    return f"objects/{digits[:2]}/{digits[2:]}"


def object_folder(name: bytes) -> str:
    """The folder an object is in."""
    return f"objects/{name[:1].hex()}"


def object_folders() -> list[str]:
    """The 256 object folders, all made at init."""
    return [f"objects/{number:02x}" for number in range(256)]


def object_name(path: str) -> bytes | None:
    """The 16-byte name of the object at `path`, or None if no object is called so."""
    parts = path.split("/")
    if len(parts) != 3 or parts[0] != OBJECTS_FOLDER or len(parts[1]) != 2 or len(parts[2]) != 30:
        return None
    digits = parts[1] + parts[2]
    return bytes.fromhex(digits) if _NAME.fullmatch(digits) else None


def root_path(generation: int) -> str:
    """The root slot a generation is written to first."""
    return f"root.{generation % ROOT_SLOTS}"


def root_slot_path(slot: int) -> str:
    """The path of root slot 0 or 1."""
    return f"root.{slot}"


def journal_path(number: int) -> str:
    """The path of a journal file."""
    return f"{JOURNAL_FOLDER}/{number:08x}"


def journal_number(name: str) -> int | None:
    """The number of the journal file with this name in its folder; None if no journal has such a name."""
    return int(name, 16) if _JOURNAL.fullmatch(name) else None


def is_journal(path: str) -> bool:
    """Whether a path is one that `journal_path` gives."""
    folder, _, name = path.rpartition("/")
    return folder == JOURNAL_FOLDER and journal_number(name) is not None


def kept_journal_path(number: int) -> str:
    """The path of the copy of a journal file whose changes were given up."""
    return f"{QUARANTINE_FOLDER}/journal-{number:08x}"


def another_path(path: str) -> Iterator[str]:
    """Paths for one more journal of that number that is kept, in order."""
    return (f"{path}-{again}" for again in count(2))


def kept_journal_number(name: str) -> int | None:
    """The number of the journal that a file in the quarantine folder is a copy of; None if it is none by its name."""
    match = _KEPT.fullmatch(name)
    return int(match[1], 16) if match else None


def slot_size(chunk_size: int) -> int:
    """Bytes one slot takes in a segment."""
    return chunk_size + SLOT_OVERHEAD


def slot_offset(slot: int, chunk_size: int) -> int:
    """Where a slot begins in its segment."""
    return OBJECT_HEADER_SIZE + slot * (chunk_size + SLOT_OVERHEAD)
