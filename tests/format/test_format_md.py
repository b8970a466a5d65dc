"""FORMAT.md's tables: the constants are the code's, the sizes are what the code writes, and the examples add up."""

import re
import stat
from pathlib import Path

import pytest

from vaultfs.crypto.aead import new_key
from vaultfs.format import constants, layout
from vaultfs.format.constants import INDEX_SEGMENT, MAP_ENTRY_SIZE, NODE_REFERENCES, ROOT_REFERENCES
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import Entry, Head, Part, Pointer, encode_entry, encode_head, encode_pointer
from vaultfs.sealing.frames import NO_TAG, FrameCipher, item_size
from vaultfs.sealing.journal import RecordCipher, new_journal_header, seal_journal_header
from vaultfs.sealing.maps import (
    ContentSection,
    InlineMap,
    NodeReference,
    TreeMap,
    encode_content,
    encode_inline_data,
    encode_node,
    pack_entry,
)
from vaultfs.sealing.objects import ObjectHeader, seal_object_header
from vaultfs.sealing.records import Create, Direct, Record, Write, encode_record
from vaultfs.sealing.roots import JournalStart, Root, seal_root
from vaultfs.sealing.slots import SlotCipher, stored_slot_size

TEXT = Path(constants.__file__).with_name("FORMAT.md").read_text()
CONTEXT = SealingContext(VaultKeys.from_master(bytes(16), new_key()), constants.CHUNK_SIZE_DEFAULT)
CHUNK = constants.CHUNK_SIZE_DEFAULT
NAME, TAG, KEY = bytes(16), bytes(16), bytes(48)
REFERENCE = NodeReference(NAME, 0, 0, TAG, 0)


def table(heading: str) -> dict[str, str]:
    """The rows of the two-column table with this heading."""
    _, _, rest = TEXT.partition(f"| {heading} |\n|---|---|\n")
    assert rest, f"FORMAT.md has no table {heading}"
    rows = re.match(r"(?:\|[^\n]*\n)*", rest)
    assert rows is not None
    return dict(re.findall(r"^\| (.*?) \| (.*?) \|$", rows[0], re.MULTILINE))


def shown(value: int | bytes) -> str:
    return f"`{value.decode()}`" if isinstance(value, bytes) else str(value)


def test_constants_are_the_code_s():
    said = table("name | value")
    meant = {name: shown(value) for name, value in vars(constants).items() if name.isupper()}
    assert said == meant


def entry(content: bytes = b"", mode: int = stat.S_IFREG) -> bytes:
    return encode_entry(Entry(1024, mode, 0, 0, 1, 0, 0, 0, 0, 0, 0, b"", {}, content))


def inline(chunks: int) -> bytes:
    return encode_content(ContentSection(KEY, 0, InlineMap(NAME, 0, pack_entry(0, 1, TAG) * chunks)))


def tree(level: int, references: int) -> bytes:
    numbered = tuple((index, REFERENCE) for index in range(references))
    return encode_content(ContentSection(KEY, 0, TreeMap(level, NAME, 0, numbered)))


def frames(items: list[tuple[bytes, bytes]]) -> bytes:
    return FrameCipher(CONTEXT, new_key(), NAME).seal(items, 1, constants.OBJECT_HEADER_SIZE, NO_TAG)[0]


def root(top: bytes) -> bytes:
    return seal_root(CONTEXT, Root(1, True, 1, 0, 0, 0, JournalStart(0, NAME, 0, TAG), top, top, top, (), ()))[0]


def record(meant: Record) -> bytes:
    header = new_journal_header(1, 1)
    return RecordCipher(CONTEXT, header).seal(constants.JOURNAL_HEADER_SIZE, 1, 0, TAG, *encode_record(meant))[0]


def object_header() -> bytes:
    return seal_object_header(CONTEXT, NAME, ObjectHeader(1, 1024, 0, 1, bytes(32)), 1)


def test_structures_have_the_sizes_said():
    part = Part(NAME, 0, TAG)
    base, both = (encode_head(Head(KEY, 0, 0, part, delta)) for delta in (None, part))
    direct = Direct(0, NAME, 0, 1, TAG)
    bare = encode_record(Write(1, 0, 0, 0, b"", (), ()))[1]
    slot = SlotCipher(CONTEXT.object_cipher(bytes(32), NAME), b"C", bytes(16), NAME).seal(0, 1, 0, b"data")
    assert table("structure | bytes") == {
        what: str(size)
        for what, size in {
            "object header": len(object_header()),
            "slot, besides its data": len(slot[0]) + len(slot[1]) - len(b"data"),
            "map entry": len(pack_entry(0, 1, TAG)),
            "reference": len(encode_node([(0, REFERENCE)])),
            "content section of a small file, besides its map entries": len(inline(0)),
            "content section of a larger file, besides its references": len(tree(0, 0)),
            "content section of a very small file, besides its data": len(encode_inline_data(b"")),
            "part of a head": len(both) - len(base),
            "head with a base": len(base),
            "head with base and delta": len(both),
            "frame, besides its items": len(frames([])),
            "item of a frame, besides name and entry": item_size(b"", b""),
            "entry, besides what is flagged": len(entry()),
            "entry of a hard link": len(encode_pointer(Pointer(1, 0))),
            "root plaintext, besides entries and lists": len(root(b"")) - 32,
            "root, besides its plaintext": constants.ROOT_PREFIX_SIZE + constants.TAG_SIZE,
            "journal header": len(seal_journal_header(CONTEXT, new_journal_header(1, 1))),
            "record, besides its body and padding": 16 + constants.RECORD_HEADER_SIZE + constants.TAG_SIZE,
            "direct of a Write": len(encode_record(Write(1, 0, 0, 0, KEY, (direct,), ()))[1]) - len(bare) - len(KEY),
            "patch of a Write, besides its bytes": len(encode_record(Write(1, 0, 0, 0, b"", (), ((0, b""),)))[1])
            - len(bare),
        }.items()
    }


