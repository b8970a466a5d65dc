"""Extended attributes and ACLs through the kernel."""

import errno
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

needs_acl = pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl is not installed")


def acl(path: Path) -> list[str]:
    """What getfacl shows, without comments."""
    shown = subprocess.run(["getfacl", "-cp", path], check=True, capture_output=True, text=True).stdout
    return shown.split()


def errno_of(act: Callable[[], object]) -> int | None:
    with pytest.raises(OSError) as failure:
        act()
    return failure.value.errno


@pytest.mark.parametrize("value", [b"", b"value", os.urandom(4000), bytes(60000)], ids=len)
def test_values_come_back(folder: Path, value: bytes) -> None:
    os.setxattr(folder, "user.name", value)
    assert os.getxattr(folder, "user.name") == value


def test_attributes_are_listed_and_removed(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    assert os.listxattr(file) == []
    for name in ("user.a", "user.b", "trusted.c"):
        os.setxattr(file, name, name.encode())
    assert set(os.listxattr(file)) == {"user.a", "user.b", "trusted.c"}
    os.removexattr(file, "user.a")
    assert set(os.listxattr(file)) == {"user.b", "trusted.c"}
    assert errno_of(lambda: os.removexattr(file, "user.a")) == errno.ENODATA
    assert errno_of(lambda: os.getxattr(file, "user.a")) == errno.ENODATA


def test_creating_and_replacing_are_told_apart(folder: Path) -> None:
    assert errno_of(lambda: os.setxattr(folder, "user.a", b"", os.XATTR_REPLACE)) == errno.ENODATA
    os.setxattr(folder, "user.a", b"1", os.XATTR_CREATE)
    assert errno_of(lambda: os.setxattr(folder, "user.a", b"2", os.XATTR_CREATE)) == errno.EEXIST
    os.setxattr(folder, "user.a", b"3", os.XATTR_REPLACE)
    assert os.getxattr(folder, "user.a") == b"3"


def test_attributes_are_there_after_a_remount(mounted_vault: MountedVault) -> None:
    file = mounted_vault.path / "file"
    file.touch()
    os.setxattr(file, "user.name", b"value")
    again = mounted_vault.remount()
    try:
        assert os.getxattr(file, "user.name") == b"value"
        again.unmount()
    finally:
        again.close()


@needs_acl
def test_an_acl_shows_in_the_mode_and_can_be_taken_back(folder: Path) -> None:
    file = folder / "file"
    file.touch(0o640)
    file.chmod(0o640)
    subprocess.run(["setfacl", "-m", "u:nobody:rw", file], check=True)
    assert acl(file) == ["user::rw-", "user:nobody:rw-", "group::r--", "mask::rw-", "other::---"]
    assert file.stat().st_mode & 0o777 == 0o660
    file.chmod(0o600)
    assert "mask::---" in acl(file)
    subprocess.run(["setfacl", "-b", file], check=True)
    assert acl(file) == ["user::rw-", "group::---", "other::---"]
    assert file.stat().st_mode & 0o777 == 0o600


@needs_acl
def test_a_default_acl_is_inherited(folder: Path) -> None:
    subprocess.run(["setfacl", "-d", "-m", "u:nobody:rwx", folder], check=True)
    (folder / "file").touch()
    (folder / "below").mkdir()
    assert "user:nobody:rwx" in " ".join(acl(folder / "file"))
    assert "default:user:nobody:rwx" in acl(folder / "below")


@needs_acl
@pytest.mark.parametrize(
    ("default", "mode"), [("u::rw,g::rw,o::r", 0o664), ("u::rw,g::r,o::-,u:nobody:rw,m:rw", 0o660)]
)
def test_a_default_acl_takes_the_place_of_the_umask(folder: Path, default: str, mode: int) -> None:
    """acl(5). Folders and pipes are made by other requests than files are."""
    subprocess.run(["setfacl", "-d", "-m", default, folder], check=True)
    old = os.umask(0o077)
    try:
        (folder / "file").touch(0o666)
        (folder / "below").mkdir(0o777)
        os.mkfifo(folder / "pipe", 0o666)
    finally:
        os.umask(old)
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("file", "below", "pipe")] == [mode] * 3


@needs_acl
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")
def test_an_acl_lets_a_user_in(mount_vault: Callable[..., MountedVault]) -> None:
    vault = mount_vault(allow_other=True)
    for parent in (vault.path, *vault.path.parents[:5]):
        parent.chmod(parent.stat().st_mode | 0o055)
    file = vault.path / "file"
    file.write_text("content")
    file.chmod(0o600)

    def read_as_nobody() -> str:
        done = subprocess.run(["cat", file], check=False, capture_output=True, text=True, user=65534, group=65534)
        return done.stdout

    assert read_as_nobody() == ""
    subprocess.run(["setfacl", "-m", "u:65534:r", file], check=True)
    assert read_as_nobody() == "content"


def test_noxattr_says_there_are_none(mount_vault: Callable[..., MountedVault]) -> None:
    vault = mount_vault(noxattr=True)
    (vault.path / "file").write_text("content")
    assert errno_of(lambda: os.setxattr(vault.path / "file", "user.a", b"")) == errno.EOPNOTSUPP
    assert errno_of(lambda: os.getxattr(vault.path / "file", "user.a")) == errno.EOPNOTSUPP
    vault.unmount()


def test_a_missing_label_is_said_to_be_unsupported_and_a_set_one_is_kept(folder: Path) -> None:
    """ls -l asks for the label of each file until it hears EOPNOTSUPP, which it remembers."""
    file = folder / "file"
    file.touch()
    assert errno_of(lambda: os.getxattr(file, "security.selinux")) == errno.EOPNOTSUPP
    assert errno_of(lambda: os.getxattr(file, "security.capability")) == errno.ENODATA
    if os.geteuid() == 0:
        os.setxattr(file, "security.selinux", b"label")
        assert os.getxattr(file, "security.selinux") == b"label"


def test_acls_of_files_that_were_only_listed(mounted_vault: MountedVault) -> None:
    """`ls -l` asks for them of every file, before anything else has been asked about it."""
    top = mounted_vault.path
    entries = [(1, 6, -1), (2, 7, 1000), (4, 4, -1), (16, 7, -1), (32, 4, -1)]
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    for name in ("plain", "listed", "linked"):
        (top / name).touch()
    os.link(top / "linked", top / "second name")
    for name in ("listed", "linked"):
        os.setxattr(top / name, "system.posix_acl_access", acl)
    again = mounted_vault.remount()
    try:
        assert len(list(os.scandir(top))) >= 4
        for name in ("listed", "linked", "second name"):
            assert os.getxattr(top / name, "system.posix_acl_access") == acl
        for name in ("system.posix_acl_access", "system.posix_acl_default", "user.none"):
            with pytest.raises(OSError) as failure:
                os.getxattr(top / "plain", name)
            assert failure.value.errno == errno.ENODATA
        again.unmount()
    finally:
        again.close()
