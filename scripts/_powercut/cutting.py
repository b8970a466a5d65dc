"""The power cuts: writers work in a mount on a machine, copies of its disk as after a cut are examined."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _powercut.autopsy import examine
from _powercut.judge import Verdict
from _powercut.machine import Cut, machine, mounted_image
from _powercut.staff import staff
from _powercut.writer import make_folders
from tests.support.mounting import MountedVault

DISK_SIZE = 640 << 20
SETTINGS: dict[str, object] = {
    # Small, so that many checkpoints begin and end between the cuts.
    "checkpoint_age": 0.5, "journal_soft": 256 << 10, "journal_hard": 4 << 20, "overlay_soft": 1 << 20,
    "direct_soft": 8 << 20, "direct_hard": 64 << 20, "compaction_slots": 8, "delta_minimum": 2 << 10,
}  # fmt: skip


class Outcome(NamedTuple):
    """One cut, and what the vault held after it."""

    cut: Cut
    verdict: Verdict


def cuts(folder: Path, file_system: str, count: int, seed: object, writers: int, pause: float) -> Iterator[Outcome]:
    """Cut the power `count` times, every `pause` seconds on average, while the writers go on."""
    rng = random.Random(f"{seed} {file_system}")
    with machine(folder, file_system, DISK_SIZE) as computer:
        vault = MountedVault(computer.folder, SETTINGS)
        try:
            make_folders(vault.path)
            with staff(vault.path, folder, writers, seed, 86400) as workers:
                for number in range(count):
                    time.sleep(rng.uniform(0.2, 2) * pause)
                    image = folder / "after-cut"
                    acknowledged = workers.marks()
                    cut = computer.cut(image, f"{seed}-{number}", rng.choice((0, 0, 0.5, 0.9, 1)))
                    begun = folder / "begun"
                    begun.mkdir(exist_ok=True)
                    workers.copy_logs(begun)
                    yield Outcome(cut, _examine(image, begun, acknowledged))
                    image.unlink()
                if vault.process.poll() is not None:
                    raise RuntimeError(f"the mount ended by itself: {vault.log}")
        finally:
            vault.close()


def _examine(image: Path, logs: Path, acknowledged: list[int]) -> Verdict:
    with mounted_image(image, image.with_name("recovered")) as mountpoint:
        return examine(mountpoint / "store", logs, acknowledged)
