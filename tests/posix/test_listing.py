"""Listings while names come and go: each name that stays is there once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

STAYING = 3000
LISTINGS = 40

# Makes and removes names, and moves some there and back, until stdin ends.
RESTLESS = """
import os, select, sys
os.chdir(sys.argv[1])
number = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    number += 1
    open(f"coming {number % 500}", "w").close()
    os.rename(f"coming {number % 500}", f"going {number % 500}")
    if number % 3:
        os.unlink(f"going {number % 500}")
"""


@pytest.fixture
def large_folder(mounted_vault: MountedVault) -> Path:
    folder = mounted_vault.path / "folder"
    folder.mkdir()
    for number in range(STAYING):
        (folder / f"staying {number}").touch()
    return folder


def test_names_that_stay_are_listed_once(large_folder: Path) -> None:
    staying = {f"staying {number}" for number in range(STAYING)}
    inodes = {entry.name: entry.inode() for entry in os.scandir(large_folder)}
    with subprocess.Popen([sys.executable, "-c", RESTLESS, large_folder], stdin=subprocess.PIPE) as restless:
        try:
            for _ in range(LISTINGS):
                entries = [(entry.name, entry.inode()) for entry in os.scandir(large_folder)]
                names = [name for name, _ in entries if name in staying]
                assert len(names) == STAYING
                assert set(names) == staying
                assert all(inodes[name] == inode for name, inode in entries if name in staying)
        finally:
            assert restless.stdin is not None
            restless.stdin.close()
    assert restless.returncode == 0


def test_deleting_while_listing(large_folder: Path) -> None:
    """What `rm -r` does: names are removed as they are read."""
    seen = []
    with os.scandir(large_folder) as listing:
        for entry in listing:
            seen.append(entry.name)
            os.unlink(entry)
    assert sorted(seen) == sorted(f"staying {number}" for number in range(STAYING))
    assert not list(large_folder.iterdir())
    large_folder.rmdir()
