"""Properties of the format's code: what is encoded reads back the same, and any other bytes are Damaged."""

import contextlib
import json
import stat
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.format import strategies as some
from tests.format.by_hand import FILE_KEY, INODE, MASTER, OBJECT, SALT
from tests.format.parsers import CONTEXT, JOURNAL, PARSERS, SLOTS
from vaultfs.errors import Damaged, VaultfsError
from vaultfs.format.constants import (
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
    RecordCipher,
    new_journal_header,
    open_journal_header,
    seal_journal_header,
)
from vaultfs.sealing.maps import (
    ContentSection,
    decode_content,
    decode_node,
    encode_content,
    encode_node,
    stored_size,
)
from vaultfs.sealing.objects import ObjectHeader, open_object_header, seal_object_header
from vaultfs.sealing.records import Record, decode_record, encode_record
from vaultfs.sealing.roots import JournalStart, Root, open_root, seal_root

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


@pytest.mark.parametrize("name", PARSERS)
def test_the_parsers_read_their_samples(name: str):
    for sample in PARSERS[name].samples:
        PARSERS[name].read(sample)


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=300))
@example(data=b"")
@example(data=bytes(300))
@example(data=b"\xff" * 300)
def test_any_bytes_are_read_or_refused(name: str, data: bytes):
    with contextlib.suppress(VaultfsError):
        PARSERS[name].read(data)


TRAPS = (
    b"[" * 4000,
    b'{"generation": Infinity, "tag": ""}',
    b'{"generation": 1e999, "tag": "00"}',
    b'{"drilled": "2025-01-31T12:00:00"}',
    json.dumps({"verified": [float("inf")] * 256, "run": None}).encode(),
    json.dumps({"verified": [0] * 256, "run": {"folders": [float("inf")], "begun": 1, "cursor": None}}).encode(),
    json.dumps({"host": "h", "pid": 2**70, "since": [[]], "mode": "read"}).encode(),
    b"\xff\xfe\x00\xd8",
)
"""What parsers of JSON are known to trip over: depth, numbers that are none, times without a zone, odd encodings."""


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", PARSERS)
def test_traps_are_read_or_refused(name: str, trap: bytes):
    with contextlib.suppress(VaultfsError):
        PARSERS[name].read(trap)


@st.composite
def spoiled(draw: st.DrawFn, encoded: st.SearchStrategy[bytes]) -> bytes:
    """An encoding with a few bytes changed, cut off or added."""
    data = bytearray(draw(encoded))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.data())
def test_spoiled_samples_are_read_or_refused(name: str, data: st.DataObject):
    with contextlib.suppress(VaultfsError):
        PARSERS[name].read(data.draw(spoiled(st.sampled_from(PARSERS[name].samples))))


@pytest.mark.parametrize("kind", range(14))
@given(data=st.binary(max_size=300))
def test_records_of_any_kind_are_read_or_damaged(kind: int, data: bytes):
    with contextlib.suppress(Damaged):
        decode_record(kind, data)


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


def opened_chunk(stored: bytes) -> object:
    return SLOTS.open(4, 3, CHUNK[-16:], stored)


def opened_record(stored: bytes) -> object:
    found = RecordCipher(CONTEXT, JOURNAL).open(memoryview(stored), 0)
    if found is None:
        raise Damaged("no record")
    return found


ROOT = Root(1, True, 1, 0, 0, 0, JournalStart(5, SALT, 0, NO_TAG), b"", b"", b"", (), ())
CHUNK = b"".join(SLOTS.seal(4, 7, 3, b"some data")[:2])
FRAMES, LAST_TAG = FrameCipher(CONTEXT, FILE_KEY, OBJECT).seal([(b"a", b"b" * 66)], 7, OBJECT_HEADER_SIZE, NO_TAG)
SEALED: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "chunk": (CHUNK, opened_chunk),
    "frame": (FRAMES, lambda data: list(FrameCipher(CONTEXT, FILE_KEY, OBJECT).open(data, LAST_TAG))),
    "record": (RecordCipher(CONTEXT, JOURNAL).seal(0, 1, 0, NO_TAG, 10, bytes(15))[0], opened_record),
    "object header": (
        seal_object_header(CONTEXT, OBJECT, ObjectHeader(1, INODE, 0, 1, FILE_KEY), 1),
        PARSERS["stored object header"].read,
    ),
    "journal header": (
        seal_journal_header(CONTEXT, JOURNAL)[:-4],
        lambda data: PARSERS["stored journal header"].read(data + bytes(4)),
    ),
    "wrapped key": (CONTEXT.new_file_key(INODE).wrapped, PARSERS["wrapped key"].read),
    "root": (seal_root(CONTEXT, ROOT)[0], PARSERS["stored root"].read),
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
        SLOTS.open(5, 3, CHUNK[-16:], CHUNK)
    with pytest.raises(Damaged):
        SLOTS.open(4, 2, CHUNK[-16:], CHUNK)
    with pytest.raises(Damaged):
        SLOTS.open(4, 3, bytes(16), CHUNK)
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
