"""Many threads at once while checkpoints come thick and fast; and damage, which stays one file's trouble."""

import errno
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

SIZES = (10, 3000, 70_000, 300_000)


class Worker(threading.Thread):
    """Writes, syncs, renames, removes and reads in a folder of its own, and knows what should be there."""

    def __init__(self, folder: Path, seed: int, rounds: int) -> None:
        super().__init__()
        self.folder = folder
        self.random = random.Random(seed)
        self.rounds = rounds
        self.expected: dict[Path, bytes] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self.folder.mkdir()
            for _ in range(self.rounds):
                self.random.choice(
                    (self.write, self.write, self.write, self.remove, self.rename, self.read, self.nest)
                )()
        except BaseException as failure:
            self.failure = failure

    def some_file(self) -> Path | None:
        return self.random.choice(list(self.expected)) if self.expected else None

    def write(self) -> None:
        file = self.folder / str(self.random.randrange(50))
        self.expected[file] = content = self.random.randbytes(self.random.choice(SIZES))
        with file.open("wb", buffering=0) as stream:
            stream.write(content)
            if self.random.random() < 0.5:
                os.fsync(stream.fileno())

    def remove(self) -> None:
        if (file := self.some_file()) is not None:
            file.unlink()
            del self.expected[file]

    def rename(self) -> None:
        if (file := self.some_file()) is not None:
            target = self.folder / str(self.random.randrange(50))
            self.expected[target] = self.expected.pop(file)
            file.rename(target)

    def read(self) -> None:
        if (file := self.some_file()) is not None:
            assert file.read_bytes() == self.expected[file]

    def nest(self) -> None:
        below = self.folder / "below"
        below.mkdir()
        for number in range(5):
            (below / str(number)).write_text("soon gone")
        for number in range(5):
            (below / str(number)).unlink()
        below.rmdir()

    def check(self) -> None:
        assert self.failure is None, repr(self.failure)
        assert {file: file.read_bytes() for file in self.folder.iterdir()} == self.expected


def test_nothing_is_lost_or_mixed_up(mount_vault: Callable[..., MountedVault]) -> None:
    vault = mount_vault(settings={"checkpoint_age": 0.01, "inode_budget": 20, "directory_budget": 10_000})
    workers = [Worker(vault.path / str(number), number, rounds=120) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        worker.check()
    again = vault.remount()
    try:
        for worker in workers:
            worker.check()
        again.unmount()
        assert "ERROR" not in again.log
    finally:
        again.close()


def test_damage_is_an_error_of_that_file_alone(mounted_vault: MountedVault) -> None:
    (mounted_vault.path / "one").write_bytes(os.urandom(200_000))
    mounted_vault.unmount()
    before = set(mounted_vault.store.glob("objects/*/*"))
    again = MountedVault(mounted_vault.folder)
    (again.path / "two").write_bytes(b"whole" * 40_000)
    again.unmount()
    largest = max(before, key=lambda path: path.stat().st_size)
    with largest.open("r+b") as stream:
        # In each slot: an older kernel writes the file in other pieces, of which one slot is free again.
        for place in range(1_000, largest.stat().st_size, 50_000):
            stream.seek(place)
            stream.write(b"damaged")
    again = MountedVault(mounted_vault.folder)
    try:
        with pytest.raises(OSError) as failure:
            (again.path / "one").read_bytes()
        assert failure.value.errno == errno.EIO
        assert "ERROR vaultfs.mount: /one: read: " in again.log
        assert (again.path / "two").read_bytes() == b"whole" * 40_000
        (again.path / "three").write_text("still writable")
        again.unmount()
    finally:
        again.close()
