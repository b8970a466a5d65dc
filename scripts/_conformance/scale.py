"""What much of something costs: files in a folder or a tree, depth, links, open files, size, extended attributes."""

import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from _conformance.targets import Target

DEPTH = 300
LINKS = 1000
OPEN_FILES = 10_000
TIB = 1 << 40
XATTR_VALUE = 4000  # bytes; what ext4 can hold in all


FOLDER_FILES = 1000  # in each folder of the tree to walk
MIB = 1 << 20


def run(target: Target, counts: list[int], tree: int) -> Iterator[str]:
    """Try everything; a line about each. AssertionError if anything is not there afterwards."""
    for count in counts:
        yield from _one_folder(target, count)
    yield _tree(target, tree)
    for attempt in (_depth, _links, _open_files, _sparse, _xattrs):
        folder = target.path / attempt.__name__
        folder.mkdir()
        yield attempt(target, folder)


def _each(what: str, count: int, work: Callable[[], object]) -> str:
    start = time.monotonic()
    work()
    return f"{what} {(time.monotonic() - start) / count * 1e6:.1f} µs"


def _one_folder(target: Target, count: int) -> Iterator[str]:
    folder = target.path / f"folder-{count}"
    folder.mkdir()
    names = [f"{folder}/file-{number:06}.jpg" for number in range(count)]

    def create() -> None:
        for name in names:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_EXCL))

    def delete() -> None:
        for name in names:
            os.unlink(name)

    parts = [_each("create", count, create)]
    target.unmount()
    target.mount()
    parts.append(_each("list", count, lambda: _check(len(os.listdir(folder)) == count)))
    parts.append(_each("stat", count, lambda: [os.lstat(name) for name in names]))
    parts.append(_each("stat again", count, lambda: [os.lstat(name) for name in names]))
    parts.append(_each("delete", count, delete))
    _check(not os.listdir(folder))
    yield f"{count} files in one folder, each: {', '.join(parts)}"


def _tree(target: Target, count: int) -> str:
    """Look at each of many files, as `find -ls` does; what that leaves in memory."""
    top = target.path / "tree"
    for number in range(count):
        folder = top / str(number // FOLDER_FILES)
        if number % FOLDER_FILES == 0:
            folder.mkdir(parents=True)
        (folder / f"file-{number:07}.jpg").touch()
    _again(target)
    before = most = target.memory()
    found = 0
    start = time.monotonic()
    for parent, _, names in os.walk(top):
        found += sum(stat.S_ISREG(os.lstat(f"{parent}/{name}").st_mode) for name in names)
        most = max(most, target.memory())
    seconds = time.monotonic() - start
    _check(found == count)
    return f"{count} files in a tree, each looked at {seconds / count * 1e6:.1f} µs, {before / MIB:.0f} MiB " \
           f"resident before, {most / MIB:.0f} MiB at most, {(most - before) / count:.0f} bytes for each"  # fmt: skip


def _check(true: bool) -> None:
    if not true:
        raise AssertionError("what was made is not there")


def _again(target: Target) -> None:
    target.unmount()
    target.mount()


def _depth(target: Target, folder: Path) -> str:
    start = time.monotonic()
    at = os.open(folder, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("below", dir_fd=at)
        lower = os.open("below", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = lower
    os.close(at)
    made = time.monotonic() - start
    _again(target)
    start = time.monotonic()
    _check(sum(1 for _ in os.walk(folder)) == DEPTH + 1)
    return f"{DEPTH} folders in each other: made in {made * 1e3:.0f} ms, walked after a remount in " \
           f"{(time.monotonic() - start) * 1e3:.0f} ms"  # fmt: skip


def _links(target: Target, folder: Path) -> str:
    first = folder / "0"
    first.write_bytes(b"content")

    def link() -> None:
        for number in range(1, LINKS):
            os.link(first, folder / str(number))

    linked = _each("link", LINKS, link)
    _again(target)
    _check({path.stat().st_nlink for path in folder.iterdir()} == {LINKS})
    _check((folder / str(LINKS - 1)).read_bytes() == b"content")

    def unlink() -> None:
        for number in range(LINKS):
            os.unlink(folder / str(number))

    return f"{LINKS} hard links, each: {linked}, {_each('unlink', LINKS, unlink)}"


def _open_files(target: Target, folder: Path) -> str:
    wanted = OPEN_FILES + 100
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    start = time.monotonic()
    files = [os.open(folder / str(number), os.O_CREAT | os.O_RDWR) for number in range(OPEN_FILES)]
    try:
        for number, file in enumerate(files):
            os.pwrite(file, b"%d" % number, 0)
        for number, file in enumerate(files):
            _check(os.pread(file, 10, 0) == b"%d" % number)
    finally:
        for file in files:
            os.close(file)
    seconds = time.monotonic() - start
    return f"{OPEN_FILES} files open at once, written and read: {seconds / OPEN_FILES * 1e6:.0f} µs each"


def _sparse(target: Target, folder: Path) -> str:
    file = folder / "sparse"
    with file.open("wb") as stream:
        stream.truncate(TIB)
        stream.seek(TIB // 2)
        stream.write(b"middle")
        stream.seek(TIB - 3)
        stream.write(b"end")
    _again(target)
    with file.open("rb") as stream:
        for place, expected in ((TIB // 2, b"middle"), (TIB - 3, b"end"), (TIB // 3, bytes(10))):
            stream.seek(place)
            _check(stream.read(len(expected)) == expected)
    status = file.stat()
    start = time.monotonic()
    file.unlink()
    return f"1 TiB of holes: st_size {status.st_size}, st_blocks {status.st_blocks}, " \
           f"deleted in {(time.monotonic() - start) * 1e3:.1f} ms"  # fmt: skip


def _xattrs(target: Target, folder: Path) -> str:
    file = folder / "file"
    file.touch()
    values = {f"user.{number}": os.urandom(XATTR_VALUE) for number in range(16)}
    stored = 0
    try:
        for name, value in values.items():
            os.setxattr(file, name, value)
            stored += 1
    except OSError as error:
        return f"extended attributes of {XATTR_VALUE} bytes: {stored}, then {error.strerror}"
    large = "no"
    try:
        os.setxattr(file, "user.large", bytes(65536))
        large = "yes"
    except OSError as error:
        large = f"no ({error.strerror})"
    _again(target)
    _check({name: os.getxattr(file, name) for name in values} == values)
    return f"{len(values)} extended attributes of {XATTR_VALUE} bytes: kept; one of 64 KiB: {large}"
