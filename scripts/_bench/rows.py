"""The rows of the benchmark: what each does to a mounted filesystem, timed, and how its result is checked."""

import hashlib
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from _bench.flushes import flushes
from _bench.inputs import PHOTO_SIZE, Inputs
from _bench.sizes import MIB, Sizes

_PAGE = 4096
_WRITERS = 4


class WrongData(Exception):
    """A filesystem gave back something other than what was written."""


@dataclass(slots=True)
class Place:
    """Where a row works. Whatever a filesystem that keeps no data answers is not checked."""

    root: Path
    keeps_data: bool
    inputs: Inputs
    sizes: Sizes
    store: Path | None = None
    """Where the disk is that has to be flushed when something is synced."""
    seconds: float = field(default=0.0)
    """What was timed."""
    flushes: int | None = field(default=None)
    """How often the disk was flushed meanwhile; None if that is not known."""

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of the block as the row's."""
        before = flushes(self.store) if self.store is not None else None
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
            if before is not None and self.store is not None and (now := flushes(self.store)) is not None:
                self.flushes = (self.flushes or 0) + now - before

    def expect(self, good: bool, what: str) -> None:
        """Raise WrongData unless it is as it should be."""
        if self.keeps_data and not good:
            raise WrongData(what)


Step = Callable[[Place], None]


@dataclass(frozen=True, slots=True)
class Row:
    """`setup` runs in a mount of its own before; a `cold` row after dropping all caches and mounting anew.

    `syncs` is how often at least it asks for what it wrote to be durable, one wait after the other.
    """

    name: str
    title: str
    run: Step
    cold: bool = False
    setup: Step | None = None
    needs_data: bool = False
    syncs: Callable[[Sizes], int] = lambda sizes: 0


# What every filesystem holds before the first row


def populate(place: Place) -> None:
    """Write what the cold rows will read."""
    _write_file(place, place.root / "big", place.sizes.stream_mib)
    _write_file(place, place.root / "overwritten", place.sizes.stream_mib)
    for number in range(_WRITERS):
        _write_file(place, place.root / f"reader{number}", place.sizes.parallel_mib, number)
    subprocess.run(["cp", "-r", place.inputs.photos, place.root / "photos"], check=True)
    subprocess.run(["cp", "-r", place.inputs.tree, place.root / "tree"], check=True)


# Streams


def _write_file(place: Place, path: Path, mib: int, salt: int = 0, flags: int = os.O_CREAT) -> None:
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    for number in range(mib):
        os.write(fd, place.inputs.block(number, salt))
    os.fsync(fd)
    os.close(fd)


def _read_file(path: Path, into: bytearray) -> None:
    view = memoryview(into)
    fd = os.open(path, os.O_RDONLY)
    position = 0
    while size := os.readv(fd, [view[position : position + MIB]]):
        position += size
    os.close(fd)
    if position != len(into):
        raise WrongData(f"{path} has {position} bytes")


