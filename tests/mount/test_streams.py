"""Large files that several write at once, over what was there too: the kernel makes pieces, and syncs go on beside."""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

MIB = 1 << 20
SEEDS = (1, 2, 3)


@contextmanager
def mounted(folder: Path, **settings: int) -> Iterator[list[MountedVault]]:
    """The vault in use is the last of the list."""
    vaults = [MountedVault(folder, settings)]
    try:
        yield vaults
    finally:
        vaults[-1].close()


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
def test_what_several_write_at_once_is_there_again(tmp_path: Path, killed: bool) -> None:
    # Checkpoints come often, so that slots are taken again, and run while others write.
    with mounted(tmp_path, direct_soft=16 * MIB) as vaults:
        contents: dict[str, bytearray] = {}
        writers = [
            threading.Thread(target=write_at_random, args=(vaults[-1].path / f"{seed}", seed, contents))
            for seed in SEEDS
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        vaults[-1].kill() if killed else vaults[-1].unmount()
        vaults.append(MountedVault(tmp_path))
        assert len(contents) == len(SEEDS)
        for name, content in contents.items():
            assert (vaults[-1].path / name).read_bytes() == content
        vaults[-1].unmount()
        assert "ERROR" not in vaults[-1].log
