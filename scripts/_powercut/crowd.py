"""Many writers at once in the same folders, checkpoints all the while, then everything held against what each knows."""

from pathlib import Path

from _powercut.judge import Verdict, found_on_disk
from _powercut.staff import judge_all, staff
from _powercut.writer import make_folders
from tests.support.mounting import MountedVault


def crowd(folder: Path, writers: int, seconds: float, seed: object, settings: dict[str, object]) -> list[Verdict]:
    """Let them work, and judge twice: by the mount they worked in, and by a new one."""
    vault = MountedVault(folder, settings)
    try:
        make_folders(vault.path)
        with staff(vault.path, folder, writers, seed, seconds, clashes=True) as workers:
            workers.wait()
        verdicts = []
        for mount in range(2):
            if mount:
                vault = vault.remount()
            verdicts.append(judge_all(found_on_disk(vault.path), folder, writers, None, closing_is_durable=True))
        vault.unmount()
    finally:
        vault.close()
    return verdicts
