"""Corners of POSIX and Linux that a local disk and the mount must answer alike, beside what pjdfstest knows."""

import errno
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.posix.calls import cached_pages, syncfs
from tests.support.mounting import MountedVault, eventually, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners, which needs root")


def inodes(top: Path) -> int:
    """How many a mount says there are; from one call, for the room changes with every write to the disk beneath."""
    found = os.statvfs(top)
    return found.f_files - found.f_ffree


def error_of(call: Callable[[], object]) -> int | None:
    try:
        call()
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize(
    "name",
    ["user.", "user", "unknown.a", "system.unknown", "trusted.", "user." + "n" * 250, "user." + "n" * 251, "user.a"],
)
@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "link"])
def test_errors_of_extended_attributes(folder: Path, tmp_path: Path, name: str, kind: str) -> None:
    def errors(place: Path) -> list[int | None]:
        path = place / kind
        make: dict[str, Callable[[], object]] = {
            "file": path.touch,
            "folder": path.mkdir,
            "pipe": lambda: os.mkfifo(path),
            "link": lambda: path.symlink_to("nowhere"),
        }
        make[kind]()
        return [
            error_of(lambda: os.getxattr(path, name, follow_symlinks=False)),
            error_of(lambda: os.removexattr(path, name, follow_symlinks=False)),
            error_of(lambda: os.setxattr(path, name, b"value", os.XATTR_REPLACE, follow_symlinks=False)),
            error_of(lambda: os.setxattr(path, name, b"value", follow_symlinks=False)),
            error_of(lambda: os.setxattr(path, name, b"value", os.XATTR_CREATE, follow_symlinks=False)),
        ]

    assert errors(folder) == errors(tmp_path)


@is_root
@pytest.mark.parametrize("mode", [0o100644, 0o106755, 0o040755, 0o010600])
def test_a_change_of_owner_to_none_is_a_change(folder: Path, mode: int) -> None:
    """chown(2) with -1 twice: the ctime changes and set-id bits fall, as ext4 and XFS have it."""
    path = folder / "path"
    if stat.S_ISDIR(mode):
        path.mkdir()
    else:
        os.mknod(path, mode)
    path.chmod(stat.S_IMODE(mode))
    before = path.stat()
    time.sleep(0.02)
    os.chown(path, -1, -1)
    after = path.stat()
    assert after.st_ctime_ns > before.st_ctime_ns
    assert after.st_mtime_ns == before.st_mtime_ns
    assert after.st_mode == mode & ~0o6000


def test_a_file_that_is_cut_while_it_is_open_reads_zeros_when_it_grows(folder: Path) -> None:
    file = folder / "file"
    with file.open("w+b", buffering=0) as stream:
        stream.write(b"x" * 200_000)
        os.ftruncate(stream.fileno(), 70_001)
        os.ftruncate(stream.fileno(), 200_000)
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.pread(stream.fileno(), 200_000, 0) == b"x" * 70_001 + bytes(129_999)


def test_blocks_count_what_is_stored(mounted_vault: MountedVault) -> None:
    """A chunk is stored whole or not at all, however sparse the file."""
    file = mounted_vault.path / "file"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
        assert os.fstat(stream.fileno()).st_blocks == 0
        for place in (0, 1 << 20, 1 << 39):
            os.pwrite(stream.fileno(), b"x" * 65536, place)
        os.fsync(stream.fileno())
    expected = 3 * 65536 // 512
    assert file.stat().st_blocks == expected
    again = mounted_vault.remount()
    try:
        assert file.stat().st_blocks == expected
        os.truncate(file, 65536)
        assert file.stat().st_blocks == 128
        again.unmount()
    finally:
        again.close()


