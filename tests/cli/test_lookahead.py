"""Reading ahead on the way out: all of it once and in time, no more than said, and nothing read differs by it."""

import os
import random
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD, environment
from tests.vault.harness import vault_with
from vaultfs.cli import lookahead as module
from vaultfs.cli import walking
from vaultfs.cli.filedata import data_pieces
from vaultfs.cli.lookahead import FileAhead, Lookahead
from vaultfs.cli.walking import TreeWalk
from vaultfs.errors import Damaged
from vaultfs.format.constants import INLINE_DATA
from vaultfs.store.handles import HandleCache
from vaultfs.vault.inline import Inline
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions

MIB = 1 << 20
CHUNK = 65536
ROOT = 1

Brought = list[tuple[str, int, int]]


@pytest.fixture
def brought_in(monkeypatch: pytest.MonkeyPatch) -> Brought:
    """(path, size, offset) of everything that is read ahead, without threads: in the order it was asked for."""
    found: Brought = []
    monkeypatch.setattr(HandleCache, "read_ahead", lambda _, *extent: found.append(extent))
    monkeypatch.setattr(Lookahead, "start", lambda _, job: job())
    return found


def tree_of(count: int) -> dict[str, bytes]:
    """Files of all sizes in folders of a few each, deep and wide."""
    rng = random.Random(count)
    sizes = [0, 10, 5000, CHUNK, 100_000, 2 * CHUNK + 1]
    return {f"{n // 40}/{n // 5}/{n:04}": rng.randbytes(rng.choice(sizes)) for n in range(count)}


def contents(
    vault: Inline, ahead: Lookahead, lost: Callable[[int, int, str], None], each: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[str, bytes]]:
    """(path, content) of every file, read as an export reads them; `each` is told the size of every piece."""
    start = vault.getattr(ROOT)
    for step in ahead.follow(iter(TreeWalk(vault, start)), iter(TreeWalk(vault, start))):
        assert step.inode is not None
        if not step.leaving and step.inode.mode >> 12 == 0o10:
            content = bytearray(step.inode.size)
            for offset, data in data_pieces(vault, ahead, step.inode, lost):
                content[offset : offset + len(data)] = data
                each(len(data))
            yield step.path.decode(), bytes(content)


def never(start: int, end: int, cause: str) -> None:
    pytest.fail(f"bytes {start} to {end}: {cause}")


