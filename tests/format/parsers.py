"""Every parser of stored bytes by name, with samples it reads: for properties, and for the coverage-guided fuzzer.

What is sealed in the store is given here as plaintext and sealed on the way, as whoever has the key could: behind
the cipher's verdict a parser must be as careful as in front of it. A parser reads its input or raises VaultfsError.
"""

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tests.format import by_hand as hand
from tests.format.by_hand import FILE_KEY, INODE, MASTER, OBJECT, SALT, SECRET, VAULT_ID
from tests.support.memorystore import MemoryStore
from vaultfs.check.coverage import Coverage
from vaultfs.cli.upkeep import last_drill
from vaultfs.crypto.aead import Aead, aead, new_nonce
from vaultfs.crypto.hkdf import derive
from vaultfs.format.constants import (
    JOURNAL_HEADER_PLAIN_SIZE,
    JOURNAL_HEADER_SIZE,
    KIND_CHUNK,
    KIND_FRAME,
    KIND_HEADER,
    KIND_IDENTITY,
    KIND_JOURNAL,
    KIND_RECORD,
    KIND_ROOT,
    OBJECT_HEADER_PLAIN_SIZE,
    OBJECT_HEADER_SIZE,
    RECORD_ALIGNMENT,
    SLOT_TRAILER_SIZE,
)
from vaultfs.format.layout import HEADER_BACKUP_PATH, HEADER_PATH, journal_path, root_slot_path
from vaultfs.keys import header, headerfile
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.keys.identity import open_identity
from vaultfs.keys.recovery import Share, join_shares, make_shares, recovery_from_text, recovery_groups
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import decode_entry, decode_head, decode_xattrs, entry_id_and_mode
from vaultfs.sealing.frames import NO_TAG, FrameCipher
from vaultfs.sealing.journal import JournalHeader, open_journal_header, seal_journal_header
from vaultfs.sealing.maps import check_leaf, decode_content, decode_node, stored_size
from vaultfs.sealing.objects import open_object_header
from vaultfs.sealing.records import decode_record
from vaultfs.sealing.roots import JournalStart, open_root
from vaultfs.sealing.slots import SlotCipher
from vaultfs.store.handles import HandleCache
from vaultfs.store.holder import Holder
from vaultfs.vault.memory import GenerationMemory
from vaultfs.vault.objects import Objects
from vaultfs.vault.recovery import read_journals

CHUNK_SIZE = 65536
KEYS = VaultKeys.from_master(VAULT_ID, MASTER)
CONTEXT = SealingContext(KEYS, CHUNK_SIZE)
JOURNAL = JournalHeader(5, 9, SALT, SECRET)
OBJECT_CIPHER = CONTEXT.object_cipher(FILE_KEY, OBJECT)
SLOTS = SlotCipher(OBJECT_CIPHER, KIND_CHUNK, VAULT_ID, OBJECT)
FRAMES = FrameCipher(CONTEXT, FILE_KEY, OBJECT)
_SHARES = make_shares(SECRET, 2, 3)
_RECORDS = [bytes((kind,)) + body for kind, body in hand.records().values()]


class Parser(NamedTuple):
    """`read` takes any bytes; `samples` are some that it reads without an error."""

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]


def sealed_with(cipher: Aead, aad: bytes, plaintext: bytes) -> bytes:
    """nonce ‖ ciphertext ‖ tag, as whoever has the key could make it."""
    nonce = new_nonce()
    return nonce + cipher.seal(nonce, plaintext, aad)


def read_root(plaintext: bytes) -> object:
    """A root that says `plaintext`."""
    length = struct.pack("<I", len(plaintext) + 16)
    return open_root(CONTEXT, length + sealed_with(CONTEXT.root_cipher(), KIND_ROOT + VAULT_ID + length, plaintext))


def read_frame(plaintext: bytes) -> object:
    """A directory with one frame that says `plaintext`, its entries decoded as a listing does; then salvaged."""
    aad = KIND_FRAME + VAULT_ID + OBJECT + struct.pack("<QI", OBJECT_HEADER_SIZE, len(plaintext) + 16) + NO_TAG
    stored = struct.pack("<I", len(plaintext) + 16) + sealed_with(OBJECT_CIPHER, aad, plaintext)
    list(FRAMES.salvage(stored))
    for _, items in FRAMES.open(stored, stored[-16:]):
        for _, entry in items:
            if entry:
                entry_id_and_mode(entry)
                decode_entry(entry)
    return stored


def read_object_header(plaintext: bytes) -> object:
    """An object whose header says `plaintext`, cut or filled to its size."""
    plaintext = plaintext[:OBJECT_HEADER_PLAIN_SIZE].ljust(OBJECT_HEADER_PLAIN_SIZE, b"\0")
    epoch = bytes(4)
    aad = KIND_HEADER + VAULT_ID + OBJECT + epoch
    return open_object_header(CONTEXT, OBJECT, epoch + sealed_with(CONTEXT.header_cipher(OBJECT), aad, plaintext))


