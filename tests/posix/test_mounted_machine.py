"""A mounted vault and a folder of the machine's own disk answer every operation alike.

The same few examples each time; `VAULTFS_EXAMPLES` (a number above 6) tries so many others.
"""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.posix.machine import PosixMachine
from tests.support.mounting import MountedVault, mounting, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

EXAMPLES = int(os.environ.get("VAULTFS_EXAMPLES", "6"))


# So that checkpoints happen in the middle of everything, and next to nothing stays in memory.
RESTLESS = {
    "checkpoint_age": 0.05,
    "inode_budget": 3,
    "directory_budget": 500,
    "fresh_directories": 2,
    "delta_minimum": 300,
    "open_objects": 4,
    "compaction_slots": 2,
}


class Sides:
    """Pairs of fresh folders, one on disk and one in a vault that can be mounted anew."""

    def __init__(self, plain: Path, vault: MountedVault) -> None:
        self.plain = plain
        self.vault = vault
        self._numbers = count()

    def fresh(self) -> tuple[Path, Path]:
        name = str(next(self._numbers))
        pair = self.plain / name, self.vault.path / name
        for folder in pair:
            folder.mkdir()
        return pair

    def remount(self) -> None:
        self.vault = self.vault.remount(settings=RESTLESS)


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[Sides]:
    (tmp_path / "plain").mkdir()
    with mounting(tmp_path) as mount:
        made = Sides(tmp_path / "plain", mount(settings=RESTLESS))
        try:
            yield made
            made.vault.unmount()
        finally:
            made.vault.close()
    assert "WARNING" not in made.vault.log
    assert "ERROR" not in made.vault.log


@pytest.mark.timeout(0 if EXAMPLES > 6 else 300)
def test_a_mounted_vault_behaves_like_a_local_disk(sides: Sides) -> None:
    class Machine(PosixMachine):
        fresh_sides = staticmethod(sides.fresh)
        remount_tested = staticmethod(sides.remount)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            derandomize=EXAMPLES <= 6,
            stateful_step_count=100,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