def test_each_file_is_begun_once_and_before_it_is_read(brought_in: Brought, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tree_of(300)
    vault = vault_with(files)
    read: set[str] = set()
    late: set[str] = set()
    get = HandleCache.get

    def reading(cache: HandleCache, path: str) -> object:
        if path not in read | {path for path, _, _ in brought_in}:
            late.add(path)
        read.add(path)
        return get(cache, path)

    monkeypatch.setattr(HandleCache, "get", reading)
    with Lookahead(vault.vault.contents_ahead) as ahead:
        assert dict(contents(vault, ahead, never)) == files
    begun = [path for path, _, _ in brought_in]
    assert len(begun) == len(set(begun)) == sum(1 for content in files.values() if len(content) > INLINE_DATA)
    assert len(late) == 1 + 8 + 60, "only folders are read without having been brought in"


def test_every_part_of_a_large_file_is_brought_in_once(brought_in: Brought) -> None:
    content = random.Random(1).randbytes(30 * MIB)
    vault = vault_with({"video": content})
    with Lookahead(vault.vault.contents_ahead) as ahead:
        for _, found in contents(vault, ahead, never):
            assert found == content
    slots = [(offset, size) for _, size, offset in brought_in if size >= CHUNK]
    assert sum(size for _, size in slots) == pytest.approx(30 * MIB, rel=0.01)
    assert len({offset for offset, _ in slots}) == len(slots)


def test_no_more_is_brought_in_than_said(brought_in: Brought) -> None:
    files = {f"{number:02}": bytes([number]) * (3 * MIB) for number in range(20)} | {"video": b"v" * (40 * MIB)}
    vault = vault_with(files)
    read = 0

    def each(size: int) -> None:
        nonlocal read
        read += size
        assert sum(size for _, size, _ in brought_in) - read < 30.1 * MIB

    with Lookahead(vault.vault.contents_ahead) as ahead:
        assert dict(contents(vault, ahead, never, each)) == files
    brought_in.clear()
    video = vault.lookup(ROOT, b"video").id
    with Lookahead(vault.vault.contents_ahead) as ahead:
        FileAhead(ahead, vault, video).reading(0)
    assert sum(size for _, size, _ in brought_in) <= 9 * MIB
    brought_in.clear()
    with Lookahead(vault.vault.contents_ahead) as ahead:
        next(contents(vault, ahead, never))
    assert sum(size for _, size, _ in brought_in) < 21 * MIB


def test_what_was_not_begun_is_dropped_when_the_reader_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    go_on = threading.Event()

    def job(number: int) -> None:
        go_on.wait(10)
        done.append(number)

    before = threading.active_count()
    with Lookahead(lambda inodes, size: lambda: None) as ahead:
        for number in range(100):
            ahead.start(partial(job, number))
        threading.Timer(0.1, go_on.set).start()
    assert len(done) <= module._THREADS
    assert threading.active_count() <= before + 1  # the timer


def test_two_walks_find_everything_however_much_is_forgotten(
    brought_in: Brought, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each walk forgets what is not in use, that is by itself."""
    monkeypatch.setattr(walking, "_EVICT_EVERY", 1)
    files = tree_of(300)
    nothing = Settings(inode_budget=0, entry_budget=0, directory_budget=0, fresh_directories=0, open_objects=8)
    vault = vault_with(files, OpenOptions(settings=nothing))
    with Lookahead(vault.vault.contents_ahead) as ahead:
        assert dict(contents(vault, ahead, never)) == files
    assert brought_in


def test_a_scout_that_fails_leaves_the_error_to_the_walk() -> None:
    vault = vault_with({"a": b"a", "b": b"b"})
    steps = list(TreeWalk(vault, vault.getattr(ROOT)))

    def failing() -> Iterator[walking.Step]:
        yield steps[0]
        raise Damaged("no more")

    with Lookahead(vault.vault.contents_ahead) as ahead:
        assert list(ahead.follow(iter(steps), failing())) == steps
    with Lookahead(vault.vault.contents_ahead) as ahead:
        walk = ahead.follow(failing(), iter(steps))
        assert next(walk) == steps[0]
        with pytest.raises(Damaged, match="no more"):
            next(walk)


# The commands themselves, on a vault with many files of which some are damaged.


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    rng = random.Random(3)
    for number in range(60):
        folder = path / f"{number // 10}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"photo {number}").write_bytes(rng.randbytes(rng.choice([100, CHUNK, 150_000, 1_200_000])))
    with (path / "video").open("wb") as video:
        video.write(rng.randbytes(9 * MIB + 5))
        video.seek(20 * MIB)
        video.write(rng.randbytes(6 * MIB))
    return path


@pytest.fixture
def filled(vaultfs, vault: Path, source: Path) -> Path:
    done = vaultfs("import", source, vault, "--verify", stdin=PASSWORD)
    assert done.code == 0, done
    return vault


def stored(vaultfs, vault: Path, plain: str) -> Path:
    line: str = vaultfs("where", f"{vault}:{plain}", stdin=PASSWORD).out.splitlines()[-1]
    return vault / line.split(maxsplit=1)[0]


def spoil(vaultfs, vault: Path, source: Path) -> dict[str, bytes]:
    """Damage some files in different ways; what may be found of each file now, by path."""
    expected = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    video = stored(vaultfs, vault, "/video")
    data = bytearray(video.read_bytes())
    slot = 96 + 100 * (CHUNK + 44)
    data[slot + 5000] ^= 1
    video.write_bytes(data)
    expected["video"] = expected["video"][: 100 * CHUNK] + bytes(CHUNK) + expected["video"][101 * CHUNK :]
    names = sorted(name for name, content in expected.items() if len(content) == 150_000)
    missing, short = names[1], names[-1]
    stored(vaultfs, vault, f"/{missing}").unlink()
    expected[missing] = bytes(150_000)
    os.truncate(stored(vaultfs, vault, f"/{short}"), 96 + CHUNK + 44 + 1000)
    expected[short] = expected[short][:CHUNK] + bytes(150_000 - CHUNK)
    return expected


def found_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_damaged_behind_is_lost_and_named_and_nothing_else(
    vaultfs, filled: Path, source: Path, tmp_path: Path
) -> None:
    expected = spoil(vaultfs, filled, source)
    done = vaultfs("export", filled, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert found_in(tmp_path / "out") == expected
    lost = [line for line in done.err.splitlines() if " are lost" in line]
    whole = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    for name in (name for name in expected if expected[name] != whole[name]):
        assert any(f"/{name}: bytes " in line for line in lost), name
    assert len(lost) == 1 + 3 + 2, "a chunk each"
    assert f"/video: bytes {100 * CHUNK} to {101 * CHUNK} are lost" in done.err


def test_a_salvage_reads_the_same(vaultfs, filled: Path, source: Path, tmp_path: Path) -> None:
    expected = spoil(vaultfs, filled, source)
    for name in ("root.0", "root.1"):
        os.truncate(filled / name, 10)
    done = vaultfs("export", "--salvage", filled, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert found_in(tmp_path / "out") == expected
    assert f"/video: bytes {100 * CHUNK} to {101 * CHUNK} are lost" in done.err


def test_an_archive_and_cat_read_the_same(vaultfs, filled: Path, source: Path, tmp_path: Path) -> None:
    def piped(*words: str | Path) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-m", "vaultfs", *words], input=PASSWORD.encode(), capture_output=True, env=environment(),
            check=False,
        )  # fmt: skip

    assert piped("cat", f"{filled}:video").stdout == (source / "video").read_bytes()
    expected = spoil(vaultfs, filled, source)
    done = piped("export", "--into", "tar", filled)
    assert done.returncode == 26
    (tmp_path / "archive").write_bytes(done.stdout)
    with tarfile.open(tmp_path / "archive") as tar:
        for name, content in expected.items():
            member = tar.extractfile(name)
            assert member is not None
            assert member.read() == content, name
    assert len(done.stdout) % tarfile.RECORDSIZE == 0
    done = piped("cat", f"{filled}:video")
    assert done.returncode == 26
    assert done.stdout == expected["video"][: 6 * MIB]
    assert b"/video, at byte 6291456 or behind" in done.stderr