def _check_file(place: Place, content: bytearray, salt: int = 0) -> None:
    view = memoryview(content)
    for number in range(len(content) // MIB):
        same = view[number * MIB : (number + 1) * MIB] == place.inputs.block(number, salt)
        place.expect(same, f"MiB {number} of a file is wrong")


def _forget_pages(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def _check_written(place: Place, path: Path, mib: int, salt: int = 0) -> None:
    _forget_pages(path)
    content = bytearray(mib * MIB)
    _read_file(path, content)
    _check_file(place, content, salt)


def stream_write(place: Place) -> None:
    path = place.root / "written"
    with place.timed():
        _write_file(place, path, place.sizes.stream_mib, 7)
    _check_written(place, path, place.sizes.stream_mib, 7)
    path.unlink()


def stream_read(place: Place) -> None:
    content = bytearray(place.sizes.stream_mib * MIB)
    with place.timed():
        _read_file(place.root / "big", content)
    _check_file(place, content)


def overwrite(place: Place) -> None:
    path = place.root / "overwritten"
    with place.timed():
        _write_file(place, path, place.sizes.stream_mib, 9, 0)
    _check_written(place, path, place.sizes.stream_mib, 9)


def parallel_write(place: Place) -> None:
    mib = place.sizes.parallel_mib
    paths = [place.root / f"writer{number}" for number in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS) as pool, place.timed():
        for done in [pool.submit(_write_file, place, path, mib, salt) for salt, path in enumerate(paths)]:
            done.result()
    for salt, path in enumerate(paths):
        _check_written(place, path, mib, salt)
        path.unlink()


def parallel_read(place: Place) -> None:
    contents = [bytearray(place.sizes.parallel_mib * MIB) for _ in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS) as pool, place.timed():
        for done in [
            pool.submit(_read_file, place.root / f"reader{number}", content) for number, content in enumerate(contents)
        ]:
            done.result()
    for number, content in enumerate(contents):
        _check_file(place, content, number)


# Small pieces of a large file


def _offsets(place: Place, count: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(place.sizes.stream_mib * MIB // _PAGE) * _PAGE for _ in range(count)]


def random_read(place: Place) -> None:
    offsets = _offsets(place, place.sizes.random_reads, 3)
    with place.timed():
        fd = os.open(place.root / "big", os.O_RDONLY)
        pieces = [os.pread(fd, _PAGE, offset) for offset in offsets]
        os.close(fd)
    for offset, piece in zip(offsets, pieces, strict=True):
        number, start = divmod(offset, MIB)
        place.expect(piece == place.inputs.block(number)[start : start + _PAGE], f"4 KiB at {offset} are wrong")


def random_write(place: Place) -> None:
    path = place.root / "overwritten"
    offsets = _offsets(place, place.sizes.synced_writes, 4)
    pieces = {offset: bytes(place.inputs.block(number)[:_PAGE]) for number, offset in enumerate(offsets)}
    with place.timed():
        fd = os.open(path, os.O_RDWR)
        for offset, piece in pieces.items():
            os.pwrite(fd, piece, offset)
            os.fdatasync(fd)
        os.close(fd)
    _forget_pages(path)
    fd = os.open(path, os.O_RDONLY)
    for offset, piece in pieces.items():
        place.expect(os.pread(fd, _PAGE, offset) == piece, f"4 KiB written at {offset} are wrong")
    os.close(fd)


def appends(place: Place) -> None:
    path = place.root / "appended"
    piece = bytes(place.inputs.block(5)[:512])
    with place.timed():
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for _ in range(place.sizes.appends):
            os.write(fd, piece)
        os.fsync(fd)
        os.close(fd)
    _forget_pages(path)
    place.expect(path.read_bytes() == piece * place.sizes.appends, "what was appended is wrong")
    path.unlink()


# Trees


def _check_tree(place: Place, folder: Path) -> None:
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    place.expect(found == place.inputs.manifest, f"{folder} is not what it was made from")


def untar(place: Place) -> None:
    folder = place.root / "untarred"
    folder.mkdir()
    with place.timed():
        subprocess.run(["tar", "-xf", place.inputs.tar, "-C", folder], check=True)
    _check_tree(place, folder)
    subprocess.run(["rm", "-r", folder], check=True)


def list_tree(place: Place) -> None:
    with place.timed():
        done = subprocess.run(["ls", "-lR", place.root / "tree"], check=True, capture_output=True)
    place.expect(done.stdout.count(b"\n-") == len(place.inputs.manifest), "ls -lR shows another number of files")


def find_tree(place: Place) -> None:
    with place.timed():
        done = subprocess.run(["find", place.root / "tree", "-name", "*.[ch]"], check=True, capture_output=True)
    place.expect(done.stdout.count(b"\n") == len(place.inputs.manifest), "find shows another number of files")


def checksum_tree(place: Place) -> None:
    command = "find . -type f -print0 | xargs -0 sha256sum"
    with place.timed():
        done = subprocess.run(["sh", "-c", command], check=True, capture_output=True, cwd=place.root / "tree")
    found = {line[66:].removeprefix("./"): line[:64] for line in done.stdout.decode().splitlines()}
    place.expect(found == place.inputs.manifest, "checksums differ")


def copy_tree(place: Place) -> None:
    copy = place.root / "copy"
    with place.timed():
        subprocess.run(["cp", "-r", place.root / "tree", copy], check=True)
    _check_tree(place, copy)
    subprocess.run(["rm", "-r", copy], check=True)


def copy_to_remove(place: Place) -> None:
    subprocess.run(["cp", "-r", place.inputs.tree, place.root / "removed"], check=True)


def remove_tree(place: Place) -> None:
    with place.timed():
        subprocess.run(["rm", "-r", place.root / "removed"], check=True)
    place.expect(not (place.root / "removed").exists(), "what was removed is there")


# Small files


def creates(place: Place) -> None:
    folder = place.root / "created"
    folder.mkdir()
    content = bytes(place.inputs.block(6)[:700])
    with place.timed():
        for number in range(place.sizes.creates):
            fd = os.open(folder / f"note{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, content)
            os.close(fd)
    place.expect(all(path.read_bytes() == content for path in folder.iterdir()), "a new file is wrong")
    subprocess.run(["rm", "-r", folder], check=True)


def list_photos(place: Place) -> None:
    with place.timed():
        done = subprocess.run(["ls", "-l", place.root / "photos"], check=True, capture_output=True)
    place.expect(done.stdout.count(f" {PHOTO_SIZE} ".encode()) == place.sizes.photos, "photos have other sizes")


def photo_heads(place: Place) -> None:
    heads = []
    with place.timed():
        for name in sorted(os.listdir(place.root / "photos")):
            fd = os.open(place.root / "photos" / name, os.O_RDONLY)
            heads.append(os.read(fd, 65536))
            os.close(fd)
    for number, head in enumerate(heads):
        place.expect(head == place.inputs.photo(number)[:65536], f"photo {number} is wrong")


def rename_loop(place: Place) -> None:
    target, fresh = place.root / "settings", place.root / "settings.new"
    with place.timed():
        for number in range(place.sizes.renames):
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.write(fd, place.inputs.block(number)[:_PAGE])
            os.fsync(fd)
            os.close(fd)
            os.rename(fresh, target)
    place.expect(target.read_bytes() == place.inputs.block(place.sizes.renames - 1)[:_PAGE], "the last one is wrong")
    target.unlink()


# Photos


def copy_photos(place: Place) -> None:
    copy = place.root / "backup"
    with place.timed():
        subprocess.run(["cp", "-a", place.inputs.photos, copy], check=True)
    copied = sorted(copy.iterdir())
    place.expect(len(copied) == place.sizes.photos, "photos are missing")
    for number, path in enumerate(copied):
        _forget_pages(path)
        place.expect(path.read_bytes() == place.inputs.photo(number), f"the copy of photo {number} is wrong")
    subprocess.run(["rm", "-r", copy], check=True)


# Databases


def _transactions(place: Place, mode: str, synchronous: str, count: int) -> None:
    path = place.root / f"{mode}.db"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(f"PRAGMA journal_mode={mode}")
    database.execute(f"PRAGMA synchronous={synchronous}")
    database.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, chat INTEGER, body BLOB)")
    database.execute("CREATE INDEX chats ON messages (chat)")
    with place.timed():
        for number in range(count):
            body = bytes(place.inputs.block(number)[:500])
            database.execute("INSERT INTO messages (chat, body) VALUES (?, ?)", (number * 7919 % 101, body))
    database.close()
    _forget_pages(path)
    database = sqlite3.connect(path)
    place.expect(database.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the database is damaged")
    place.expect(database.execute("SELECT count(*) FROM messages").fetchone() == (count,), "rows are missing")
    database.close()
    path.unlink()


def sqlite_full(place: Place) -> None:
    _transactions(place, "DELETE", "FULL", place.sizes.transactions_full)


def sqlite_wal(place: Place) -> None:
    _transactions(place, "WAL", "NORMAL", place.sizes.transactions_wal)


# Those with warm caches come first: what is measured soon after caches were dropped has not got them, nor its memory.
ROWS = (
    Row("stream-write", "stream write with fsync", stream_write),
    Row("overwrite", "overwrite in place with fsync", overwrite),
    Row("random-write", "random 4 KiB writes, each with fdatasync", random_write,
        syncs=lambda sizes: sizes.synced_writes),
    Row("appends", "512-byte appends", appends),
    Row("sqlite-wal", "SQLite transactions, WAL/NORMAL", sqlite_wal, needs_data=True),
    Row("sqlite-full", "SQLite transactions, DELETE/FULL", sqlite_full, needs_data=True,
        syncs=lambda sizes: sizes.transactions_full),
    Row("rename-loop", "write, fsync, rename over", rename_loop, syncs=lambda sizes: sizes.renames),
    Row("parallel-write", "4 parallel writers with fsync", parallel_write),
    Row("untar", "untar of a source tree", untar),
    Row("cp", "cp -r of the tree", copy_tree),
    Row("rm", "rm -r of the tree", remove_tree, setup=copy_to_remove),
    Row("creates", "creating small files", creates),
    Row("photo-copy", "cp -a of a photo folder", copy_photos),
    Row("stream-read", "cold stream read", stream_read, cold=True),
    Row("random-read", "cold random 4 KiB reads", random_read, cold=True),
    Row("ls", "cold ls -lR of the tree", list_tree, cold=True),
    Row("find", "cold find in the tree", find_tree, cold=True),
    Row("checksum", "cold checksum of the tree", checksum_tree, cold=True),
    Row("photo-list", "cold ls -l of a photo folder", list_photos, cold=True),
    Row("photo-heads", "cold first 64 KiB of every photo", photo_heads, cold=True),
    Row("parallel-read", "4 parallel readers, cold", parallel_read, cold=True),
)
