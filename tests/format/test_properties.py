"""Properties of the format's code: what is encoded reads back the same, and any other bytes are Damaged."""

import contextlib
import stat
import struct
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.format import strategies as some
from tests.format.by_hand import FILE_KEY, INODE, MASTER, OBJECT, SALT, SECRET, VAULT_ID
from vaultfs.crypto.aead import Aead, new_nonce
from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    JOURNAL_HEADER_PLAIN_SIZE,
    JOURNAL_HEADER_SIZE,
    KIND_CHUNK,
    KIND_FRAME,
    KIND_HEADER,
    KIND_JOURNAL,
    KIND_ROOT,
    OBJECT_HEADER_PLAIN_SIZE,
    OBJECT_HEADER_SIZE,
)
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import (
    Entry,
    Head,
    Pointer,
    decode_entry,
    decode_head,
    decode_xattrs,
    encode_entry,
    encode_head,
    encode_pointer,
    encode_xattrs,
    entry_id_and_mode,
    glance,
)
from vaultfs.sealing.frames import NO_TAG, FrameCipher, Items
from vaultfs.sealing.journal import (
    JournalHeader,
    RecordCipher,
    new_journal_header,
    open_journal_header,
    seal_journal_header,
)
from vaultfs.sealing.maps import (
    ContentSection,
    check_leaf,
    decode_content,
    decode_node,
    encode_content,
    encode_node,
    stored_size,
)
from vaultfs.sealing.objects import ObjectHeader, open_object_header, seal_object_header
from vaultfs.sealing.records import Record, decode_record, encode_record
from vaultfs.sealing.roots import JournalStart, Root, open_root, seal_root
from vaultfs.sealing.slots import SlotCipher

CONTEXT = SealingContext(VaultKeys.from_master(VAULT_ID, MASTER), 65536)
JOURNAL = JournalHeader(5, 9, SALT, SECRET)
OBJECT_CIPHER = CONTEXT.object_cipher(FILE_KEY, OBJECT)
settings.register_profile("format", deadline=None)
settings.load_profile("format")


@given(some.entries)
def test_entries_read_back(entry: Entry):
    data = encode_entry(entry)
    assert decode_entry(data) == entry
    assert entry_id_and_mode(data) == (entry.id, entry.mode)


@given(some.entries | some.entries.map(lambda entry: entry._replace(device=0, target=b"", xattrs={})), some.sections)
def test_a_glance_at_an_entry_sees_what_is_there_or_nothing(entry: Entry, section: ContentSection):
    entry = entry._replace(content=encode_content(section) if entry.content else b"")
    seen = glance(encode_entry(entry))
    if entry.device or entry.target or entry.xattrs:
        assert seen is None
    else:
        assert seen is not None
        stored = section.stored if entry.content and stat.S_ISREG(entry.mode) else 0
        assert seen == (*entry[:9], stored)


@given(some.pointers)
def test_a_glance_at_a_hard_link_sees_nothing(pointer: Pointer):
    assert glance(encode_pointer(pointer)) is None


@given(some.pointers)
def test_hard_links_read_back(pointer: Pointer):
    data = encode_pointer(pointer)
    assert decode_entry(data) == pointer
    assert entry_id_and_mode(data) == (pointer.id, pointer.mode)


@given(some.xattrs)
def test_xattrs_read_back_in_one_form(xattrs: dict[bytes, bytes]):
    data = encode_xattrs(xattrs)
    assert decode_xattrs(data) == xattrs
    assert encode_xattrs(dict(reversed(xattrs.items()))) == data


@given(some.sections)
def test_content_sections_read_back(section: ContentSection):
    data = encode_content(section)
    assert decode_content(data) == section
    assert stored_size(data) == section.stored


@given(some.numbered)
def test_nodes_read_back(references: tuple[tuple[int, object], ...]):
    assert tuple(decode_node(encode_node(list(references)))) == references  # type: ignore[arg-type]


@given(some.heads)
def test_heads_read_back(head: Head):
    assert decode_head(encode_head(head)) == head


@given(some.records)
def test_records_read_back(record: Record):
    assert decode_record(*encode_record(record)) == record


@given(some.roots)
def test_roots_read_back(root: Root):
    stored, tag = seal_root(CONTEXT, root)
    assert open_root(CONTEXT, stored) == (root, tag)


@given(some.items, st.integers(0, 2**64 - 1))
def test_frames_read_back(items: Items, generation: int):
    stored, tag = FrameCipher(CONTEXT, FILE_KEY, OBJECT).seal(items, generation, OBJECT_HEADER_SIZE, NO_TAG)
    assert list(FrameCipher(CONTEXT, FILE_KEY, OBJECT).open(stored, tag)) == [(generation, items)]