def segment_size(chunks: list[int]) -> int:
    """Bytes of a segment's object whose chunks, of these sizes, stand in the first slots."""
    last = len(chunks) - 1
    return layout.slot_offset(last, CHUNK) + stored_slot_size(chunks[last])


def examples() -> dict[str, int]:
    photo = entry(inline(3))
    photo_name, folder = b"IMG_20250131_120000.jpg", b"DCIM"
    photos = [(b"IMG_%019d" % number, photo) for number in range(50_000)]
    assert {len(name) for name, _ in photos} == {len(photo_name)}
    own = (b"", entry(bytes(8) + folder, stat.S_IFDIR))
    listing = frames([own, *photos])
    renamed = frames([own, (photo_name, b""), (photo_name, photo)])
    chunks = (5 << 30) // CHUNK
    segments = chunks // constants.CHUNKS_PER_SEGMENT
    assert ROOT_REFERENCES < segments <= NODE_REFERENCES
    leaf = MAP_ENTRY_SIZE * constants.CHUNKS_PER_SEGMENT
    segment = segment_size([CHUNK] * constants.CHUNKS_PER_SEGMENT + [leaf])
    inner = encode_node([(index, REFERENCE) for index in range(segments)])
    index = segment_size([len(inner)])
    note = entry(inline(1))
    created = Create(1, 0, b"notes.txt", entry())
    return {
        "1,000-byte file `notes.txt`: entry (66 + 78 + 24)": len(note),
        "… its item in the directory (5 + 9 + 168)": item_size(b"notes.txt", note),
        "… its object (96 + 44 + 1,000)": segment_size([1000]),
        "… Create in the journal (65 + 17 + 9 + 66, padded)": len(record(created)),
        "… Write in the journal (65 + 32 + 12 + 1,000, padded)": len(
            record(Write(1024, 1000, 0, 0, b"", (), ((0, bytes(1000)),)))
        ),
        "150,000-byte photo `IMG_20250131_120000.jpg`: entry (66 + 78 + 3 × 24)": len(photo),
        "… its item (5 + 23 + 216)": item_size(photo_name, photo),
        "… its object (96 + 2 × 65,580 + 44 + 18,928)": segment_size([CHUNK, CHUNK, 150_000 - 2 * CHUNK]),
        "5 GiB file: chunks": chunks,
        "… segments": segments,
        "… one segment (96 + 1,024 × 65,580 + leaf 44 + 24,576)": segment,
        "… its index object (96 + 44 + 80 × 52)": index,
        "… all objects (80 × 67,178,636 + 4,300)": segments * segment + index,
        "… its entry (66 + 80 + 52)": len(entry(tree(1, 1))),
        "50,000 such photos in `DCIM`: frames": len(
            list(FrameCipher(CONTEXT, bytes(32), NAME).open(*_sealed([own, *photos])))
        ),
        "… the directory's object (96 + 12 × 40 + own item 83 + 50,000 × 244)": len(object_header()) + len(listing),
        "… a delta object after one photo is renamed (96 + 40 + 83 + 28 + 244)": len(object_header()) + len(renamed),
        "a new vault's root (16 + 109 + 3 × 66 + 16)": len(root(entry())),
    }


def _sealed(items: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    cipher = FrameCipher(CONTEXT, bytes(32), NAME)
    return cipher.seal(items, 1, constants.OBJECT_HEADER_SIZE, NO_TAG)


def test_worked_examples_add_up():
    assert table("example | bytes") == {what: str(total) for what, total in examples().items()}


@pytest.mark.parametrize("row", table("example | bytes").items(), ids=lambda row: row[0])
def test_worked_sums_are_their_totals(row: tuple[str, str]):
    """The sum in brackets is the total, where the row shows one."""
    what, total = row
    found = re.search(r"\(([^)]*)\)$", what)
    if found is None:
        return
    terms = re.sub(r"[a-z ]|(?<=\d),(?=\d)", "", found[1].replace(", padded", "")).replace("×", "*")
    assert re.fullmatch(r"[\d+*]+", terms)
    worked = sum(eval_product(term) for term in terms.split("+"))
    assert -(-worked // 16) * 16 == int(total) if "padded" in what else worked == int(total)


def eval_product(term: str) -> int:
    left, _, right = term.partition("*")
    return int(left) * int(right or 1)


def test_every_kind_has_its_aad():
    kinds = {value.decode() for name, value in vars(constants).items() if name.startswith("KIND_")}
    assert set(re.findall(r'^\| `(.)` \| [^|]* \| `"\1" ‖ vault id', TEXT, re.MULTILINE)) == kinds


def test_index_segment_is_what_the_text_says():
    assert INDEX_SEGMENT == 2**64 - 1
