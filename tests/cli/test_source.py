"""The tree an import copies from: walked in order, brought in ahead, and nothing of it left open."""

import errno
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.support.mounting import eventually
from vaultfs.cli.source import Visit, brought_in, walk_source

FILES = 200


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Folders in folders, with more files than are ever ahead, links and a pipe."""
    top = tmp_path / "tree"
    for number in range(FILES):
        folder = top / f"folder {number % 9}" / ("deeper/" * (number % 3))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number}").write_bytes(bytes([number % 256]) * (number * 300))
    (top / "link").symlink_to("nowhere")
    os.mkfifo(top / "folder 1" / "pipe")
    return top


def seen(visits: Iterator[Visit]) -> list[tuple[bytes, int, bool]]:
    return [(source.path, source.status.st_ino, leaving) for source, leaving in visits]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_it_is_the_same_walk(tree: Path) -> None:
    plain = seen(walk_source(str(tree)))
    assert len(plain) > FILES
    assert seen(brought_in(walk_source(str(tree)))) == plain


def test_each_entry_can_be_opened_when_it_comes(tree: Path) -> None:
    """The walk itself is far ahead by then, and done with its folder."""
    found = 0
    for source, leaving in brought_in(walk_source(str(tree))):
        if source.name.startswith(b"file") and not leaving:
            fd = source.open()
            assert os.fstat(fd).st_ino == source.status.st_ino
            os.close(fd)
            found += 1
    assert found == FILES


def test_no_descriptor_is_left(tree: Path) -> None:
    before = descriptors()
    seen(brought_in(walk_source(str(tree))))
    assert descriptors() == before
    given_up = brought_in(walk_source(str(tree)))
    next(given_up)
    assert descriptors() > before
    del given_up
    assert descriptors() == before


def test_an_error_ahead_comes_when_it_would_have(tree: Path) -> None:
    expected = seen(walk_source(str(tree)))[:50]

    def failing() -> Iterator[Visit]:
        walk = walk_source(str(tree))
        for _ in expected:
            yield next(walk)
        raise OSError(errno.EIO, "a disk that fails")

    visits = brought_in(failing())
    assert seen(islice(visits, len(expected))) == expected
    with pytest.raises(OSError, match="a disk that fails"):
        next(visits)


def test_a_file_that_is_gone_is_met_by_who_opens_it(tree: Path) -> None:
    for source, leaving in brought_in(walk_source(str(tree))):
        if source.path == b"folder 0" and not leaving:
            (tree / "folder 0" / "file 0").unlink()
        if source.path == b"folder 0/file 0":
            with pytest.raises(FileNotFoundError):
                source.open()
            return
    pytest.fail("the file did not come")


def test_what_comes_next_is_read_by_the_kernel(tree: Path) -> None:
    files = sorted(path for path in tree.rglob("file *") if path.stat().st_size > 4096)
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    first = next(path for path in files if path.parent.name == "folder 0")
    if is_cached(first):
        pytest.skip("this file system keeps its pages, or does not tell")
    visits = brought_in(walk_source(str(tree)))
    next(visits)
    assert eventually(lambda: is_cached(first))


def is_cached(path: Path) -> bool:
    """Whether a file's first page can be read without waiting for a disk (preadv2(2), RWF_NOWAIT)."""
    with open(path, "rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(4096)], 0, os.RWF_NOWAIT) == 4096
        except BlockingIOError:
            return False
