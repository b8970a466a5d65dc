"""Large files that several write at once, over what was there too, while syncs go on beside, or read at once."""

import mmap
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

MIB = 1 << 20
SEEDS = (1, 2, 3)


def write_at_random(path: Path, seed: int, contents: dict[str, bytearray]) -> None:
    """Mostly on and on, sometimes over what is there, cut now and then; all of it synced in the end."""
    rng = random.Random(seed)
    content = bytearray()
    with path.open("wb", buffering=0) as file:
        for _ in range(40):
            offset = rng.choice([len(content), len(content), rng.randrange(len(content) + 1)])
            size = rng.choice([MIB, 3 * MIB, 300_000, 4096 * rng.randrange(1, 400), rng.randrange(1, 2 * MIB)])
            piece = rng.randbytes(size)
            content[offset : offset + size] = piece
            file.seek(offset)
            assert file.write(piece) == size
            if rng.random() < 0.1:
                os.fsync(file)
            if rng.random() < 0.05:
                del content[rng.randrange(len(content)) :]
                file.truncate(len(content))
        os.fsync(file)
    contents[path.name] = content


@pytest.mark.parametrize("killed", [False, True])
def test_what_several_write_at_once_is_there_again(mount_vault: Callable[..., MountedVault], killed: bool) -> None:
    # Checkpoints come often, so that slots are taken again, and run while others write.
    vault = mount_vault(settings={"direct_soft": 16 * MIB})
    contents: dict[str, bytearray] = {}
    writers = [
        threading.Thread(target=write_at_random, args=(vault.path / f"{seed}", seed, contents)) for seed in SEEDS
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    vault.kill() if killed else vault.unmount()
    again = mount_vault()
    assert len(contents) == len(SEEDS)
    for name, content in contents.items():
        assert (again.path / name).read_bytes() == content
    again.unmount()
    assert "ERROR" not in again.log


def read_at_random(path: Path, seed: int, content: bytes, wrong: list[str]) -> None:
    """Pieces of all sizes, past the kernel's cache of the mount, so that each is a request."""
    rng = random.Random(seed)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    room = mmap.mmap(-1, MIB)
    for _ in range(400):
        offset = 4096 * rng.randrange(len(content) // 4096)
        size = rng.choice([4096, 65536, 300 * 1024, MIB])
        done = os.preadv(fd, [memoryview(room)[:size]], offset)
        if room[:done] != content[offset : offset + size]:
            wrong.append(f"{path.name}: {size} bytes at {offset}")
    os.close(fd)


def test_several_read_at_once_and_each_gets_its_own_bytes(mount_vault: Callable[..., MountedVault]) -> None:
    vault = mount_vault()
    contents = {f"{seed}": random.Random(seed).randbytes(6 * MIB + 12345 * seed) for seed in SEEDS}
    for name, content in contents.items():
        (vault.path / name).write_bytes(content)
    vault.unmount()
    again = mount_vault()
    wrong: list[str] = []
    readers = [
        threading.Thread(target=read_at_random, args=(again.path / name, seed, content, wrong))
        for seed, (name, content) in enumerate(2 * list(contents.items()))
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert not wrong
    again.unmount()
