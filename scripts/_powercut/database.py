"""SQLite at work in a mount: commits rows until the mount dies, and is held to every row it said was committed.

Run as `database.py DATABASE LOG MODE`, MODE being one of `MODES`.
"""

import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from _powercut.judge import Verdict
from _powercut.machine import SCRIPTS

MODES = ("DELETE", "WAL")


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


def committed_rows(log: Path) -> list[int]:
    """What a log says is committed by now."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def judge_sqlite(database: Path, committed: list[int]) -> Verdict:
    """Every committed row is there and whole, and the file is sound."""
    problems: list[str] = []
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
    if not all(found.values()):
        problems.append(f"{database.name}: rows that were never written so")
    return Verdict(1, len(committed), problems)


def start_sqlite(database: Path, log: Path, mode: str) -> "subprocess.Popen[bytes]":
    """Have a process of its own write."""
    command = [sys.executable, "-m", "_powercut.database", str(database), str(log), mode]
    return subprocess.Popen(command, cwd=SCRIPTS)


if __name__ == "__main__":
    sqlite_writer(*sys.argv[1:])
