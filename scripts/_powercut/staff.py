"""Runs the writers as processes, and judges what they left."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _powercut.journal import read_log
from _powercut.judge import Judge, Tree, Verdict
from _powercut.machine import SCRIPTS


class Staff:
    """Writers at work in one mount; their logs are in `folder`."""

    def __init__(self, mount: Path, folder: Path, count: int, seed: object, seconds: float, clashes: bool) -> None:
        self._logs = [folder / f"log.{number}" for number in range(count)]
        self._processes = [
            subprocess.Popen(
                [
                    sys.executable, "-m", "_powercut.writer", str(mount), str(log), str(number), str(seed),
                    str(seconds), *(["clashes"] if clashes else []),
                ],
                cwd=SCRIPTS,
            )
            for number, log in enumerate(self._logs)
        ]  # fmt: skip

    def marks(self) -> list[int]:
        """How long each log is: what was acknowledged by now is before it."""
        return [log.stat().st_size if log.exists() else 0 for log in self._logs]

    def wait(self) -> None:
        """Wait for all to end; RuntimeError if one ended badly."""
        codes = [process.wait() for process in self._processes]
        if any(codes):
            raise RuntimeError(f"a writer failed: {codes}")

    def stop(self) -> None:
        """End all that still run."""
        for process in self._processes:
            process.kill()
            process.wait()

    def copy_logs(self, folder: Path) -> None:
        """Keep the logs as they are now."""
        for log in self._logs:
            (folder / log.name).write_bytes(log.read_bytes() if log.exists() else b"")


@contextmanager
def staff(
    mount: Path, folder: Path, count: int, seed: object, seconds: float, clashes: bool = False
) -> Iterator[Staff]:
    """Let `count` writers work for some seconds."""
    workers = Staff(mount, folder, count, seed, seconds, clashes)
    try:
        yield workers
    finally:
        workers.stop()


def judge_all(tree: Tree, logs: Path, count: int, marks: list[int] | None, *, closing_is_durable: bool) -> Verdict:
    """One verdict on the work of all writers; `marks` as from `Staff.marks`, None: all answers count."""
    files = promised = 0
    problems: list[str] = []
    for number in range(count):
        steps = read_log(logs / f"log.{number}", marks[number] if marks is not None else None)
        verdict = Judge(number, steps, closing_is_durable).judge(tree)
        files += verdict.files
        promised += verdict.promised
        problems += verdict.problems
    return Verdict(files, promised, problems)
