"""Known answers for every sealed thing: vectors.json, pycryptodome by hand, and the library all say the same bytes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.format import by_hand
from tests.format.by_hand import (
    CREATED,
    FILE_KEY,
    INODE,
    MASTER,
    NONCES,
    OBJECT,
    PARENT,
    PASSWORD,
    SALT,
    SECRET,
    SLOT_ID,
    TAG_A,
    TAG_B,
    TIME,
    VAULT_ID,
    gcm,
)
from vaultfs.crypto.aead import select_backend
from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.format.constants import (
    JOURNAL_HEADER_SIZE,
    KIND_CHUNK,
    KIND_NODE,
    OBJECT_HEADER_SIZE,
    OBJECT_SEGMENT,
    SLOT_OVERHEAD,
)
from vaultfs.keys import identity, slots
from vaultfs.keys.header import Header, serialise, unlock
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.keys.identity import Identity, open_identity, seal_identity
from vaultfs.sealing import context, frames, journal, objects, roots
from vaultfs.sealing import slots as sealing_slots
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import (
    Entry,
    Head,
    Part,
    Pointer,
    decode_entry,
    decode_head,
    encode_entry,
    encode_head,
    encode_pointer,
)
from vaultfs.sealing.frames import NO_TAG, FrameCipher
from vaultfs.sealing.journal import JournalHeader, RecordCipher, open_journal_header, seal_journal_header
from vaultfs.sealing.maps import (
    ContentSection,
    InlineData,
    InlineMap,
    NodeReference,
    TreeMap,
    decode_content,
    encode_content,
    encode_node,
    pack_entry,
)
from vaultfs.sealing.objects import ObjectHeader, open_object_header, seal_object_header
from vaultfs.sealing.records import (
    Create,
    Direct,
    Link,
    Locate,
    Purge,
    Record,
    Rename,
    SetAttributes,
    SetXattr,
    Synced,
    Truncate,
    Unlink,
    Write,
    decode_record,
    encode_record,
)
from vaultfs.sealing.roots import JournalStart, Root, open_root, seal_root
from vaultfs.sealing.slots import SlotCipher

STORED = {name: bytes.fromhex(vector["stored"]) for name, vector in json.loads(
    Path(__file__).with_name("vectors.json").read_bytes()
).items()}  # fmt: skip
KEYS = VaultKeys.from_master(VAULT_ID, MASTER)
CONTEXT = SealingContext(KEYS, 65536)
IDENTITY = Identity("Größe", "me")
WRAPPED = STORED["wrapped file key"]
LEAF = pack_entry(0, 5, TAG_A)
REFERENCE = NodeReference(OBJECT, 9, 24, TAG_B, 11)
ATTRIBUTES = Entry(
    INODE, 0o100640, 1000, 100, 1, 5, TIME, TIME + 1, TIME + 2, -1, 0, b"", {b"user.a": b"value"}, b""
)
SMALL = ContentSection(WRAPPED, 5, InlineMap(OBJECT, 7, LEAF))
LARGER = ContentSection(WRAPPED, 70000, TreeMap(0, bytes(16), 0, ((0, REFERENCE), (3, REFERENCE))))
SMALLEST = ContentSection(b"", 5, InlineData(b"hello"))
HEAD = Head(WRAPPED, 321, 3, Part(OBJECT, 4096, TAG_A), Part(SALT, 512, TAG_B))
TOP = Entry(1, 0o40755, 0, 0, 2, 0, TIME, TIME, TIME, TIME, 0, b"", {}, b"")
ROOT = Root(
    9, False, 2, TIME, 1030, 7, JournalStart(5, SALT, 77, TAG_A),
    encode_entry(TOP), encode_entry(TOP._replace(id=2)), encode_entry(TOP._replace(id=3)),
    (OBJECT,), ((7, TAG_A), (8, TAG_B)),
)  # fmt: skip
JOURNAL = JournalHeader(5, 9, SALT, SECRET)
OBJECT_HEADER = ObjectHeader(OBJECT_SEGMENT, INODE, 2, 7, FILE_KEY)
ITEMS = [[(b"new", encode_entry(ATTRIBUTES))], [(b"old", b"")]]
RECORDS: dict[str, Record] = {
    "create": Create(PARENT, TIME, b"a", encode_entry(ATTRIBUTES)),
    "link": Link(INODE, PARENT, TIME, b"\xff\xfe"),
    "unlink": Unlink(PARENT, TIME, True, b"a"),
    "rename": Rename(PARENT, INODE, TIME, 4, False, b"a", b"bc", encode_entry(ATTRIBUTES)),
    "attributes": SetAttributes(INODE, 0o100600, 1, 2, TIME, -TIME, 0),
    "truncate": Truncate(INODE, 12345, 0o100644, TIME),
    "write": Write(
        INODE, 70005, 0o100644, TIME, WRAPPED, (Direct(3, OBJECT, 4, 65536, TAG_A),), ((70000, b"patch"),)
    ),
    "set xattr": SetXattr(INODE, 0o100644, TIME, b"user.a", b"value"),
    "remove xattr": SetXattr(INODE, 0o100644, TIME, b"user.a", None),
    "synced": Synced(INODE, 76),
    "purge": Purge(INODE),
    "locate": Locate(INODE, PARENT, b"a"),
}


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every nonce and key the library draws is the vectors'."""
    nonces: Iterator[bytes] = iter(NONCES)
    for module in (frames, identity, journal, objects, roots, sealing_slots):
        monkeypatch.setattr(module, "new_nonce", lambda: next(nonces))
    monkeypatch.setattr(context, "new_key", lambda: FILE_KEY)
    randoms = {8: SLOT_ID, 16: SALT}
    monkeypatch.setattr(slots, "random_bytes", lambda size: randoms[size])


