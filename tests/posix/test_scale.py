"""Much of everything, in sizes a test run can bear; `scripts/conformance scale` takes it further."""

import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse
from tests.support.serving import KEYS
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault

pytestmark = [pytest.mark.mount, needs_fuse]

TIB = 1 << 40
FOLDERS, FILES = 100, 200
# Bytes a walk may cost for each file, while the kernel remembers all of them: about 390 were measured.
BYTES_PER_FILE = 1000


def seconds_for(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def test_folders_within_folders(mounted_vault: MountedVault) -> None:
    at = os.open(mounted_vault.path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("below", dir_fd=at)
        lower = os.open("below", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = lower
    os.close(at)
    again = mounted_vault.remount()
    try:
        assert sum(1 for _ in os.walk(again.path)) == 301
        again.unmount()
    finally:
        again.close()


def test_a_thousand_names_of_one_file(mounted_vault: MountedVault) -> None:
    first = mounted_vault.path / "0"
    first.write_bytes(b"content")
    for number in range(1, 1000):
        os.link(first, mounted_vault.path / str(number))
    again = mounted_vault.remount()
    try:
        found = {(path.stat().st_ino, path.stat().st_nlink) for path in again.path.iterdir()}
        assert found == {(first.stat().st_ino, 1000)}
        for number in range(999):
            (again.path / str(number)).unlink()
        assert (again.path / "999").read_bytes() == b"content"
        assert (again.path / "999").stat().st_nlink == 1
        again.unmount()
    finally:
        again.close()


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """As many as this user may have, 10,000 at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(10_200, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield wanted - 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_open_files(folder: Path, many_descriptors: int) -> None:
    count = min(many_descriptors, 3000)
    files = [os.open(folder / str(number), os.O_CREAT | os.O_RDWR) for number in range(count)]
    try:
        for number, file in enumerate(files):
            os.write(file, b"%d" % number)
        for number in range(0, count, 2):
            (folder / str(number)).unlink()
        for number, file in enumerate(files):
            assert os.pread(file, 10, 0) == b"%d" % number
    finally:
        for file in files:
            os.close(file)
    assert len(list(folder.iterdir())) == count // 2


def test_a_tebibyte_of_holes(mounted_vault: MountedVault) -> None:
    file = mounted_vault.path / "file"
    with file.open("wb") as stream:
        stream.truncate(TIB)
        os.pwrite(stream.fileno(), b"middle", TIB // 2)
        os.pwrite(stream.fileno(), b"end", TIB - 3)
    again = mounted_vault.remount()
    try:
        assert file.stat().st_size == TIB
        assert file.stat().st_blocks < 1000
        with file.open("rb") as stream:
            assert os.pread(stream.fileno(), 8, TIB // 2 - 1) == b"\0middle\0"
            assert os.pread(stream.fileno(), 100, TIB - 3) == b"end"
        file.unlink()
        again.unmount()
    finally:
        again.close()


def test_large_extended_attributes(mounted_vault: MountedVault) -> None:
    file = mounted_vault.path / "file"
    file.touch()
    values = {f"user.{number}": os.urandom(4096) for number in range(16)} | {"user.large": os.urandom(65536)}
    for name, value in values.items():
        os.setxattr(file, name, value)
    again = mounted_vault.remount()
    try:
        assert {name: os.getxattr(file, name) for name in os.listxattr(file)} == values
        again.unmount()
    finally:
        again.close()


@pytest.mark.slow
def test_a_file_costs_as_much_in_a_large_folder(folder: Path) -> None:
    """Creating, looking at and deleting the last thousand of 12,000 files, and the first."""
    costs = []
    for begin in (0, 11_000):
        names = [folder / str(number) for number in range(begin, begin + 1000)]
        costs.append(seconds_for(lambda names=names: [name.touch() for name in names]))  # type: ignore[misc]
        if not begin:
            for number in range(1000, 11_000):
                (folder / str(number)).touch()
    assert costs[1] < 4 * costs[0] + 0.5
    assert len(os.listdir(folder)) == 12_000


@pytest.fixture
def large_tree(tmp_path: Path) -> Path:
    """A folder for MountedVault with a vault of many files, made without a mount."""
    folder = tmp_path / "large"
    (folder / "store").mkdir(parents=True)
    with DirectoryStore(folder / "store", write=True) as store:
        Vault.create(store, KEYS)
        vault = Vault.open(store, KEYS)
        inline = Inline(vault)
        for number in range(FOLDERS):
            above = inline.create_inode(1, b"%d" % number, stat.S_IFDIR | 0o755)
            for file in range(FILES):
                inline.create_inode(above.id, b"IMG-%05d.jpg" % file, stat.S_IFREG | 0o644)
            vault.evict()
        vault.close()
    return folder


def memory(vault: MountedVault) -> int:
    """Bytes of resident memory of the process that serves a vault."""
    pages = int(Path(f"/proc/{vault.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_walking_a_large_tree_costs_little_memory(large_tree: Path) -> None:
    vault = MountedVault(large_tree, settings={"inode_budget": 500, "directory_budget": 500_000, "checkpoint_age": 0.1})
    try:
        before = memory(vault)
        inodes = {path: os.lstat(path).st_ino for path in vault.path.glob("*/*")}
        assert len(inodes) == FOLDERS * FILES
        assert memory(vault) - before < FOLDERS * FILES * BYTES_PER_FILE + (8 << 20)
        some = list(inodes)[::97]
        # All but a few are evicted by now; the kernel knows them still, and goes on by their numbers.
        for path in some:
            with path.open("ab") as stream:
                stream.write(b"content")
            os.chmod(path, 0o600)
        time.sleep(1)
        for path in some:
            assert (path.stat().st_ino, path.stat().st_size, path.stat().st_mode) == (inodes[path], 7, 0o100600)
            assert path.read_bytes() == b"content"
        vault = vault.remount()
        assert all(os.lstat(path).st_ino == inode for path, inode in inodes.items())
        vault.unmount()
        assert "ERROR" not in vault.log
    finally:
        vault.close()
