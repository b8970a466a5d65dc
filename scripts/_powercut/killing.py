"""kill -9 of the daemon while programs work in the mount: what they were told is done must be there."""

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _powercut.database import MODES, judge_sqlite, start_sqlite
from _powercut.judge import Verdict, found_on_disk
from _powercut.staff import judge_all, staff
from _powercut.writer import make_folders
from tests.support.mounting import MountedVault

class Death(NamedTuple):
    """One kill, what was going on, and what was there afterwards."""

    load: str
    verdict: Verdict


def kills(
    folder: Path, count: int, seed: object, settings: dict[str, object], data: Path | None, pause: float
) -> Iterator[Death]:
    """Kill the daemon `count` times; writers, SQLite in two modes and, with `data`, rsync of it are at work."""
    rng = random.Random(f"{seed}")
    for number in range(count):
        base = folder / f"kill{number}"
        base.mkdir()
        vault = MountedVault(base, settings)
        try:
            make_folders(vault.path)
            (vault.path / "copies").mkdir()
            with staff(vault.path, base, 2, f"{seed} {number}", 86400) as workers:
                others = [
                    start_sqlite(vault.path / f"{mode}.db", base / f"{mode}.log", mode) for mode in MODES
                ]
                if data is not None:
                    copy = ["rsync", "-aH", "--fsync", f"{data}/", vault.path / "copies"]
                    others.append(subprocess.Popen(copy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
                time.sleep(rng.uniform(0.3, 2) * pause)
                vault.kill()
                workers.wait()
                for process in others:
                    process.wait()
            vault = MountedVault(base, settings)
            yield Death(f"kill {number}", _judge(vault, base, data))
            vault.unmount()
        finally:
            vault.close()


def _judge(vault: MountedVault, base: Path, data: Path | None) -> Verdict:
    verdicts = [
        judge_all(found_on_disk(vault.path), base, 2, None, closing_is_durable=True),
        *(judge_sqlite(vault.path / f"{mode}.db", base / f"{mode}.log") for mode in MODES),
    ]
    if data is not None:
        verdicts.append(_judge_copies(data, vault.path / "copies"))
    return Verdict(
        sum(verdict.files for verdict in verdicts),
        sum(verdict.promised for verdict in verdicts),
        [problem for verdict in verdicts for problem in verdict.problems],
    )


def _judge_copies(data: Path, copies: Path) -> Verdict:
    """rsync renames a file into place after its fsync: what has its name must be whole."""
    files = 0
    problems: list[str] = []
    for copy in sorted(copies.rglob("*")):
        if copy.is_symlink() or not copy.is_file():
            continue
        original = data / copy.relative_to(copies)
        if not original.exists():
            continue  # rsync's temporary name
        files += 1
        if copy.read_bytes() != original.read_bytes():
            problems.append(f"{copy.relative_to(copies)} is not what was copied")
    return Verdict(files, files, problems)