DECODERS: dict[str, Callable[[bytes], object]] = {
    "entry": decode_entry,
    "id and mode": entry_id_and_mode,
    "xattrs": decode_xattrs,
    "head": decode_head,
    "content section": decode_content,
    "stored size": stored_size,
    "node": decode_node,
    "leaf": lambda data: check_leaf(data, 65536),
    "root": lambda data: open_root(CONTEXT, data),
    "object header": lambda data: open_object_header(CONTEXT, OBJECT, data),
    "journal header": lambda data: open_journal_header(CONTEXT, 5, data),
    "wrapped key": lambda data: CONTEXT.unwrap_file_key(INODE, data),
    "frames": lambda data: list(FrameCipher(CONTEXT, FILE_KEY, OBJECT).open(data, NO_TAG)),
    "slot": lambda data: slot_cipher().open(4, 3, data[-16:], data),
    "salvaged slot": lambda data: slot_cipher().salvage(4, data),
    "record in its place": lambda data: RecordCipher(CONTEXT, JOURNAL).open(memoryview(data), 0),
    **{f"record {kind}": lambda data, kind=kind: decode_record(kind, data) for kind in range(14)},  # type: ignore[misc]
}
"""Everything that turns stored or authentic bytes into values."""


def slot_cipher() -> SlotCipher:
    return SlotCipher(OBJECT_CIPHER, KIND_CHUNK, VAULT_ID, OBJECT)


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=bytes(300))
@example(data=b"\xff" * 300)
def test_any_bytes_are_read_or_damaged(name: str, data: bytes):
    with contextlib.suppress(Damaged):
        DECODERS[name](data)


@st.composite
def spoiled(draw: st.DrawFn, encoded: st.SearchStrategy[bytes]) -> bytes:
    """An encoding with a few bytes changed, cut off or added."""
    data = bytearray(draw(encoded))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


@given(
    spoiled(some.records.map(lambda record: bytes((encode_record(record)[0],)) + encode_record(record)[1]))
)
def test_spoiled_records_are_read_or_damaged(data: bytes):
    with contextlib.suppress(Damaged):
        record = decode_record(data[0] if data else 0, data[1:])
        # What was read is all that was there: nothing is passed over, flags that say yes in another way apart.
        assert len(encode_record(record)[1]) == len(data) - 1


@given(spoiled(some.entries.map(encode_entry) | some.pointers.map(encode_pointer)))
def test_spoiled_entries_are_read_or_damaged(data: bytes):
    with contextlib.suppress(Damaged):
        decode_entry(data)


@given(spoiled(some.sections.map(encode_content)))
def test_spoiled_content_sections_are_read_or_damaged(data: bytes):
    with contextlib.suppress(Damaged):
        assert encode_content(decode_content(data)) == data


def cut(data: bytes) -> st.SearchStrategy[bytes]:
    """Any beginning of `data` but the whole of it."""
    return st.integers(0, len(data) - 1).map(lambda length: data[:length])


@given(some.records.map(encode_record).flatmap(lambda made: st.tuples(st.just(made), cut(made[1]))))
def test_a_record_cut_short_is_never_the_same(case: tuple[tuple[int, bytes], bytes]):
    (kind, whole), short = case
    with contextlib.suppress(Damaged):
        assert decode_record(kind, short) != decode_record(kind, whole)


def sealed_with(cipher: Aead, aad: bytes, plaintext: bytes) -> bytes:
    """nonce ‖ ciphertext ‖ tag, as whoever has the key could make it."""
    nonce = new_nonce()
    return nonce + cipher.seal(nonce, plaintext, aad)


@given(st.binary(max_size=400))
@example(struct.pack("<HB72x16xIHIII", 1, 0, 2**32 - 1, 65535, 0, 0, 0).ljust(109, b"\0"))
def test_a_root_that_says_anything_is_read_or_damaged(plaintext: bytes):
    length = struct.pack("<I", len(plaintext) + 16)
    with contextlib.suppress(Damaged):
        open_root(CONTEXT, length + sealed_with(CONTEXT.root_cipher(), KIND_ROOT + VAULT_ID + length, plaintext))


@given(st.binary(max_size=400))
def test_a_frame_that_says_anything_is_read_or_damaged(plaintext: bytes):
    aad = KIND_FRAME + VAULT_ID + OBJECT + struct.pack("<QI", OBJECT_HEADER_SIZE, len(plaintext) + 16) + NO_TAG
    stored = struct.pack("<I", len(plaintext) + 16) + sealed_with(OBJECT_CIPHER, aad, plaintext)
    with contextlib.suppress(Damaged):
        list(FrameCipher(CONTEXT, FILE_KEY, OBJECT).open(stored, stored[-16:]))


@given(st.binary(min_size=OBJECT_HEADER_PLAIN_SIZE, max_size=OBJECT_HEADER_PLAIN_SIZE))
def test_an_object_header_that_says_anything_is_read_or_damaged(plaintext: bytes):
    epoch = bytes(4)
    sealed = sealed_with(CONTEXT.header_cipher(OBJECT), KIND_HEADER + VAULT_ID + OBJECT + epoch, plaintext)
    with contextlib.suppress(Damaged):
        open_object_header(CONTEXT, OBJECT, epoch + sealed)


