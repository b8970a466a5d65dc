"""A store in a synced folder: what `sync-ready` promises of it, and a journal that is kept out of it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD, Result
from tests.support.mounting import eventually, needs_fuse
from tests.system.conftest import Vault
from vaultfs.store.lock import holder

pytestmark = [pytest.mark.mount, needs_fuse]


def crash(vault: Vault) -> None:
    """End the process that serves the vault as a power cut would."""
    who = holder(vault.store)
    assert who is not None
    assert who.pid is not None
    os.kill(who.pid, signal.SIGKILL)
    assert eventually(lambda: holder(vault.store) is None)
    subprocess.run(["umount", "--lazy", vault.mountpoint], check=True)


def write_synced(path: Path, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def test_a_store_that_is_ready_can_be_copied_under_a_running_mount(
    vault: Vault, vaultfs: Callable[..., Result], tmp_path: Path
) -> None:
    vault.mount()
    (vault.mountpoint / "note").write_text("mine")
    done = vaultfs("sync-ready", vault.store)
    assert done.code == 0, done
    assert f"safe to sync or copy the store now, until something is changed in {vault.mountpoint}" in done.out
    assert vault.journals() == []
    shutil.copytree(vault.store, tmp_path / "copy")
    vault.umount()

    copy, mountpoint = tmp_path / "copy", tmp_path / "there"
    mountpoint.mkdir()
    # Another machine, which has never seen the vault; its sync client left the note of who has it open.
    elsewhere = {"XDG_STATE_HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = vaultfs("mount", "--read-only", copy, mountpoint, stdin=PASSWORD, **elsewhere)
    assert done.code == 0, done
    assert (mountpoint / "note").read_text() == "mine"
    assert vaultfs("umount", mountpoint, **elsewhere).code == 0


def test_a_closed_store_is_ready(vault: Vault, vaultfs: Callable[..., Result]) -> None:
    done = vaultfs("sync-ready", vault.store)
    assert done.code == 0, done
    assert "safe to sync or copy the store now." in done.out


def test_a_store_that_was_not_closed_cleanly_is_not_ready(vault: Vault, vaultfs: Callable[..., Result]) -> None:
    vault.mount()
    write_synced(vault.mountpoint / "note", "mine")
    crash(vault)
    done = vaultfs("sync-ready", vault.store)
    assert done.code == 11, done
    assert "not closed cleanly" in done.err
    assert "mount it once and close it" in done.err
    vault.mount()
    vault.umount()
    assert vaultfs("sync-ready", vault.store).code == 0


def test_what_is_no_vault_is_refused(tmp_path: Path, vaultfs: Callable[..., Result]) -> None:
    assert vaultfs("sync-ready", tmp_path).code == 6


def test_a_journal_elsewhere_stays_out_of_the_store(vault: Vault, tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    journals.mkdir()
    vault.mount("--journal-dir", journals)
    write_synced(vault.mountpoint / "note", "mine")
    assert vault.journals() == []
    assert len(list(journals.rglob("*"))) > 2
    vault.umount()
    assert [path for path in journals.rglob("*") if path.is_file()] == []


def test_after_a_crash_the_journal_elsewhere_is_needed(
    vault: Vault, vaultfs: Callable[..., Result], tmp_path: Path
) -> None:
    journals = tmp_path / "journals"
    journals.mkdir()
    vault.mount("-o", f"journal_dir={journals}")
    write_synced(vault.mountpoint / "note", "mine")
    crash(vault)

    for options in ((), ("--journal-dir", tmp_path / "home")):
        done = vaultfs("mount", vault.store, vault.mountpoint, *options, stdin=PASSWORD)
        assert done.code == 42, done
        assert "--journal-dir" in done.err
    assert vaultfs("mount", vault.store, vault.mountpoint, "--journal-dir", tmp_path / "no", stdin=PASSWORD).code == 6

    vault.mount("--journal-dir", journals)
    assert (vault.mountpoint / "note").read_text() == "mine"
    vault.umount()
    vault.mount()
    assert (vault.mountpoint / "note").read_text() == "mine"
    vault.umount()


def test_a_journal_in_the_store_is_taken_up_and_goes_on_elsewhere(vault: Vault, tmp_path: Path) -> None:
    vault.mount()
    write_synced(vault.mountpoint / "note", "mine")
    crash(vault)
    assert vault.journals() != []
    vault.mount("--journal-dir", tmp_path)
    assert (vault.mountpoint / "note").read_text() == "mine"
    write_synced(vault.mountpoint / "more", "too")
    assert vault.journals() == []
    vault.umount()
