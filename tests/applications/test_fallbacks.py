"""What FUSE or pyfuse3 has no way to do: programs get the errno that lets them do it another way."""

import errno
import mmap
import os
import tempfile
from pathlib import Path

import pytest

from tests.support.mounting import needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

MIB = 1 << 20


def test_unnamed_temporary_files_are_refused_and_replaced(folder: Path) -> None:
    with pytest.raises(OSError) as caught:
        os.open(folder, os.O_TMPFILE | os.O_RDWR)
    assert caught.value.errno == errno.EOPNOTSUPP
    with tempfile.TemporaryFile(dir=folder) as stream:
        stream.write(b"content")
        stream.seek(0)
        assert stream.read() == b"content"
    assert not list(folder.iterdir())


def test_direct_input_and_output(folder: Path) -> None:
    file = folder / "file"
    with mmap.mmap(-1, MIB) as memory:  # page-aligned, as O_DIRECT wants it
        memory[:] = os.urandom(MIB)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        try:
            assert os.pwrite(descriptor, memory, 0) == MIB
            with memoryview(memory) as whole, whole[:4096] as first_page:
                assert os.pwrite(descriptor, first_page, 4096 * 100) == 4096
            with mmap.mmap(-1, MIB) as back:
                assert os.preadv(descriptor, [back], 0) == MIB
                expected = bytearray(memory[:])
                expected[409600:413696] = memory[:4096]
                assert back[:] == expected
        finally:
            os.close(descriptor)
    assert file.read_bytes() == expected


def test_preallocation_works_by_writing(folder: Path) -> None:
    """fallocate(2) has no handler in pyfuse3; posix_fallocate(3) then writes, and the room is really there."""
    file = folder / "file"
    with file.open("w+b") as stream:
        stream.write(b"content")
        stream.flush()
        os.posix_fallocate(stream.fileno(), 0, MIB)
        assert os.fstat(stream.fileno()).st_size == MIB
    assert file.read_bytes() == b"content" + bytes(MIB - 7)


def test_a_file_with_holes_looks_like_data_all_through(folder: Path) -> None:
    """SEEK_HOLE has no handler in pyfuse3: the kernel says the one hole is at the end, which is always allowed."""
    file = folder / "file"
    with file.open("w+b") as stream:
        stream.truncate(10 * MIB)
        assert os.lseek(stream.fileno(), 5, os.SEEK_DATA) == 5
        assert os.lseek(stream.fileno(), 5, os.SEEK_HOLE) == 10 * MIB
        with pytest.raises(OSError) as caught:
            os.lseek(stream.fileno(), 10 * MIB, os.SEEK_DATA)
        assert caught.value.errno == errno.ENXIO
    assert file.stat().st_blocks == 0