def read_journal_header(plaintext: bytes) -> object:
    """A journal whose header says `plaintext`, cut or filled to its size."""
    plaintext = plaintext[:JOURNAL_HEADER_PLAIN_SIZE].ljust(JOURNAL_HEADER_PLAIN_SIZE, b"\0")
    aad = KIND_JOURNAL + VAULT_ID + struct.pack("<Q", 5)
    sealed = sealed_with(CONTEXT.journal_header_cipher(5, SALT), aad, plaintext)
    return open_journal_header(CONTEXT, 5, (SALT + sealed).ljust(JOURNAL_HEADER_SIZE, b"\0"))


def read_slot(plaintext: bytes) -> object:
    """A chunk whose slot says `plaintext`: read by its map entry, and salvaged without."""
    aad = KIND_CHUNK + VAULT_ID + OBJECT + struct.pack("<I", 4)
    stored = sealed_with(OBJECT_CIPHER, aad, plaintext.ljust(SLOT_TRAILER_SIZE, b"\0"))
    SLOTS.salvage(4, stored)
    return SLOTS.open(4, 3, stored[-16:], stored)


def read_journal(data: bytes) -> object:
    """A journal file of sealed records: each is a byte for its length, and so many bytes of plaintext.

    A record that names no tag before it is chained to the one that is there.
    """
    cipher, place = CONTEXT.journal_cipher(5, SALT), KIND_RECORD + VAULT_ID
    stored = bytearray(seal_journal_header(CONTEXT, JOURNAL))
    tag = NO_TAG
    while data:
        plaintext, data = data[1 : 1 + data[0]], data[1 + data[0] :]
        if plaintext[16:32] == NO_TAG:
            plaintext = plaintext[:16] + tag + plaintext[32:]
        sealed = sealed_with(cipher, place + struct.pack("<QQ", 5, len(stored)), plaintext)
        tag = sealed[-16:]
        stored += struct.pack("<I", len(sealed) - 12) + sealed
        stored += bytes(-len(stored) % RECORD_ALIGNMENT)
    return _read_journal_file(bytes(stored))


def read_journal_file(data: bytes) -> object:
    """A journal file with these bytes behind its header."""
    return _read_journal_file(seal_journal_header(CONTEXT, JOURNAL) + data)


def _read_journal_file(stored: bytes) -> object:
    store = _store({journal_path(5): stored})
    handles = HandleCache(store, 8)
    try:
        return read_journals(Objects(store, handles, CONTEXT), JournalStart(5, SALT, 76, NO_TAG))
    finally:
        handles.close()


def read_record(data: bytes) -> object:
    """A journal record: its type and its body."""
    return decode_record(data[0] if data else 0, data[1:])