def test_times_are_those_programs_saw_however_the_kernel_writes_back(mounted_vault: MountedVault) -> None:
    """The kernel sends a file's times while some of its pages are still on their way."""
    files = [mounted_vault.path / str(number) for number in range(4)]
    ended = threading.Event()

    def sync() -> None:
        top = os.open(mounted_vault.path, os.O_RDONLY)
        while not ended.is_set():
            syncfs(top)
        os.close(top)

    thread = threading.Thread(target=sync)
    thread.start()
    try:
        for number in range(400):
            with files[number % 4].open("ab", buffering=0) as stream:
                os.pwrite(stream.fileno(), bytes(100_000), number * 50_000)
                stream.write(b"x" * 300_000)
    finally:
        ended.set()
        thread.join()
    before = [(file.stat().st_mtime_ns, file.stat().st_ctime_ns) for file in files]
    again = mounted_vault.remount()
    try:
        assert [(file.stat().st_mtime_ns, file.stat().st_ctime_ns) for file in files] == before
        again.unmount()
    finally:
        again.close()


@pytest.mark.parametrize("way", ["rmdir", "rename"])
def test_a_folder_that_is_gone_can_be_looked_at_while_it_is_open(folder: Path, way: str) -> None:
    gone, other = folder / "gone", folder / "other"
    gone.mkdir()
    other.mkdir()
    descriptor = os.open(gone, os.O_RDONLY)
    try:
        before = os.fstat(descriptor)
        if way == "rmdir":
            gone.rmdir()
        else:
            other.rename(gone)
        after = os.fstat(descriptor)
        assert (after.st_ino, after.st_nlink, after.st_mode) == (before.st_ino, 0, before.st_mode)
        assert os.listdir(descriptor) == []
        assert error_of(lambda: os.mkdir("new", dir_fd=descriptor)) == errno.ENOENT
        os.fchmod(descriptor, 0o700)
        assert os.fstat(descriptor).st_mode == stat.S_IFDIR | 0o700
    finally:
        os.close(descriptor)


def test_a_folder_that_was_open_when_the_filesystem_died_leaves_nothing(mounted_vault: MountedVault) -> None:
    top = mounted_vault.path
    (top / "gone").mkdir()
    files = inodes(top)
    descriptor = os.open(top / "gone", os.O_RDONLY)
    (top / "gone").rmdir()
    (top / "file").touch()
    with (top / "file").open("rb") as stream:
        os.fsync(stream.fileno())
    mounted_vault.kill()
    os.close(descriptor)
    again = MountedVault(mounted_vault.folder)
    try:
        assert os.listdir(again.path) == ["file"]
        assert inodes(again.path) == files
        again.unmount()
    finally:
        again.close()


def test_removing_a_tree_leaves_no_inode(mounted_vault: MountedVault) -> None:
    top = mounted_vault.path
    before = inodes(top)
    for number in range(50):
        (top / "tree" / str(number) / "below").mkdir(parents=True)
    assert inodes(top) == before + 101
    shutil.rmtree(top / "tree")
    assert eventually(lambda: inodes(top) == before)


def test_pages_from_before_direct_writes_are_not_kept(folder: Path) -> None:
    """The kernel keeps those that were read while such a write was under way: the next open has to drop them."""
    file = folder / "file"
    size = 64 << 10
    file.write_bytes(b"x" * size)

    def kept() -> int:
        assert file.read_bytes() == b"x" * size
        with file.open("rb", buffering=0) as stream:
            return cached_pages(stream.fileno())

    assert kept() == size // 4096
    os.close(os.open(file, os.O_RDWR | os.O_DIRECT))
    assert kept() == 0


def test_a_pipe_that_is_gone_can_be_used_while_it_is_open(mounted_vault: MountedVault) -> None:
    """The kernel opens pipes itself: nobody tells the filesystem that one is in use."""
    before = inodes(mounted_vault.path)
    pipe = mounted_vault.path / "pipe"
    os.mkfifo(pipe, 0o600)
    descriptor = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    pipe.unlink()
    assert os.fstat(descriptor).st_nlink == 0
    os.fchmod(descriptor, 0o640)
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o640
    os.write(descriptor, b"through")
    assert os.read(descriptor, 10) == b"through"
    os.close(descriptor)
    assert eventually(lambda: inodes(mounted_vault.path) == before), "it goes with its last user"
