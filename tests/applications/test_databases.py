"""Databases: SQLite in both journal modes, and LMDB, which writes through a memory map."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

both_modes = pytest.mark.parametrize("mode", ["delete", "wal"])

# Commits one row after the other, and says so once the commit has returned.
WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute(f"PRAGMA journal_mode={sys.argv[2]}")
database.execute("PRAGMA synchronous=FULL")
database.execute("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, text BLOB)")
for number in range(100000):
    database.execute("INSERT INTO lines VALUES (?, randomblob(3000))", (number,))
    print(number, flush=True)
"""


def check(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def rows(path: Path) -> list[tuple[int, bytes]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT number, text FROM lines ORDER BY number").fetchall()


@both_modes
def test_large_transactions_and_vacuum(mounted_vault: MountedVault, mode: str) -> None:
    path = mounted_vault.path / "database"
    with closing(sqlite3.connect(path)) as database:
        assert database.execute(f"PRAGMA journal_mode={mode}").fetchone() == (mode,)
        with database:
            database.execute("CREATE TABLE lines (number INTEGER PRIMARY KEY, text BLOB)")
            database.executemany(
                "INSERT INTO lines VALUES (?, ?)", ((number, os.urandom(500)) for number in range(10000))
            )
        with database:
            database.execute("DELETE FROM lines WHERE number % 3 = 0")
            database.execute("UPDATE lines SET text = randomblob(700) WHERE number % 3 = 1")
        before = path.stat().st_size
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < before
        database.execute("DELETE FROM lines WHERE number > 5000")
        database.rollback()
    check(path)
    expected = rows(path)
    assert len(expected) == 6666
    again = mounted_vault.remount()
    try:
        check(again.path / "database")
        assert rows(again.path / "database") == expected
        again.unmount()
    finally:
        again.close()


@both_modes
def test_what_was_committed_survives_the_death_of_the_filesystem(mounted_vault: MountedVault, mode: str) -> None:
    path = mounted_vault.path / "database"
    acknowledged = 0
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path, mode], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged >= 60:
                break
        mounted_vault.kill()
        writer.kill()
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    again = MountedVault(mounted_vault.folder)
    try:
        check(again.path / "database")
        assert [number for number, _ in rows(again.path / "database")][: acknowledged + 1] == list(
            range(acknowledged + 1)
        )
        again.unmount()
    finally:
        again.close()


@both_modes
def test_a_transaction_of_a_killed_program_is_rolled_back(folder: Path, mode: str) -> None:
    path = folder / "database"
    with subprocess.Popen([sys.executable, "-c", WRITER, path, mode], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 30:
            pass
        writer.kill()
        acknowledged = max([30, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    check(path)
    assert len(rows(path)) in (acknowledged + 1, acknowledged + 2)


def lmdb_pairs() -> Iterator[tuple[bytes, bytes]]:
    return ((b"%08d" % number, b"value %d" % number * (number % 50)) for number in range(5000))


@pytest.mark.parametrize("writable_map", [False, True], ids=["writes", "memory map"])
def test_lmdb(mounted_vault: MountedVault, writable_map: bool) -> None:
    lmdb = pytest.importorskip("lmdb", reason="not installed: the Python package lmdb")
    path = str(mounted_vault.path / "lmdb")
    with lmdb.open(path, map_size=64 << 20, writemap=writable_map) as environment:
        with environment.begin(write=True) as change:
            for key, value in lmdb_pairs():
                change.put(key, value)
        with environment.begin(write=True) as change:
            for key, _ in lmdb_pairs():
                if int(key) % 2:
                    change.delete(key)
    again = mounted_vault.remount()
    try:
        with lmdb.open(path, map_size=64 << 20) as environment, environment.begin() as reading:
            expected = [pair for pair in lmdb_pairs() if not int(pair[0]) % 2]
            assert list(reading.cursor()) == expected
        again.unmount()
    finally:
        again.close()
