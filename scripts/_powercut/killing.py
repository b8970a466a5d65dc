"""kill -9 of the daemon while programs work in the mount: what they were told is done must be there."""

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _powercut.database import MODES, committed_rows, judge_sqlite, start_sqlite
from _powercut.judge import Verdict, found_on_disk
from _powercut.staff import judge_all, staff
from _powercut.writer import make_folders
from tests.support.mounting import MountedVault

_HELD = 0.1  # seconds; 4 ms are meant, on a machine with more to do than this


class Death(NamedTuple):
    """One kill, and what was there afterwards."""

    number: int
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
                others = [start_sqlite(vault.path / f"{mode}.db", base / f"{mode}.log", mode) for mode in MODES]
                if data is not None:
                    others.append(_start_copying(data, vault.path / "copies"))
                time.sleep(rng.uniform(0.3, 2) * pause)
                acknowledged = workers.marks()
                rows = {mode: committed_rows(base / f"{mode}.log") for mode in MODES}
                # New files and writes that nobody syncs wait for one another in the daemon, for milliseconds.
                time.sleep(_HELD)
                vault.kill()
                workers.stop()  # for not all notice that their mount is dead
                for process in others:
                    process.kill()
                    process.wait()
            vault = MountedVault(base, settings)
            yield Death(number, _judge(vault.path, base, acknowledged, rows, data))
            vault.unmount()
            shutil.rmtree(base)
        finally:
            vault.close()


def _start_copying(data: Path, copies: Path) -> "subprocess.Popen[bytes]":
    command = ["rsync", "-aH", "--fsync", f"{data}/", str(copies)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _judge(mount: Path, logs: Path, acknowledged: list[int], rows: dict[str, list[int]], data: Path | None) -> Verdict:
    verdicts = [
        judge_all(found_on_disk(mount), logs, len(acknowledged), acknowledged, closing_is_durable=True),
        *(judge_sqlite(mount / f"{mode}.db", rows[mode]) for mode in MODES),
    ]
    if data is not None:
        verdicts.append(_judge_copies(data, mount / "copies"))
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
