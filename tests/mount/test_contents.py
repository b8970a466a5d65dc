"""What files hold, through the kernel: its writeback cache, mmap, O_APPEND, holes, handles of files that are gone."""

import mmap
import os
import random
import threading
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

CHUNK = 65536


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17, 5 << 20])
def test_content_is_there_again_after_a_remount(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    vault = MountedVault(tmp_path)
    try:
        (vault.path / "file").write_bytes(content)
        assert (vault.path / "file").read_bytes() == content
        vault = vault.remount()
        assert (vault.path / "file").read_bytes() == content
        vault.unmount()
    finally:
        vault.close()


def test_appending_opens_add_at_the_end(folder: Path) -> None:
    file = folder / "file"
    with file.open("ab") as first, file.open("ab") as second:
        for writer in (first, second, first):
            writer.write(b"x" * 5000)
            writer.flush()
    assert file.stat().st_size == 15000


def test_opening_with_truncation_empties(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"old" * 100000)
    with file.open("wb"):
        assert file.stat().st_size == 0
    assert file.read_bytes() == b""


def test_a_write_only_handle_can_change_part_of_a_page(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"a" * 10000)
    with file.open("r+b", buffering=0) as before:
        os.fsync(before.fileno())
        os.posix_fadvise(before.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    descriptor = os.open(file, os.O_WRONLY)
    os.pwrite(descriptor, b"B", 5000)
    os.close(descriptor)
    assert file.read_bytes() == b"a" * 5000 + b"B" + b"a" * 4999


def test_a_shared_mapping_writes_through(folder: Path) -> None:
    file = folder / "file"
    with file.open("w+b") as stream:
        stream.truncate(200000)
        with mmap.mmap(stream.fileno(), 200000) as mapping:
            mapping[123456:123461] = b"hello"
            assert file.read_bytes()[123456:123461] == b"hello"
    assert file.read_bytes() == bytes(123456) + b"hello" + bytes(200000 - 123461)


def test_a_hole_reads_as_zeros_and_takes_no_room(folder: Path) -> None:
    file = folder / "file"
    with file.open("wb") as stream:
        stream.seek(50 << 20)
        stream.write(b"end")
    with file.open("rb") as stream:
        assert stream.read(1 << 20) == bytes(1 << 20)
        stream.seek((50 << 20) - 10)
        assert stream.read() == bytes(10) + b"end"
    assert file.stat().st_blocks * 512 < 1 << 20


def test_growing_by_truncate_after_shrinking_shows_zeros(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(b"x" * 100000)
    os.truncate(file, 10)
    os.truncate(file, 100000)
    assert file.read_bytes() == b"x" * 10 + bytes(99990)


def test_an_unlinked_file_lives_while_it_is_open(folder: Path) -> None:
    file = folder / "file"
    with file.open("w+b", buffering=0) as stream:
        stream.write(b"before")
        file.unlink()
        assert os.fstat(stream.fileno()).st_nlink == 0
        stream.write(b"after")
        os.fsync(stream.fileno())
        assert os.pread(stream.fileno(), 100, 0) == b"beforeafter"
        os.ftruncate(stream.fileno(), 6)
        assert os.pread(stream.fileno(), 100, 0) == b"before"
    assert not file.exists()


def test_a_file_renamed_over_lives_while_it_is_open(folder: Path) -> None:
    old, new = folder / "old", folder / "new"
    old.write_text("old")
    new.write_text("new")
    with old.open() as stream:
        new.rename(old)
        assert old.read_text() == "new"
        assert stream.read() == "old"


def test_random_writes_are_read_back(folder: Path) -> None:
    file, random_ = folder / "file", random.Random(1)
    expected = bytearray(1 << 20)
    with file.open("w+b", buffering=0) as stream:
        for _ in range(300):
            offset, size = random_.randrange(len(expected)), random_.choice((1, 100, 5000, 70000))
            data = random_.randbytes(min(size, len(expected) - offset))
            expected[offset : offset + len(data)] = data
            os.pwrite(stream.fileno(), data, offset)
        os.pwrite(stream.fileno(), expected[-1:], len(expected) - 1)
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(stream.fileno(), len(expected), 0) == expected


def test_many_threads_sync_at_once(folder: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with (folder / str(number)).open("wb", buffering=0) as stream:
                for _ in range(20):
                    stream.write(b"line\n")
                    os.fsync(stream.fileno())
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all((folder / str(number)).read_bytes() == b"line\n" * 20 for number in range(8))


def test_a_directory_can_be_synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def test_copy_file_range_and_sendfile_work(folder: Path) -> None:
    source, target = folder / "source", folder / "target"
    content = os.urandom(300000)
    source.write_bytes(content)
    with source.open("rb") as reader, target.open("wb") as writer:
        copied = 0
        while copied < len(content):
            copied += os.sendfile(writer.fileno(), reader.fileno(), copied, len(content))
    assert target.read_bytes() == content
