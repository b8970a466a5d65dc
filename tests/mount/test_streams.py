"""Large files that several write at once, over what was there too: the kernel makes pieces, and syncs go on beside."""

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
