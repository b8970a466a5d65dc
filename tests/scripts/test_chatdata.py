"""scripts/chatdata makes what it promises: the same tree for a seed, files that decode, every difficult thing."""

import os
import random
import shutil
import sqlite3
import stat
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from _chatdata.filler import Pool
from _chatdata.formats import MAKERS
from _chatdata.mixture import KINDS, TIERS, counts, draw

SCRIPT = Path(__file__).parents[2] / "scripts" / "chatdata"
MEDIA = "Android/media/com.whatsapp/WhatsApp/Media"
DOCUMENTS = f"{MEDIA}/WhatsApp Documents"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A third of the ci tier, seed 7."""
    folder = tmp_path_factory.mktemp("chat") / "data"
    done = run(folder, "--seed", "7", "--scale", "0.3")
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(3)


def content(pool: Pool, kind: str, size: int) -> bytes:
    return b"".join(MAKERS[kind](pool.filler(b"x"), size))


def jpeg_segments(data: bytes) -> list[int]:
    """The markers of a JPEG up to its scan, checked to follow one another without a gap."""
    markers: list[int] = []
    place = 2
    while not markers or markers[-1] != 0xDA:
        assert data[place] == 0xFF
        markers.append(data[place + 1])
        place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return markers


def test_the_same_seed_gives_the_same_tree_and_another_does_not(data: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    assert run(again, "--seed", "7", "--scale", "0.3").returncode == 0
    assert run(other, "--seed", "8", "--scale", "0.3").returncode == 0
    same = run("--compare", data, again)
    assert (same.returncode, same.stdout.count("\n")) == (0, 1), same.stdout
    assert same.stdout.startswith("equal: ")
    assert run("--compare", data, other).returncode == 1


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = run(tmp_path)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert os.listdir(tmp_path) == ["mine"]


def test_every_jpeg_is_whole(data: Path) -> None:
    pictures = list((data / MEDIA).rglob("IMG-*.jpg"))
    assert len(pictures) == 33
    for picture in pictures:
        body = picture.read_bytes()
        assert (body[:2], body[-2:]) == (b"\xff\xd8", b"\xff\xd9")
        assert [marker for marker in jpeg_segments(body) if marker != 0xFE] == [0xE0, 0xDB, 0xC0, 0xC4, 0xDA]


@pytest.mark.parametrize("size", [15_000, 15_001, 15_002, 15_003, 68_300, 68_301, 68_302, 68_303, 68_304, 400_000])
def test_a_jpeg_has_exactly_its_size(pool: Pool, size: int) -> None:
    for extra in range(12):
        body = content(pool, "jpg", size + extra)
        assert len(body) == size + extra
        jpeg_segments(body)


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_every_format_has_exactly_the_size_asked_for(pool: Pool, kind: str) -> None:
    for size in (0, 1, 31, 100, 2_000, 3_333, 65_541, 300_001):
        assert len(content(pool, kind, size)) == size


def test_a_png_unpacks_to_its_pixels(pool: Pool) -> None:
    body = content(pool, "png", 10_000)
    place, chunks = 8, {}
    while place < len(body):
        length, name = struct.unpack_from(">I4s", body, place)
        chunks[name] = body[place + 8 : place + 8 + length]
        assert zlib.crc32(name + chunks[name]) == int.from_bytes(body[place + 8 + length : place + 12 + length])
        place += 12 + length
    assert list(chunks) == [b"IHDR", b"fiLr", b"IDAT", b"IEND"]
    assert len(zlib.decompress(chunks[b"IDAT"])) == 240 * (1 + 320 * 3)


def test_boxes_of_an_mp4_fill_it(pool: Pool) -> None:
    body = content(pool, "mp4", 50_000)
    place, names = 0, []
    while place < len(body):
        size, name = struct.unpack_from(">I4s", body, place)
        names.append(name)
        place += size
    assert (place, names) == (len(body), [b"ftyp", b"mdat", b"moov"])


def test_the_messages_are_a_sound_database(data: Path) -> None:
    with closing(sqlite3.connect(data / "plain" / "msgstore.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA page_size").fetchone() == (4096,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert database.execute("SELECT count(*) FROM message JOIN chat ON chat._id = chat_row_id").fetchone()[0] > 500
    packed = len(zlib.compress((data / "plain" / "msgstore.db").read_bytes()))
    assert packed < 0.7 * TIERS["ci"].plain * 0.3


def test_the_contacts_need_their_wal(data: Path, tmp_path: Path) -> None:
    names = ("wa.db", "wa.db-wal", "wa.db-shm")
    for name in names:
        shutil.copyfile(data / "plain" / name, tmp_path / name)
    with closing(sqlite3.connect(tmp_path / "wa.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*) FROM wa_contacts").fetchone() == (2_000,)
    alone = tmp_path / "alone.db"
    shutil.copyfile(data / "plain" / "wa.db", alone)
    with closing(sqlite3.connect(alone)) as database:
        assert database.execute("SELECT count(*) FROM wa_contacts").fetchone() == (1_500,)


def test_difficult_names_are_there(data: Path) -> None:
    names = os.listdir(os.fsencode(data / DOCUMENTS))
    for name in ("A.jpg", "a.jpg", "caf\u00e9.txt", "cafe\u0301.txt", "new\nline.txt", "trailing blank.txt ", "..."):
        assert name.encode() in names
    assert b"latin-1 caf\xe9.txt" in names
    assert {200, 254, 255} <= {len(name) for name in names}


def test_deep_and_long_paths_are_there(data: Path) -> None:
    deepest = longest = 0
    for folder, _, files, _ in os.fwalk(os.fsencode(data)):
        for name in files:
            path = os.path.relpath(os.path.join(folder, name), os.fsencode(data))
            deepest, longest = max(deepest, path.count(b"/")), max(longest, len(path))
    assert deepest > 300
    assert longest == 3_900


def test_special_kinds_are_there(data: Path) -> None:
    documents = data / DOCUMENTS
    assert stat.S_ISFIFO((documents / "fifo").lstat().st_mode)
    assert os.readlink(documents / "links" / "to nothing") == "/nonexistent/place"
    assert (documents / "links" / "one of three").stat().st_nlink == 3
    sparse = (documents / "sparse.img").stat()
    assert sparse.st_blocks * 512 < sparse.st_size // 8
    assert (documents / "attributes" / "mode 4755").stat().st_mode & 0o7777 == 0o4755
    assert os.getxattr(documents / "attributes" / "xattrs", "user.binary") == bytes(range(256))
    assert len(list((data / "SignalBackups" / "files").iterdir())) == 256


def test_times_are_spread_over_years_with_nanoseconds(data: Path) -> None:
    times = [path.stat().st_mtime_ns for path in (data / MEDIA).rglob("IMG-*")]
    assert max(times) - min(times) > 5 * 365 * 86_400 * 10**9
    assert sum(time % 1000 != 0 for time in times) > len(times) // 2


def test_one_in_twenty_is_a_forward() -> None:
    media = draw(TIERS["medium"], random.Random(1))
    assert len(media) - len({item.content for item in media}) == 500
    assert len({(item.content, item.size) for item in media}) == len({item.content for item in media})


def test_the_mixture_is_the_calibrated_one() -> None:
    sizes = sorted(item.size for item in draw(TIERS["medium"], random.Random(1)))
    assert sum(sizes) / len(sizes) == pytest.approx(650_000, rel=0.05)
    assert sizes[len(sizes) // 2] == pytest.approx(124_000, rel=0.05)
    assert sum(size < 65_536 for size in sizes) / len(sizes) == pytest.approx(0.34, abs=0.02)
    assert sum(size for size in sizes if size > 10**6) / sum(sizes) == pytest.approx(0.79, abs=0.03)


@pytest.mark.parametrize("tier", sorted(TIERS))
def test_a_tier_keeps_its_limit_and_count(tier: str) -> None:
    chosen = TIERS[tier]
    media = draw(chosen, random.Random(2))
    assert len(media) == chosen.files == sum(counts(chosen.files))
    assert sum(item.size for item in media) + chosen.databases() <= chosen.limit
    assert max(item.size for item in media) <= chosen.largest
    assert {item.kind.name for item in media} == {kind.name for kind in KINDS}


def test_a_limit_below_the_databases_is_refused() -> None:
    with pytest.raises(ValueError, match="fill the limit"):
        draw(TIERS["ci"].limited(10_000_000), random.Random(1))