def slot(kind: bytes, number: int, data: bytes) -> bytes:
    nonce, sealed, tag = slot_cipher(kind).seal(4, 7, number, data)
    assert tag == sealed[-16:]
    return nonce + sealed


def slot_in_place(kind: bytes, number: int, data: bytes) -> bytes:
    buffer = bytearray(b"x" * (len(data) + 64))
    end = 10 + len(data) + SLOT_OVERHEAD
    with memoryview(buffer) as view:
        assert slot_cipher(kind).seal_into([4], 7, number, [data], view[10:end]) == [buffer[end - 16 : end]]
    assert buffer[:10] == b"x" * 10 and set(buffer[end:]) == {ord("x")}
    return bytes(buffer[10:end])


def slot_cipher(kind: bytes) -> SlotCipher:
    return SlotCipher(CONTEXT.object_cipher(FILE_KEY, OBJECT), kind, VAULT_ID, OBJECT)


def sealed_frames() -> bytes:
    cipher = FrameCipher(CONTEXT, FILE_KEY, OBJECT)
    first, tag = cipher.seal(ITEMS[0], 7, OBJECT_HEADER_SIZE, NO_TAG)
    return first + cipher.seal(ITEMS[1], 8, OBJECT_HEADER_SIZE + len(first), tag)[0]


def record(meant: Record) -> bytes:
    return RecordCipher(CONTEXT, JOURNAL).seal(JOURNAL_HEADER_SIZE, 78, 70, TAG_A, *encode_record(meant))[0]


def key_slot() -> slots.KeySlot:
    made = slots.make_slot(PASSWORD, MASTER, VAULT_ID, kdf=Scrypt(10, 8, 1), minimum=OPEN_FLOOR)
    return slots.KeySlot(made.id, made.type, made.label, CREATED, made.kdf, made.salt, made.wrapped)


SEALERS: dict[str, Callable[[], bytes]] = {
    "chunk": lambda: slot(KIND_CHUNK, 3, b"hello"),
    "map leaf": lambda: slot(KIND_NODE, 2, LEAF),
    "inner map node": lambda: slot(KIND_NODE, 1 << 56 | 2, encode_node([(1024, REFERENCE), (1025, REFERENCE)])),
    "frames": sealed_frames,
    "root": lambda: seal_root(CONTEXT, ROOT)[0],
    "journal header": lambda: seal_journal_header(CONTEXT, JOURNAL),
    "object header": lambda: seal_object_header(CONTEXT, OBJECT, OBJECT_HEADER, 1),
    "wrapped file key": lambda: CONTEXT.new_file_key(INODE).wrapped,
    "wrapped master key": lambda: key_slot().wrapped,
    "identity": lambda: seal_identity(KEYS, IDENTITY),
    "vault header": lambda: serialise(
        Header(VAULT_ID, 3, 65536, (key_slot(),), seal_identity(KEYS, IDENTITY)), KEYS.header_mac_key
    ),
    "object name": lambda: journal.object_name_of(SECRET, 3),
    "small file's entry": lambda: encode_entry(ATTRIBUTES._replace(content=encode_content(SMALL))),
    "very small file's entry": lambda: encode_entry(ATTRIBUTES._replace(content=encode_content(SMALLEST))),
    "larger file's entry": lambda: encode_entry(ATTRIBUTES._replace(content=encode_content(LARGER))),
    "hard link's entry": lambda: encode_pointer(Pointer(INODE, 0o100640)),
    "head": lambda: encode_head(HEAD),
    **{f"record: {name}": lambda meant=meant: record(meant) for name, meant in RECORDS.items()},  # type: ignore[misc]
}


