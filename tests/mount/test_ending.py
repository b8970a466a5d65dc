"""Every way a mount can end: from outside, at a signal, in use, idle, killed."""

import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, eventually, needs_fuse
from vaultfs.errors import MountpointUnusable
from vaultfs.mount.mountpoint import prepare_mountpoint
from vaultfs.mount.mounttable import mount_at, mounts
from vaultfs.mount.unmounting import is_stale, unmount

pytestmark = [pytest.mark.mount, needs_fuse]


@contextmanager
def user_of(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has written a line to a file in `folder`, and keeps that open."""
    script = "import sys; held = open('held', 'wb', 0); held.write(b'line'); print(flush=True); sys.stdin.readline()"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def content_of(vault: MountedVault, name: str) -> str:
    """What a file holds once the vault has been mounted again."""
    again = MountedVault(vault.folder)
    try:
        content = (again.path / name).read_text()
        again.unmount()
    finally:
        again.close()
    return content


@pytest.mark.parametrize("command", [["umount"], ["fusermount3", "-u"]])
def test_an_outside_unmount_ends_it_with_everything_written(mounted_vault: MountedVault, command: list[str]) -> None:
    (mounted_vault.path / "file").write_text("content")
    subprocess.run([*command, mounted_vault.path], check=True)
    assert mounted_vault.wait() == 0
    assert content_of(mounted_vault, "file") == "content"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_unmounts(mounted_vault: MountedVault, number: signal.Signals) -> None:
    (mounted_vault.path / "file").write_text("content")
    mounted_vault.process.send_signal(number)
    assert mounted_vault.wait() == 0
    assert mount_at(str(mounted_vault.path)) is None
    assert content_of(mounted_vault, "file") == "content"


def test_a_signal_while_in_use_says_by_whom_and_ends_all_the_same(mounted_vault: MountedVault) -> None:
    with user_of(mounted_vault.path) as user:
        mounted_vault.process.send_signal(signal.SIGTERM)
        assert mounted_vault.wait() == 0
        assert f"process {user.pid}" in mounted_vault.log
    assert mount_at(str(mounted_vault.path)) is None
    assert content_of(mounted_vault, "held") == "line"


def test_a_second_signal_takes_users_the_time_they_have(mounted_vault: MountedVault) -> None:
    with user_of(mounted_vault.path):
        mounted_vault.process.send_signal(signal.SIGINT)
        assert eventually(lambda: "in use" in mounted_vault.log)
        begin = time.monotonic()
        mounted_vault.process.send_signal(signal.SIGINT)
        assert mounted_vault.wait() == 0
        assert time.monotonic() - begin < 3.0
    assert content_of(mounted_vault, "held") == "line"


def test_programs_that_get_the_same_signal_can_save_before_it_ends(mounted_vault: MountedVault) -> None:
    """As at the end of a login: what they save by its path then must not go to the folder below."""
    script = (
        "import os, signal, sys, time\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
        "held = open('held', 'wb', 0); held.write(b'old'); print(flush=True)\n"
        "signal.sigwait([signal.SIGTERM]); time.sleep(0.7)\n"
        "held.write(b' and the last message'); os.fsync(held)\n"
        "open(sys.argv[1] + '/settings', 'w').write('saved')\n"
    )
    path = mounted_vault.path
    with subprocess.Popen([sys.executable, "-c", script, path], cwd=path, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        program.send_signal(signal.SIGTERM)
        mounted_vault.process.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
    assert mounted_vault.wait() == 0
    assert os.listdir(path) == [], "saved in plaintext, where the vault was"
    assert content_of(mounted_vault, "held") == "old and the last message"
    assert content_of(mounted_vault, "settings") == "saved"


@pytest.mark.parametrize("how", ["idle", "signal"])
def test_what_is_mounted_at_its_place_by_then_is_left_alone(mount_vault: Callable[..., MountedVault], how: str) -> None:
    first = mount_vault("first", idle_seconds=1.0 if how == "idle" else None)
    (first.path / "file").write_text("content")
    with subprocess.Popen(["sleep", "60"], cwd=first.path) as user:
        subprocess.run(["umount", "--lazy", first.path], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "other", first.path], check=True)
        try:
            (first.path / "diary").write_text("of another filesystem")
            if how == "signal":
                first.process.send_signal(signal.SIGTERM)
                assert first.wait() == 0
            else:
                time.sleep(3.0)
            assert (first.path / "diary").read_text() == "of another filesystem"
        finally:
            subprocess.run(["umount", first.path], check=True)
        user.kill()
    assert first.wait() == 0
    assert content_of(first, "file") == "content"


def test_unmount_waits_for_the_process(mounted_vault: MountedVault) -> None:
    (mounted_vault.path / "file").write_bytes(os.urandom(1 << 20))
    unmount(str(mounted_vault.path))
    # It has ended, so it does not take a moment to say so; only its parent has yet to ask.
    assert mounted_vault.process.wait(0.5) == 0


def test_unmount_of_a_mount_in_use_says_by_whom(mounted_vault: MountedVault) -> None:
    with user_of(mounted_vault.path) as user, pytest.raises(MountpointUnusable, match=f"process {user.pid}"):
        unmount(str(mounted_vault.path))
    assert mount_at(str(mounted_vault.path)) is not None
    mounted_vault.unmount()


def test_unmount_refuses_what_is_no_vault(tmp_path: Path) -> None:
    with pytest.raises(MountpointUnusable, match="no vault is mounted"):
        unmount(str(tmp_path))


def test_an_idle_mount_ends_by_itself(mount_vault: Callable[..., MountedVault]) -> None:
    vault = mount_vault(idle_seconds=1.0)
    begin = time.monotonic()
    while time.monotonic() - begin < 2.0:
        os.statvfs(vault.path)
        time.sleep(0.1)
    assert vault.process.poll() is None
    with open(vault.path / "file", "w"):
        time.sleep(2.0)
        assert vault.process.poll() is None
    assert vault.wait() == 0
    assert "was not used" in vault.log


def test_an_idle_mount_that_somebody_stands_in_or_has_mapped_stays(mount_vault: Callable[..., MountedVault]) -> None:
    vault = mount_vault(idle_seconds=0.5)
    (vault.path / "mapped").write_bytes(b"x" * 8192)
    with open(vault.path / "mapped", "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    # Nothing is open any more: the kernel says that it is in use, and by whom it is in the log.
    time.sleep(2.0)
    assert vault.process.poll() is None
    assert mapped[8191] == ord("x")
    mapped.close()
    with subprocess.Popen(["sleep", "60"], cwd=vault.path) as user:
        time.sleep(2.0)
        assert vault.process.poll() is None
        user.kill()
    assert vault.wait() == 0
    assert f"process {user.pid}" in vault.log


def test_a_dead_mount_is_recognised_and_cleared_by_the_next(mounted_vault: MountedVault) -> None:
    (mounted_vault.path / "file").write_text("content")
    subprocess.run(["sync", mounted_vault.path / "file"], check=True)
    mounted_vault.process.kill()
    mounted_vault.process.wait()
    path = str(mounted_vault.path)
    assert eventually(lambda: is_stale(path))
    assert path in {mount.path for mount in mounts()}
    assert prepare_mountpoint(path, str(mounted_vault.store)) == path
    assert mount_at(path) is None
    assert content_of(mounted_vault, "file") == "content"


def test_a_daemon_killed_while_nothing_is_asked_of_it_has_written_every_change(
    mounted_vault: MountedVault, mount_vault: Callable[..., MountedVault]
) -> None:
    folder = mounted_vault.path / "folder"
    folder.mkdir()
    for number in range(150):
        (folder / f"{number}").symlink_to("target")
    time.sleep(0.05)  # changes wait for one another only while requests come
    mounted_vault.kill()
    again = mount_vault()
    assert len(list((again.path / "folder").iterdir())) == 150


def test_a_mounted_place_is_refused(mounted_vault: MountedVault) -> None:
    with pytest.raises(MountpointUnusable, match="is a mountpoint already"):
        prepare_mountpoint(str(mounted_vault.path), str(mounted_vault.store))


def test_the_mount_table_tells_vaults_and_their_stores(mount_vault: Callable[..., MountedVault]) -> None:
    vault = mount_vault("blank, comma, back\\slash, käse", read_only=False)
    found = mount_at(str(vault.path))
    assert found is not None
    assert found.is_vault
    assert found.store == str(vault.store)
    assert found.filesystem == "fuse.vaultfs"
    assert not found.read_only
    assert found in mounts()
    vault.unmount()


def test_a_read_only_mount_changes_nothing(mounted_vault: MountedVault) -> None:
    (mounted_vault.path / "file").write_text("content")
    again = mounted_vault.remount(read_only=True)
    try:
        assert (again.path / "file").read_text() == "content"
        with pytest.raises(OSError, match="Read-only file system"):
            (again.path / "new").touch()
        found = mount_at(str(again.path))
        assert found is not None
        assert found.read_only
        again.unmount()
    finally:
        again.close()


def test_generic_options_are_passed_on(mount_vault: Callable[..., MountedVault]) -> None:
    flags = ["nosuid", "nodev", "noexec", "sync", "dirsync", "noatime"]  # all that cli.mountoptions lets through
    vault = mount_vault(extra=[*flags, "fsname=mine"])
    found = mount_at(str(vault.path))
    assert found is not None
    assert found.source == "mine"
    program = vault.path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(PermissionError):
        subprocess.run([program], check=False)
    vault.unmount()
