"""Who checks permissions: a mount that is root's alone is root's alone, and tells programs what root may do."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse
from vaultfs.mount import permissions
from vaultfs.mount.mounttable import mount_at
from vaultfs.mount.options import MountOptions
from vaultfs.mount.permissions import is_for_root_alone, may_access

IDENTITY = "         0          0 4294967295\n"
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts as root, for root")

# Runs its argument in the name of nobody, but with root's other user ids, as a server of files for others does.
_IN_ANOTHERS_NAME = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
path = sys.argv[1]
opened = os.open(path + "/file", os.O_RDWR)
libc.setfsgid(65534)
libc.setfsuid(65534)
def attempt(what):
    try:
        what()
    except OSError as error:
        print(error.errno)
    else:
        print(0)
"""


@pytest.fixture
def uid_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    path = tmp_path / "uid_map"
    path.write_text(IDENTITY)
    monkeypatch.setattr(permissions, "_UID_MAP", path)
    return path


def test_root_that_mounts_for_itself_needs_no_checks(uid_map: Path) -> None:
    assert is_for_root_alone(MountOptions("store"))


def test_others_need_checks_and_who_asks_gets_them(uid_map: Path) -> None:
    assert not is_for_root_alone(MountOptions("store", allow_other=True))
    assert not is_for_root_alone(MountOptions("store", default_permissions=True))


def test_a_users_mount_needs_checks(uid_map: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not is_for_root_alone(MountOptions("store"))


@pytest.mark.parametrize("mapped", ["0 1000 1\n", "0 100000 65536\n", IDENTITY + "5 5 1\n", ""])
def test_the_root_of_a_user_namespace_needs_checks(uid_map: Path, mapped: str) -> None:
    uid_map.write_text(mapped)
    assert not is_for_root_alone(MountOptions("store"))


@pytest.mark.parametrize(
    ("mode", "wanted", "may"),
    [
        (stat.S_IFREG, os.R_OK | os.W_OK, True),
        (stat.S_IFREG | 0o666, os.X_OK, False),
        (stat.S_IFREG | 0o666, os.R_OK | os.X_OK, False),
        *((stat.S_IFREG | bit, os.X_OK, True) for bit in (0o100, 0o010, 0o001)),
        (stat.S_IFDIR, os.R_OK | os.W_OK | os.X_OK, True),
    ],
)
def test_what_root_may_do(mode: int, wanted: int, may: bool) -> None:
    assert may_access(mode, wanted) is may


def options_at(path: Path) -> set[str]:
    """The filesystem's own options of the mount at `path` (proc_pid_mountinfo(5))."""
    assert mount_at(str(path)) is not None
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4] == str(path):
            return set(line.rpartition(" ")[2].split(","))
    raise AssertionError(path)


@pytest.mark.mount
@needs_fuse
@is_root
@pytest.mark.parametrize(
    ("options", "checks"), [({}, False), ({"allow_other": True}, True), ({"default_permissions": True}, True)]
)
@pytest.mark.parametrize("noxattr", [False, True])
def test_the_kernel_checks_for_others_or_if_told_to(
    mount_vault: Callable[..., MountedVault], options: dict[str, bool], checks: bool, noxattr: bool
) -> None:
    vault = mount_vault(noxattr=noxattr, **options)
    assert ("default_permissions" in options_at(vault.path)) is checks
    vault.unmount()


@pytest.mark.mount
@needs_fuse
def test_access_tells_what_can_be_done(folder: Path) -> None:
    file = folder / "file"
    file.write_text("#!/bin/sh\necho done\n")
    file.chmod(0o600)
    assert os.access(file, os.R_OK | os.W_OK)
    assert not os.access(file, os.X_OK)
    with pytest.raises(PermissionError):
        subprocess.run([file], check=True)
    file.chmod(0o700)
    assert os.access(file, os.X_OK)
    assert subprocess.run([file], check=True, capture_output=True).stdout == b"done\n"
    assert subprocess.run(["sh", "-c", "cd . && pwd -P"], cwd=folder, check=True, capture_output=True).stdout
    assert not os.access(folder / "none", os.F_OK)


def in_anothers_name(path: Path, attempts: str) -> list[int]:
    """What becomes of each attempt, a lambda on a line, where `path` is the mount: error numbers, 0 where it works."""
    script = _IN_ANOTHERS_NAME + "".join(f"attempt({line})\n" for line in attempts.strip().splitlines())
    done = subprocess.run([sys.executable, "-c", script, path], check=True, capture_output=True, text=True)
    return [int(number) for number in done.stdout.split()]


REQUESTS = """
lambda: os.open(path + "/file", os.O_RDONLY)
lambda: os.open(path + "/file", os.O_WRONLY | os.O_TRUNC)
lambda: os.listdir(path)
lambda: os.stat(path + "/never seen")
lambda: os.open(path + "/new", os.O_CREAT | os.O_WRONLY)
lambda: os.mkdir(path + "/new")
lambda: os.mkfifo(path + "/new")
lambda: os.symlink("x", path + "/new")
lambda: os.readlink(path + "/link")
lambda: os.link(path + "/file", path + "/new")
lambda: os.rename(path + "/file", path + "/new")
lambda: os.unlink(path + "/file")
lambda: os.rmdir(path + "/folder")
lambda: os.chmod(path + "/file", 0o777)
lambda: os.chown(path + "/file", 65534, 65534)
lambda: os.truncate(path + "/file", 0)
lambda: os.utime(path + "/file", (1, 1))
lambda: os.setxattr(path + "/file", "user.a", b"")
lambda: os.getxattr(path + "/file", "user.kept")
lambda: os.listxattr(path + "/file")
lambda: os.removexattr(path + "/file", "user.kept")
lambda: os.chdir(path + "/folder")
"""


@pytest.fixture
def filled(mounted_vault: MountedVault) -> MountedVault:
    """A vault for root alone, with a little in it that root has just looked at."""
    path = mounted_vault.path
    (path / "file").write_text("content")
    (path / "file").chmod(0o666)
    os.setxattr(path / "file", "user.kept", b"value")
    (path / "link").symlink_to("file")
    (path / "folder").mkdir(0o777)
    path.chmod(0o777)
    for parent in (path, *path.parents[:5]):
        parent.chmod(parent.stat().st_mode | 0o055)
    return mounted_vault


@pytest.mark.mount
@needs_fuse
@is_root
def test_nothing_is_done_in_another_users_name(filled: MountedVault) -> None:
    """A server that runs as root and acts for others would have all of root's rights: the kernel checks nothing."""
    before = (filled.path / "file").stat()
    assert in_anothers_name(filled.path, REQUESTS) == [errno.EACCES] * len(REQUESTS.strip().splitlines())
    assert (filled.path / "file").stat() == before
    assert sorted(os.listdir(filled.path)) == ["file", "folder", "link"]
    filled.unmount()


@pytest.mark.mount
@needs_fuse
@is_root
def test_what_root_has_opened_is_written_and_kept_whoever_asks(filled: MountedVault) -> None:
    attempts = 'lambda: os.pwrite(opened, b"changed", 0)\nlambda: os.fsync(opened)\nlambda: os.pread(opened, 7, 0)'
    assert in_anothers_name(filled.path, attempts) == [0, 0, 0]
    again = filled.remount()
    try:
        assert (again.path / "file").read_text() == "changed"
        again.unmount()
    finally:
        again.close()