def read_header(data: bytes) -> object:
    """A header file that says `data` in front of its MAC, with a checksum that fits."""
    body = data + b',\n  "mac": "' + b"0" * 64 + b'",\n  "checksum": "'
    return header.parse(body + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n')


def read_header_copies(data: bytes) -> object:
    """A store whose header files are missing, cut or whole, by the first byte, with a root slot of these bytes."""
    chosen = data[0] if data else 0
    whole = hand.header()
    files = {root_slot_path(0): data[1:]}
    for path, choice in ((HEADER_PATH, chosen & 3), (HEADER_BACKUP_PATH, chosen >> 2 & 3)):
        if choice:
            files[path] = (data[1:], whole[: chosen * 3], whole)[choice - 1]
    return headerfile.load(_store(files))


def read_identity(plaintext: bytes) -> object:
    """A sealed label and owner."""
    cipher = aead(derive(KEYS.metadata_key, b"vaultfs identity"))
    return open_identity(KEYS, sealed_with(cipher, KIND_IDENTITY + VAULT_ID, plaintext))


def _trailer(header_file: bytes) -> bytes:
    return struct.pack("<I", len(header_file)) + header_file


def read_share(data: bytes) -> object:
    """A share as somebody types it, joined with a good one."""
    return join_shares([Share.from_text(data.decode("utf-8", "replace")), _SHARES[0]])


def _store(files: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    store.make_folder("journal")
    for path, content in files.items():
        file = store.create(path)
        file.write([content], 0)
        file.close()
    return store


def read_state_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A parser of a file that is kept outside the store, in `vaultfs` in the user's state folder."""
    place: list[tempfile.TemporaryDirectory[str]] = []
    # In memory where that can be had: a fuzzer writes it some thousand times a second.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

    def parse(data: bytes) -> object:
        if not place:
            place.append(tempfile.TemporaryDirectory(prefix="vaultfs-state.", dir=memory))
            (Path(place[0].name) / "vaultfs").mkdir()
        folder = Path(place[0].name) / "vaultfs"
        (folder / name).write_bytes(data)
        with mock.patch.dict(os.environ, {"XDG_STATE_HOME": place[0].name}):
            return read(folder)

    return parse


def _days_since_drill() -> int | None:
    last = last_drill(VAULT_ID)
    return None if last is None else (datetime.now(UTC) - last).days


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _plaintexts(*names: str) -> tuple[bytes, ...]:
    vectors = hand.vectors()
    return tuple(vectors[name].plaintext for name in names)


def _journal_samples() -> tuple[bytes, ...]:
    plain = [struct.pack("<QQ", 77 + at, 76) + NO_TAG + record for at, record in enumerate(_RECORDS)]
    return tuple(bytes((len(each),)) + each for each in plain if len(each) < 256)


_DRILL = _json({"drilled": "2025-01-31T12:00:00Z"})
_RUN = {"folders": [0, 255], "begun": 1, "cursor": [0, ["61"], "62"]}
_SECTIONS = (hand.inline_section(), hand.tree_section(), hand.data_section())
_ENTRIES = (hand.entry(), hand.entry(hand.inline_section()), hand.entry(hand.tree_section()), hand.directory_entry(7),
            hand.entry(hand.data_section()))

PARSERS: dict[str, Parser] = {
    # What stands in the plaintext of a frame, a root, a node or a record.
    "entry": Parser(decode_entry, (*_ENTRIES, hand.vectors()["hard link's entry"].stored)),
    "id and mode": Parser(entry_id_and_mode, _ENTRIES),
    "xattrs": Parser(decode_xattrs, (b"\x06\x05\x00\x00\x00user.avalue",)),
    "head": Parser(decode_head, (hand.head(),)),
    "content section": Parser(decode_content, _SECTIONS),
    "stored size": Parser(stored_size, _SECTIONS),
    "node": Parser(decode_node, (hand.reference(0) + hand.reference(3),)),
    "leaf": Parser(lambda data: check_leaf(data, CHUNK_SIZE), (struct.pack("<II16s", 0, 5, hand.TAG_A),)),
    "record": Parser(read_record, tuple(_RECORDS)),
    # Stored bytes as they are: whoever can write to the store chooses them.
    "stored root": Parser(lambda data: open_root(CONTEXT, data), (hand.root().stored,)),
    "stored object header": Parser(
        lambda data: open_object_header(CONTEXT, OBJECT, data), (hand.vectors()["object header"].stored,)
    ),
    "stored journal header": Parser(
        lambda data: open_journal_header(CONTEXT, 5, data), (hand.vectors()["journal header"].stored,)
    ),
    "stored frames": Parser(
        lambda data: [list(FRAMES.salvage(data)), list(FRAMES.open(data, data[-16:]))], (hand.frames().stored,)
    ),
    "stored slot": Parser(
        lambda data: [SLOTS.salvage(4, data), SLOTS.open(4, 3, data[-16:], data)], (hand.vectors()["chunk"].stored,)
    ),
    "wrapped key": Parser(lambda data: CONTEXT.unwrap_file_key(INODE, data), (hand.wrapped_file_key(),)),
    "journal file": Parser(read_journal_file, (b"",)),
    "header": Parser(read_header, (hand.header().partition(b',\n  "mac"')[0],)),
    "header copies": Parser(read_header_copies, (b"\x0f", b"\x00" + hand.root().stored + _trailer(hand.header()))),
    # Sealed, but saying anything.
    "root": Parser(read_root, (hand.root().plaintext,)),
    "frame": Parser(read_frame, (hand.frames().plaintext,)),
    "object header": Parser(read_object_header, _plaintexts("object header")),
    "journal header": Parser(read_journal_header, _plaintexts("journal header")),
    "journal": Parser(read_journal, _journal_samples()),
    "slot": Parser(read_slot, _plaintexts("chunk")),
    "identity": Parser(read_identity, _plaintexts("identity")),
    # What people keep, what stands beside the store, and what other machines leave in it.
    "recovery key": Parser(
        lambda data: recovery_from_text(data.decode("utf-8", "replace")), (" ".join(recovery_groups(SECRET)).encode(),)
    ),
    "share": Parser(read_share, (" ".join(_SHARES[1].groups()).encode(),)),
    "lock note": Parser(lambda data: str(Holder.from_note(data)), (Holder.this_process("write").to_note(VAULT_ID),)),
    "generation memory": Parser(
        read_state_file(VAULT_ID.hex(), lambda folder: GenerationMemory(folder, VAULT_ID).load()),
        (_json({"generation": 3, "tag": hand.TAG_A.hex()}),),
    ),
    "check memory": Parser(
        read_state_file(f"{VAULT_ID.hex()}.check", lambda folder: Coverage(folder, VAULT_ID).sample(0.1)),
        (_json({"verified": [1] * 256, "run": None}), _json({"verified": [1] * 256, "run": _RUN})),
    ),
    "drill memory": Parser(
        read_state_file(f"{VAULT_ID.hex()}.drill", lambda folder: _days_since_drill()), (_DRILL,)
    ),
}
