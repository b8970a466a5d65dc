"""The guide is true: its commands, run in order as they are written, in a home that has what it speaks of."""

import os
import re
import shutil
import sqlite3
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, environment
from tests.support.mounting import needs_fuse
from tests.system.conftest import Program, Vault

pytestmark = [pytest.mark.mount, needs_fuse]

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    """The commands of each section, by its title; those before the first are called `start`."""
    text = (files("vaultfs") / "docs/guide.md").read_text(encoding="utf-8")
    pieces = ["start", *SECTION.split(text)]
    return {title: "".join(BLOCK.findall(body)) for title, body in zip(pieces[::2], pieces[1::2], strict=True)}


def run(home: Path, program: Program, commands: str) -> str:
    """What a section prints; passwords are answered, for as often as they are asked."""
    remote = home / "cloud"
    rclone = {"RCLONE_CONFIG_REMOTE_TYPE": "alias", "RCLONE_CONFIG_REMOTE_REMOTE": str(remote)}
    env = environment(**rclone) | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    script = f"set -euo pipefail; cd ~\n{commands}"
    done = subprocess.run(
        ["bash", "-c", script],
        input=f"{PASSWORD}\n" * 4,
        capture_output=True,
        text=True,
        env=env,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def section(start: str) -> str:
    """The commands of the one section whose title begins so."""
    (commands,) = [commands for title, commands in sections().items() if title.startswith(start)]
    assert commands
    return commands


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_section_is_tried_here() -> None:
    tried = ("start", "WhatsApp", "Signal", "A database", "A copy of the store", "A store in a folder", "Closing")
    assert [title.startswith(begin) for title, begin in zip(sections(), tried, strict=True)] == [True] * len(tried)


def test_the_first_steps(home: Path, program: Program) -> None:
    cheap = section("start").replace("vaultfs init", f"vaultfs init {' '.join(CHEAP)}")
    run(home, program, cheap)
    assert os.path.ismount(home / "Backup")
    run(home, program, "vaultfs umount ~/Backup")


def test_whatsapp_rotates_its_dumps_for_ten_days(home: Path, vault: Vault, program: Program) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("not installed: rsync")
    phone = home / "phone/WhatsApp"
    (phone / "Databases").mkdir(parents=True)
    (phone / "Media/WhatsApp Images/Sent").mkdir(parents=True)
    (phone / "Media/.nomedia").touch()
    vault.mount()
    newest = phone / "Databases/msgstore.db.crypt15"
    for day in range(1, 11):
        if newest.exists():
            newest.rename(phone / f"Databases/msgstore-2024-05-{day:02}.1.db.crypt15")
        newest.write_bytes(os.urandom(300_000))
        # rsync takes files of one size and one second for the same.
        os.utime(newest, (day * 86400, day * 86400))
        dumps = sorted((phone / "Databases").glob("msgstore-*"))
        for old in dumps[:-7]:
            old.unlink()
        (phone / f"Media/WhatsApp Images/IMG-202405{day:02}-WA0001.jpg").write_bytes(os.urandom(90_000))
        assert run(home, program, section("WhatsApp")) == ""
        assert tree(vault.mountpoint / "WhatsApp") == tree(phone)
    assert len(list((vault.mountpoint / "WhatsApp/Databases").iterdir())) == 8
    vault.umount()


def test_signal_renames_its_snapshots(home: Path, vault: Vault, program: Program) -> None:
    if shutil.which("rsync") is None:
        pytest.skip("not installed: rsync")
    phone = home / "phone/SignalBackups"
    vault.mount()
    for day in range(1, 5):
        snapshot = phone / f"signal-backup-2024-05-{day:02}-03-00-00"
        media = phone / f"files/{day:02x}"
        media.mkdir(parents=True)
        (media / f"{day:064x}").write_bytes(os.urandom(50_000))
        snapshot.mkdir()
        for name in ("metadata", "main", "files"):
            (snapshot / name).write_bytes(os.urandom(10_000))
        run(home, program, section("Signal"))
        kept = sorted(path.name for path in (vault.mountpoint / "SignalBackups").iterdir() if path.name != "files")
        assert kept == [f"signal-backup-2024-05-{last:02}-03-00-00" for last in range(max(1, day - 1), day + 1)]
        assert tree(vault.mountpoint / "SignalBackups" / snapshot.name) == tree(snapshot)
        assert tree(vault.mountpoint / "SignalBackups/files") == tree(phone / "files")
    vault.umount()


def test_a_database_lives_in_the_vault(home: Path, vault: Vault, program: Program) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("not installed: sqlite3")
    (home / "app").mkdir()
    with sqlite3.connect(home / "app/data.db") as database:
        database.execute("CREATE TABLE message (text)")
        database.executemany("INSERT INTO message VALUES (?)", [(f"message {number}",) for number in range(5000)])
    database.close()
    vault.mount()
    assert run(home, program, section("A database")).splitlines() == ["wal", "ok"]
    vault.umount()
    vault.mount()
    copy = sqlite3.connect(vault.mountpoint / "data.db")
    assert copy.execute("SELECT count(*) FROM message").fetchone() == (5000,)
    copy.close()
    vault.umount()


def test_rclone_carries_the_store_there_and_back(home: Path, vault: Vault, program: Program) -> None:
    if shutil.which("rclone") is None:
        pytest.skip("not installed: rclone")
    (home / "cloud").mkdir()
    vault.mount()
    (vault.mountpoint / "note").write_text("mine")
    there_and_back = section("A copy of the store")
    there, back = there_and_back.split("rclone copy remote:", 1)
    run(home, program, there)
    assert not (home / "cloud/Backup.vault/lock").exists()
    (vault.mountpoint / "note").unlink()
    (vault.mountpoint / "second").write_text("too")
    run(home, program, there)
    vault.umount()
    assert "second" in run(home, program, "rclone copy remote:" + back).split()


def test_a_watched_folder(home: Path, vault: Vault, program: Program) -> None:
    vault.mount()
    (vault.mountpoint / "note").write_text("mine")
    run(home, program, section("A store in a folder"))
    # What clients leave in the store while it is open, and what they make of an object that two machines changed.
    victim = next(path for path in vault.store.glob("objects/*/*"))
    for name in (
        f".syncthing.{victim.name}.tmp",
        f"{victim.name}.sync-conflict-20240501-093612-ABCDEFG",
        f"{victim.name} (conflicted copy 2024-05-01 093612)",
        f"{victim.name} (1)",
    ):
        (victim.parent / name).write_bytes(victim.read_bytes())
    assert (vault.mountpoint / "note").read_text() == "mine"
    (vault.mountpoint / "more").write_text("too")
    assert vault.journals() == []
    vault.umount()
    vault.mount()
    assert (vault.mountpoint / "more").read_text() == "too"
    run(home, program, section("Closing"))
    assert not os.path.ismount(vault.mountpoint)
