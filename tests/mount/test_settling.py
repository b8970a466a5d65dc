"""Settling a mounted vault: what is in the store afterwards needs no journal, and the mount goes on."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse
from tests.support.serving import KEYS
from vaultfs.mount.asking import settle
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.vault import OpenOptions, Vault
from vaultfs.vault.waits import resolve

pytestmark = [pytest.mark.mount, needs_fuse]


def journals(store: Path) -> list[str]:
    return sorted(name for name in os.listdir(store / "journal") if name != "ballast")


@contextmanager
def suppress_busy() -> Iterator[None]:
    """That programs keep writing is a fair answer; anything else is not."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


def read_copy(store: Path, copy: Path, name: bytes) -> bytes:
    """What a file holds in a copy of the store that is opened read-only: as a sync client's other end would."""
    shutil.copytree(store, copy)
    with DirectoryStore(copy, write=False) as opened:
        vault = Vault.open(opened, KEYS, OpenOptions(read_only=True))
        try:
            inode = resolve(lambda: vault.lookup(1, name))
            vault.open_inode(inode.id)
            return bytes(resolve(lambda: vault.read_plan(inode.id, 0, inode.size)).run())
        finally:
            vault.close()


@pytest.mark.parametrize("noxattr", [False, True])
def test_the_store_needs_no_journal_and_the_mount_goes_on(
    mount_vault: Callable[..., MountedVault], tmp_path: Path, *, noxattr: bool
) -> None:
    vault = mount_vault(noxattr=noxattr)
    for round_ in range(3):
        content = f"content {round_}".encode() * 10_000
        with open(vault.path / "file", "wb") as file:
            file.write(content)
            file.flush()
            settle(str(vault.path))
        assert journals(vault.store) == []
        assert read_copy(vault.store, tmp_path / f"copy {round_}", b"file") == content
    vault.unmount()
    assert "WARNING" not in vault.log


def test_settling_twice_writes_nothing_more(mounted_vault: MountedVault) -> None:
    (mounted_vault.path / "file").write_text("content")
    settle(str(mounted_vault.path))
    before = (mounted_vault.store / "root.0").read_bytes()
    settle(str(mounted_vault.path))
    assert (mounted_vault.store / "root.0").read_bytes() == before
    mounted_vault.unmount()


def test_what_follows_is_journaled_again_and_survives_a_crash(mounted_vault: MountedVault) -> None:
    (mounted_vault.path / "first").write_text("1")
    settle(str(mounted_vault.path))
    with open(mounted_vault.path / "second", "w") as file:
        file.write("2")
        file.flush()
        os.fsync(file.fileno())
        assert journals(mounted_vault.store)
        mounted_vault.process.send_signal(signal.SIGKILL)
        mounted_vault.process.wait()
    subprocess.run(["umount", "--lazy", mounted_vault.path], check=True)
    again = MountedVault(mounted_vault.folder)
    try:
        assert (again.path / "first").read_text() + (again.path / "second").read_text() == "12"
        again.unmount()
    finally:
        again.close()


def test_it_comes_to_an_end_while_programs_write_and_sync(mounted_vault: MountedVault) -> None:
    script = (
        "import os, sys, itertools\n"
        "for n in itertools.count():\n"
        "    with open(sys.argv[1], 'wb') as file:\n"
        "        file.write(b'x' * 5000 * (n % 40)); file.flush(); os.fsync(file.fileno())\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script, mounted_vault.path / f"busy {number}"]) for number in range(3)
    ]
    try:
        for _ in range(5):
            with suppress_busy():
                settle(str(mounted_vault.path))
        assert all(writer.poll() is None for writer in writers)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    settle(str(mounted_vault.path))
    assert journals(mounted_vault.store) == []
    mounted_vault.unmount()
    assert "WARNING" not in mounted_vault.log


def test_the_attribute_is_no_attribute(mounted_vault: MountedVault) -> None:
    settle(str(mounted_vault.path))
    assert os.listxattr(mounted_vault.path) == []
    mounted_vault.unmount()


def test_files_that_are_gone_do_not_fail_a_sync_of_the_filesystem(mounted_vault: MountedVault) -> None:
    for number in range(40):
        path = mounted_vault.path / "file"
        path.write_bytes(b"x" * 5000)
        new = mounted_vault.path / "new"
        new.write_bytes(b"y" * 5000)
        if number % 2:
            new.rename(path)
        else:
            path.unlink()
        settle(str(mounted_vault.path))
    mounted_vault.unmount()
    assert "WARNING" not in mounted_vault.log


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_was_deleted_in_use_can_end_its_use_after_that(mounted_vault: MountedVault, kind: str) -> None:
    """The end of a deleted file that is closed, or of a folder that was somebody's, is a change like any other."""
    place = mounted_vault.path / "deleted"
    if kind == "file":
        file = place.open("wb")
        file.write(b"x" * 300_000)
        place.unlink()
    else:
        place.mkdir()
        user = subprocess.Popen(["sleep", "600"], cwd=place)
        place.rmdir()
    with open(mounted_vault.path / "messages", "wb") as messages:
        messages.write(b"A" * 8192)
        messages.flush()
        settle(str(mounted_vault.path))
        messages.write(b"B" * 8192)
        if kind == "file":
            file.close()
        else:
            user.kill()
            user.wait()
            Path("/proc/sys/vm/drop_caches").write_text("2")
        messages.flush()
        os.fsync(messages.fileno())
    assert mounted_vault.process.poll() is None
    settle(str(mounted_vault.path))
    assert journals(mounted_vault.store) == []
    mounted_vault.unmount()
    assert "WARNING" not in mounted_vault.log and "ERROR" not in mounted_vault.log
    again = MountedVault(mounted_vault.folder)
    try:
        assert (again.path / "messages").read_bytes() == b"A" * 8192 + b"B" * 8192
        assert os.listdir(again.path) == ["messages"]
        again.unmount()
    finally:
        again.close()