@pytest.fixture(params=["openssl", "pycryptodome"])
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    select_backend(request.param)
    yield
    select_backend("openssl")


def test_pycryptodome_by_hand_says_what_the_file_says():
    assert Path(__file__).with_name("vectors.json").read_text() == by_hand.to_json()


@pytest.mark.parametrize("name", [name for name, vector in by_hand.vectors().items() if vector.key])
def test_a_vector_s_key_nonce_aad_and_plaintext_give_its_stored_bytes(name: str):
    vector = json.loads(Path(__file__).with_name("vectors.json").read_bytes())[name]
    key, nonce, aad, plaintext = (bytes.fromhex(vector[field]) for field in ("key", "nonce", "aad", "plaintext"))
    assert nonce + gcm(key, aad, plaintext, nonce) in STORED[name]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("name", STORED)
def test_the_library_stores_the_same_bytes(name: str):
    assert SEALERS[name]().hex() == STORED[name].hex()


@pytest.mark.usefixtures("backend")
def test_a_slot_sealed_in_place_is_the_same():
    assert slot_in_place(KIND_CHUNK, 3, b"hello") == STORED["chunk"]


@pytest.mark.usefixtures("backend")
def test_the_library_reads_what_is_stored():
    cipher = SlotCipher(CONTEXT.object_cipher(FILE_KEY, OBJECT), KIND_CHUNK, VAULT_ID, OBJECT)
    assert cipher.open(4, 3, STORED["chunk"][-16:], STORED["chunk"]) == b"hello"
    assert cipher.salvage(4, STORED["chunk"]) == (7, 3, b"hello")
    opened = FrameCipher(CONTEXT, FILE_KEY, OBJECT).open(STORED["frames"], STORED["frames"][-16:])
    assert list(opened) == [(7, ITEMS[0]), (8, ITEMS[1])]
    assert open_root(CONTEXT, STORED["root"] + b"left from a longer one").root == ROOT
    assert open_journal_header(CONTEXT, 5, STORED["journal header"]) == JOURNAL
    assert open_object_header(CONTEXT, OBJECT, STORED["object header"]) == OBJECT_HEADER
    assert CONTEXT.unwrap_file_key(INODE, WRAPPED).key == FILE_KEY
    assert unlock(STORED["vault header"], PASSWORD).master == MASTER
    assert open_identity(KEYS, STORED["identity"]) == IDENTITY
    assert decode_head(STORED["head"]) == HEAD
    for name, section in (("small", SMALL), ("larger", LARGER), ("very small", SMALLEST)):
        entry = decode_entry(STORED[f"{name} file's entry"])
        assert isinstance(entry, Entry) and decode_content(entry.content) == section
    assert decode_entry(STORED["hard link's entry"]) == Pointer(INODE, 0o100640)


@pytest.mark.parametrize("name", RECORDS)
def test_the_library_reads_every_record(name: str):
    stored = bytes(JOURNAL_HEADER_SIZE) + STORED[f"record: {name}"]
    sealed = RecordCipher(CONTEXT, JOURNAL).open(memoryview(stored), JOURNAL_HEADER_SIZE)
    assert sealed is not None and sealed.end == len(stored)
    assert (sealed.sequence, sealed.synced, sealed.previous) == (78, 70, TAG_A)
    assert decode_record(sealed.kind, sealed.body) == RECORDS[name]


def test_every_record_type_has_a_vector():
    assert {type(meant) for meant in RECORDS.values()} == set(Record.__args__)
    assert set(SEALERS) == set(STORED)
