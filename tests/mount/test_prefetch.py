"""Reading ahead: begins when somebody reads in order, stops when not, and never changes what is read."""

import os
import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse
from tests.vault.harness import vault_with
from vaultfs.mount.prefetch import Prefetcher
from vaultfs.mount.workers import Workers
from vaultfs.store.handles import HandleCache

ROOT = 1
MIB = 1 << 20


class AtOnce(Workers):
    """Does what it is given where it stands."""

    def start(self, function: Callable[[], object]) -> None:
        function()


@pytest.fixture
def brought_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(path, size, offset) of everything that is read ahead."""
    found: list[tuple[str, int, int]] = []
    monkeypatch.setattr(HandleCache, "read_ahead", lambda _, *extent: found.append(extent))
    return found


def test_a_file_read_in_order_is_read_ahead_once_each_part(brought_in: list[tuple[str, int, int]]) -> None:
    vault = vault_with({"video": bytes(12 * MIB)})
    inode = vault.lookup(ROOT, b"video").id
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    for offset in range(0, 12 * MIB, MIB):
        assert vault.read(inode, offset, MIB) == bytes(MIB)
        prefetcher.read(inode, offset, MIB, missed=offset < 2 * MIB)
    parts = sorted((offset, size) for _, size, offset in brought_in)
    for (offset, size), (following, _) in pairwise(parts):
        assert following >= offset + size - 44, "nothing is read ahead twice"
    assert sum(size for _, size in parts) > 9 * MIB


def test_a_large_first_read_begins_it(brought_in: list[tuple[str, int, int]]) -> None:
    vault = vault_with({"photo": bytes(3 * MIB), "other": bytes(3 * MIB)})
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    prefetcher.read(vault.lookup(ROOT, b"other").id, 0, 64 << 10, missed=True)
    assert not brought_in
    prefetcher.read(vault.lookup(ROOT, b"photo").id, 0, MIB, missed=True)
    assert sum(size for _, size, _ in brought_in) >= MIB


def test_reading_ahead_goes_on_in_the_next_segment(brought_in: list[tuple[str, int, int]]) -> None:
    content = random.Random(1).randbytes(MIB) * 70
    vault = vault_with({"video": content})
    inode = vault.lookup(ROOT, b"video").id
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    for offset in range(56 * MIB, 64 * MIB, MIB):
        assert vault.read(inode, offset, MIB) == content[:MIB]
        prefetcher.read(inode, offset, MIB, missed=True)
    ahead: dict[str, int] = {}
    for path, size, _ in brought_in:
        ahead[path] = ahead.get(path, 0) + size
    assert len(ahead) == 2, "the segment that is read, and the one after it"
    assert min(ahead.values()) > 3 * MIB
    assert vault.read(inode, 64 * MIB, 6 * MIB) == content[: 6 * MIB]


@pytest.mark.parametrize("size", [4096, MIB])
def test_a_file_read_here_and_there_is_not_read_ahead(brought_in: list[tuple[str, int, int]], size: int) -> None:
    vault = vault_with({"video": bytes(12 * MIB)})
    inode = vault.lookup(ROOT, b"video").id
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    for offset in random.Random(1).sample(range(MIB, 12 * MIB, 16384), 200):
        prefetcher.read(inode, offset, size, missed=True)
    assert len(brought_in) < 5


def test_what_is_in_memory_already_is_not_read_ahead(brought_in: list[tuple[str, int, int]]) -> None:
    vault = vault_with({"video": bytes(8 * MIB), **{f"photo{number:03}": bytes(5000) for number in range(50)}})
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    video = vault.lookup(ROOT, b"video").id
    for offset in range(0, 8 * MIB, MIB):
        prefetcher.read(video, offset, MIB, missed=False)
    for name, _ in vault.list_directory(ROOT):
        prefetcher.read(vault.lookup(ROOT, name).id, 0, 4096, missed=False)
    assert not brought_in


def test_files_read_one_after_the_other_are_read_ahead_once_each(brought_in: list[tuple[str, int, int]]) -> None:
    vault = vault_with({f"DCIM/photo{number:03}": bytes(20_000 + number) for number in range(200)})
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    folder = vault.lookup(ROOT, b"DCIM").id
    for position, (name, _) in enumerate(vault.list_directory(folder)):
        prefetcher.read(vault.lookup(folder, name).id, 0, 4096, missed=position < 2)
    paths = [path for path, _, _ in brought_in]
    assert len(paths) == len(set(paths))
    assert len(paths) >= 190


def test_larger_files_are_read_ahead_of_who_reads_small_ones(brought_in: list[tuple[str, int, int]]) -> None:
    """Those that stand in their entries are never missed, and tell nevertheless that the folder is walked through."""
    sizes = [20_000 if number % 5 == 4 else 100 for number in range(100)]
    vault = vault_with({f"DCIM/photo{number:03}": bytes([1]) * size for number, size in enumerate(sizes)})
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    folder = vault.lookup(ROOT, b"DCIM").id
    for position, (name, _) in enumerate(vault.list_directory(folder)):
        inode = vault.lookup(folder, name)
        is_small = inode.size == 100
        assert vault.vault.read_plan(inode.id, 0, 4096).is_in_memory is is_small
        ahead = len(brought_in)
        prefetcher.read(inode.id, 0, 4096, missed=False, in_memory=is_small)
        assert is_small or ahead > position // 5, "it was not brought in before"
    assert len(brought_in) == 20


def test_the_folders_of_a_listed_folder_are_read_ahead_once(brought_in: list[tuple[str, int, int]]) -> None:
    vault = vault_with({f"{number % 20}/photo{number}": bytes(100) for number in range(100)})
    vault.list_directory(ROOT)
    prefetcher = Prefetcher(vault.vault, AtOnce(1))
    prefetcher.listed(ROOT)
    prefetcher.listed(ROOT)
    assert len(brought_in) == 20


@needs_fuse
@pytest.mark.mount
def test_a_tree_that_changes_while_it_is_read_is_read_as_it_is(tmp_path: Path) -> None:
    rng = random.Random(4)
    vault = MountedVault(tmp_path)
    try:
        expected = {}
        for number in range(240):
            folder = vault.path / f"{number % 4}"
            folder.mkdir(exist_ok=True)
            expected[f"{number % 4}/{number:03}"] = content = rng.randbytes(rng.choice([10, 40_000, 70_000, 300_000]))
            (folder / f"{number:03}").write_bytes(content)
        vault = vault.remount()
        _forget_store(vault.store)
        for position, name in enumerate(sorted(expected)):
            if name not in expected:
                continue
            assert (vault.path / name).read_bytes() == expected[name]
            later = rng.choice(sorted(expected)[position // 2 :])
            if position % 3 == 0:
                expected[later] = rng.randbytes(90_000)
                (vault.path / later).write_bytes(expected[later])
            elif position % 3 == 1 and later != name:
                del expected[later]
                (vault.path / later).unlink()
        found = {str(path.relative_to(vault.path)): path.read_bytes() for path in vault.path.glob("*/*")}
        assert found == expected
        vault.unmount()
        assert "WARNING" not in vault.log
        assert "ERROR" not in vault.log
    finally:
        vault.close()


def _forget_store(store: Path) -> None:
    """Take the store's files out of the page cache, so that reading them has to wait."""
    for path in store.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