@given(st.binary(min_size=JOURNAL_HEADER_PLAIN_SIZE, max_size=JOURNAL_HEADER_PLAIN_SIZE))
def test_a_journal_header_that_says_anything_is_read_or_damaged(plaintext: bytes):
    aad = KIND_JOURNAL + VAULT_ID + struct.pack("<Q", 5)
    sealed = sealed_with(CONTEXT.journal_header_cipher(5, SALT), aad, plaintext)
    with contextlib.suppress(Damaged):
        open_journal_header(CONTEXT, 5, (SALT + sealed).ljust(JOURNAL_HEADER_SIZE, b"\0"))


def opened_chunk(stored: bytes) -> object:
    return slot_cipher().open(4, 3, CHUNK[-16:], stored)


def opened_record(stored: bytes) -> object:
    found = RecordCipher(CONTEXT, JOURNAL).open(memoryview(stored), 0)
    if found is None:
        raise Damaged("no record")
    return found


ROOT = Root(1, True, 1, 0, 0, 0, JournalStart(5, SALT, 0, NO_TAG), b"", b"", b"", (), ())
CHUNK = b"".join(slot_cipher().seal(4, 7, 3, b"some data")[:2])
FRAMES, LAST_TAG = FrameCipher(CONTEXT, FILE_KEY, OBJECT).seal([(b"a", b"b" * 66)], 7, OBJECT_HEADER_SIZE, NO_TAG)
SEALED: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "chunk": (CHUNK, opened_chunk),
    "frame": (FRAMES, lambda data: list(FrameCipher(CONTEXT, FILE_KEY, OBJECT).open(data, LAST_TAG))),
    "record": (RecordCipher(CONTEXT, JOURNAL).seal(0, 1, 0, NO_TAG, 10, bytes(15))[0], opened_record),
    "object header": (
        seal_object_header(CONTEXT, OBJECT, ObjectHeader(1, INODE, 0, 1, FILE_KEY), 1),
        DECODERS["object header"],
    ),
    "journal header": (
        seal_journal_header(CONTEXT, JOURNAL)[:-4],
        lambda data: DECODERS["journal header"](data + bytes(4)),
    ),
    "wrapped key": (CONTEXT.new_file_key(INODE).wrapped, DECODERS["wrapped key"]),
    "root": (seal_root(CONTEXT, ROOT)[0], DECODERS["root"]),
}


@pytest.mark.parametrize("name", SEALED)
def test_the_samples_are_read(name: str):
    stored, reader = SEALED[name]
    reader(stored)


@pytest.mark.parametrize("name", SEALED)
def test_any_changed_bit_is_damaged(name: str):
    stored, reader = SEALED[name]
    for place in range(len(stored)):
        changed = bytearray(stored)
        changed[place] ^= 1 << place % 8
        with pytest.raises(Damaged):
            reader(bytes(changed))


@pytest.mark.parametrize("name", SEALED)
def test_any_cut_is_damaged(name: str):
    stored, reader = SEALED[name]
    for length in range(len(stored)):
        with pytest.raises(Damaged):
            reader(stored[:length])


def test_a_seal_is_worth_nothing_in_another_place():
    other_vault = SealingContext(VaultKeys.from_master(bytes(16), MASTER), 65536)
    with pytest.raises(Damaged):
        slot_cipher().open(5, 3, CHUNK[-16:], CHUNK)
    with pytest.raises(Damaged):
        slot_cipher().open(4, 2, CHUNK[-16:], CHUNK)
    with pytest.raises(Damaged):
        slot_cipher().open(4, 3, bytes(16), CHUNK)
    with pytest.raises(Damaged):
        open_root(other_vault, SEALED["root"][0])
    with pytest.raises(Damaged):
        open_journal_header(CONTEXT, 6, seal_journal_header(CONTEXT, JOURNAL))
    with pytest.raises(Damaged):
        open_object_header(CONTEXT, SALT, SEALED["object header"][0])
    with pytest.raises(Damaged):
        CONTEXT.unwrap_file_key(INODE + 1, SEALED["wrapped key"][0])
    record = SEALED["record"][0]
    assert RecordCipher(CONTEXT, JOURNAL).open(memoryview(bytes(16) + record), 16) is None
    assert RecordCipher(CONTEXT, new_journal_header(5, 9)).open(memoryview(record), 0) is None


def test_frames_out_of_order_are_damaged():
    cipher = FrameCipher(CONTEXT, FILE_KEY, OBJECT)
    first, first_tag = cipher.seal([(b"a", b"1")], 1, OBJECT_HEADER_SIZE, NO_TAG)
    second, second_tag = cipher.seal([(b"a", b"2")], 2, OBJECT_HEADER_SIZE + len(first), first_tag)
    assert len(list(cipher.open(first + second, second_tag))) == 2
    both = first + second
    for stored, tag in ((second + first, first_tag), (first, second_tag), (both, first_tag), (second, second_tag)):
        with pytest.raises(Damaged):
            list(cipher.open(stored, tag))
