"""kill -9 of the daemon while programs work in the mount: what they were told is done must be there."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from _powercut.judge import Verdict, found_on_disk
from _powercut.machine import SCRIPTS
from _powercut.staff import judge_all, staff
from _powercut.writer import make_folders
from tests.support.mounting import MountedVault

class Death(NamedTuple):
    """One kill, what was going on, and what was there afterwards."""

    load: str
    verdict: Verdict


SQLITE = ("DELETE", "WAL")


def sqlite_writer(database: str, log: str, mode: str) -> None:
    """Insert rows, a transaction each, and log every one that is committed."""
    try:
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, size INTEGER, body BLOB)")
        number = (connection.execute("SELECT max(id) FROM messages").fetchone()[0] or 0) + 1
        rng = random.Random(number)
        with open(log, "a", buffering=1) as acknowledged:
            while True:
                size = rng.choice((50, 500, 5000, 200_000))
                connection.execute("BEGIN")
                connection.execute("INSERT INTO messages VALUES (?, ?, ?)", (number, size, rng.randbytes(size)))
                if number % 7 == 0:
                    connection.execute("UPDATE messages SET body = zeroblob(size) WHERE id % 11 = ?", (number % 11,))
                connection.execute("COMMIT")
                acknowledged.write(f"{number}\n")
                number += 1
    except (sqlite3.Error, OSError):
        return  # the mount died, as it was meant to


def judge_sqlite(database: Path, log: Path) -> Verdict:
    """Every committed row is there and whole, and the file is sound."""
    problems: list[str] = []
    committed = [int(line) for line in log.read_text().split()] if log.exists() else []
    if not committed:
        return Verdict(0, 0, [])
    connection = sqlite3.connect(database)
    try:
        answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if answer != "ok":
            problems.append(f"{database.name}: integrity_check says {answer}")
        found = dict(connection.execute("SELECT id, length(body) = size FROM messages"))
    except sqlite3.Error as error:
        return Verdict(1, 1, [f"{database.name}: {error}"])
    finally:
        connection.close()
    lost = [number for number in committed if number not in found]
    if lost:
        problems.append(f"{database.name}: {len(lost)} of {len(committed)} committed rows are lost, from {lost[0]}")
    if len(found) > max(committed) + 1 or not all(found.values()):
        problems.append(f"{database.name}: rows that were never written so")
    return Verdict(1, len(committed), problems)


def _start(module_function: str, *arguments: object) -> "subprocess.Popen[bytes]":
    code = f"import sys; from _powercut.killing import {module_function} as run; run(*sys.argv[1:])"
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=SCRIPTS)


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
                    _start("sqlite_writer", vault.path / f"{mode}.db", base / f"{mode}.log", mode) for mode in SQLITE
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
        *(judge_sqlite(vault.path / f"{mode}.db", base / f"{mode}.log") for mode in SQLITE),
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
