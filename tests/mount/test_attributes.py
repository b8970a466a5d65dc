"""Attributes through the kernel, which keeps times and sizes itself under its writeback cache."""

import contextlib
import mmap
import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.posix.machine import COARSE_CLOCK
from tests.support.mounting import MountedVault, needs_fuse
from tests.support.namespaces import needs_user_namespace

pytestmark = [pytest.mark.mount, needs_fuse]

NOBODY = 65534
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners, which needs root")


def as_nobody(command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command as the user nobody."""
    return subprocess.run(
        ["sh", "-c", command], check=False, capture_output=True, text=True, user=NOBODY, group=NOBODY, extra_groups=[]
    )


@pytest.fixture
def open_vault(mount_vault: Callable[..., MountedVault]) -> MountedVault:
    """A vault other users may enter, in a folder they can reach."""
    vault = mount_vault(allow_other=True)
    for parent in (vault.path, *vault.path.parents[:5]):
        parent.chmod(parent.stat().st_mode | 0o055)
    return vault


@pytest.mark.parametrize("times", [(0, 0), (123456789_123456789, -5_000_000_001), (1, 4_000_000_000_999_999_999)])
def test_times_are_kept_to_the_nanosecond(folder: Path, times: tuple[int, int]) -> None:
    file = folder / "file"
    file.touch()
    os.utime(file, ns=times)
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == times


def test_touching_sets_the_time_of_now(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    os.utime(file, ns=(1, 1))
    before = time.time_ns()
    os.utime(file)
    assert before - 20_000_000 <= file.stat().st_mtime_ns <= time.time_ns()


def test_the_time_a_program_saw_after_its_write_stays(folder: Path) -> None:
    file = folder / "file"
    with file.open("wb", buffering=0) as stream:
        stream.write(b"content")
        seen = os.fstat(stream.fileno())
    time.sleep(0.05)
    after = file.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (seen.st_mtime_ns, seen.st_ctime_ns)


def test_a_time_set_on_an_open_file_outlives_its_dirty_pages(folder: Path) -> None:
    file = folder / "file"
    with file.open("wb", buffering=0) as stream:
        stream.write(b"content")
        os.utime(stream.fileno(), ns=(5, 7))
    assert file.stat().st_mtime_ns == 7


def test_times_and_sizes_are_the_same_after_a_remount(mounted_vault: MountedVault) -> None:
    file = mounted_vault.path / "file"
    file.write_bytes(b"x" * 100000)
    file.chmod(0o640)
    before = file.stat()
    again = mounted_vault.remount()
    try:
        after = file.stat()
        for name in ("st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns"):
            assert getattr(after, name) == getattr(before, name), name
        again.unmount()
    finally:
        again.close()


def test_times_are_those_programs_saw_whichever_tick_made_and_wrote_a_file(mounted_vault: MountedVault) -> None:
    """The kernel's clock for times goes by ticks, and it tells of a write's time only if that is not the file's yet."""
    rng = random.Random(3)
    seen: dict[str, tuple[int, int, int]] = {}
    for number in range(600):
        file = mounted_vault.path / f"file {number}"
        with file.open("xb", buffering=0) as stream:
            for _ in range(rng.randrange(4)):
                time.sleep(rng.choice((0, 0, 0.001, 0.003, 0.005)))
                stream.write(b"content")
            time.sleep(rng.choice((0, 0.005)))
        for mode in rng.choice(([], [], ["wb"], ["r+b"], ["wb", "r+b"])):
            with file.open(mode, buffering=0) as stream:
                if mode == "r+b":
                    stream.write(b"CONTENT")
        found = file.stat()
        seen[file.name] = found.st_mtime_ns, found.st_ctime_ns, found.st_size
    again = mounted_vault.remount()
    try:
        for name, times in seen.items():
            found = (again.path / name).stat()
            assert (found.st_mtime_ns, found.st_ctime_ns, found.st_size) == times, name
        again.unmount()
    finally:
        again.close()


def _written(file: Path, then: Callable[[], object]) -> None:
    """Data that is on its way to the filesystem while something else happens, and for a while after."""
    with file.open("wb", buffering=0) as stream:
        stream.write(b"content")
        time.sleep(0.02)
        then()
        time.sleep(0.1)


@pytest.mark.parametrize("change", ["rename", "link", "xattr", "chmod", "same size"])
def test_times_programs_saw_are_kept_when_something_else_changed_before_the_data_came(
    mounted_vault: MountedVault, change: str
) -> None:
    file, other = mounted_vault.path / "file", mounted_vault.path / "other"
    match change:
        case "rename":
            _written(other, lambda: other.rename(file))
        case "link":
            _written(file, lambda: os.link(file, other))
        case "xattr":
            _written(file, lambda: os.setxattr(file, "user.a", b"b"))
        case "chmod":
            _written(file, lambda: file.chmod(0o600))
        case _:
            file.write_bytes(b"content")
            time.sleep(0.1)
            os.truncate(file, len(b"content"))
    seen = file.stat()
    again = mounted_vault.remount()
    try:
        found = (again.path / "file").stat()
        assert (found.st_mtime_ns, found.st_ctime_ns) == (seen.st_mtime_ns, seen.st_ctime_ns)
        assert (again.path / "file").read_bytes() == b"content"
        again.unmount()
    finally:
        again.close()


def test_what_was_written_past_the_cache_is_not_as_old_as_its_file_after_a_kill(mounted_vault: MountedVault) -> None:
    file = mounted_vault.path / "file"
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_DIRECT)
    try:
        made = os.fstat(descriptor).st_mtime_ns
        time.sleep(0.2)
        os.write(descriptor, mmap.mmap(-1, 4096))
        time.sleep(0.1)  # the kernel has not told of the time yet
        mounted_vault.kill()
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    again = MountedVault(mounted_vault.folder)
    try:
        found = file.stat()
        assert found.st_size == 4096
        assert found.st_mtime_ns - made > 100_000_000
        again.unmount()
    finally:
        again.close()


def test_a_file_has_the_time_of_the_tick_it_was_made_in(folder: Path) -> None:
    """Written within that tick it keeps that time, and the kernel has no time to tell of when it is closed."""
    for number in range(100):
        before = time.clock_gettime_ns(COARSE_CLOCK)
        file = folder / str(number)
        file.open("xb").close()
        found = file.stat()
        if time.clock_gettime_ns(COARSE_CLOCK) == before:
            assert (found.st_mtime_ns, found.st_ctime_ns) == (before, before)
            return
    pytest.fail("no file was made within a tick")


def test_changes_in_a_directory_change_its_times(folder: Path) -> None:
    before = folder.stat()
    time.sleep(0.02)
    (folder / "file").touch()
    after = folder.stat()
    assert after.st_mtime_ns > before.st_mtime_ns
    assert after.st_ctime_ns > before.st_ctime_ns


def test_modes_are_masked_by_the_umask(folder: Path) -> None:
    old = os.umask(0o027)
    try:
        (folder / "file").touch(0o666)
        (folder / "below").mkdir(0o777)
    finally:
        os.umask(old)
    assert stat.S_IMODE((folder / "file").stat().st_mode) == 0o640
    assert stat.S_IMODE((folder / "below").stat().st_mode) == 0o750


@is_root
def test_owners_and_special_bits(folder: Path) -> None:
    file = folder / "file"
    file.touch()
    os.chown(file, 1000, 1001)
    file.chmod(0o6755)
    assert (file.stat().st_uid, file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (1000, 1001, 0o6755)


@is_root
def test_a_directory_with_setgid_gives_its_group_on(folder: Path) -> None:
    os.chown(folder, 0, 1234)
    folder.chmod(0o2775)
    (folder / "file").touch()
    (folder / "below").mkdir()
    assert (folder / "file").stat().st_gid == (folder / "below").stat().st_gid == 1234
    assert (folder / "below").stat().st_mode & stat.S_ISGID


@is_root
def test_permissions_hold_for_other_users(open_vault: MountedVault) -> None:
    secret, free = open_vault.path / "secret", open_vault.path / "free"
    secret.write_text("secret")
    secret.chmod(0o600)
    free.write_text("free")
    free.chmod(0o644)
    assert as_nobody(f"cat {free}").stdout == "free"
    assert "Permission denied" in as_nobody(f"cat {secret}").stderr
    assert "Permission denied" in as_nobody(f"echo x > {open_vault.path}/new").stderr


@is_root
def test_a_write_by_another_user_clears_setuid(open_vault: MountedVault) -> None:
    file = open_vault.path / "program"
    file.write_text("old")
    file.chmod(0o6777)
    assert as_nobody(f"echo new > {file}").returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o777


@is_root
@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl is not installed")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_acl_from_outside_the_group_clears_setgid(open_vault: MountedVault, kind: str) -> None:
    """As chmod(2) does; the kernel leaves it to FUSE filesystems, unless libfuse asks for more than it does."""
    path = open_vault.path / kind
    if kind == "file":
        path.touch()
    else:
        path.mkdir()
    for group, kept in ((NOBODY, stat.S_ISGID), (0, 0)):
        os.chown(path, NOBODY, group)
        path.chmod(0o2755)
        assert as_nobody(f"setfacl -m u::rwx,g::rwx,o::rwx {path}").returncode == 0
        assert stat.S_IMODE(path.stat().st_mode) == 0o777 | kept
        path.chmod(0o2755)
        subprocess.run(["setfacl", "-m", "u::rwx,g::rwx,o::rwx", path], check=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o2777


@is_root
def test_a_change_of_owner_clears_setuid(folder: Path) -> None:
    file = folder / "program"
    file.touch()
    file.chmod(0o6755)
    os.chown(file, NOBODY, NOBODY)
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


def test_the_room_is_that_of_the_store(shared_vault: MountedVault) -> None:
    store, mounted = os.statvfs(shared_vault.store), os.statvfs(shared_vault.path)
    assert mounted.f_namemax == 255
    assert mounted.f_blocks * mounted.f_frsize == pytest.approx(store.f_blocks * store.f_frsize, rel=0.01)
    assert mounted.f_bavail * mounted.f_frsize == pytest.approx(store.f_bavail * store.f_frsize, rel=0.1)


@is_root
@pytest.mark.parametrize(
    "weaken",
    [
        ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all"),
        pytest.param(("unshare", "--user", "--map-root-user"), marks=needs_user_namespace),
    ],
)
def test_root_without_its_capabilities_goes_by_the_modes(mounted_vault: MountedVault, weaken: tuple[str, ...]) -> None:
    """What root has mounted for itself alone is used by services and containers that run as a weaker root."""
    theirs = mounted_vault.path / "theirs"
    theirs.mkdir(0o700)
    (theirs / "file").write_text("content")
    os.chown(theirs / "file", 9, 9)
    os.chown(theirs, 9, 9)
    subprocess.run([*weaken, "ls", "."], cwd=mounted_vault.path, check=True)
    for command in ("cat theirs/file", "ls theirs", "echo more >> theirs/file", "rm theirs/file", "chown 0:0 theirs"):
        done = subprocess.run(
            [*weaken, "sh", "-c", command], cwd=mounted_vault.path, check=False, capture_output=True, text=True
        )
        assert done.returncode != 0, command
        assert "ermission denied" in done.stderr or "not permitted" in done.stderr, done.stderr
    assert (theirs / "file").read_text() == "content"


@is_root
def test_what_is_mounted_inside_stays_whoever_makes_names_there(mounted_vault: MountedVault) -> None:
    """The kernel asks again for a name that shall be new; an error would detach all that is mounted at it and below."""
    inside = mounted_vault.path / "inside"
    inside.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", inside], check=True)
    try:
        in_anothers_name = "import ctypes, os; ctypes.CDLL(None).setfsuid(65534); os.mkdir('inside')"
        done = subprocess.run(
            [sys.executable, "-c", in_anothers_name],
            cwd=mounted_vault.path, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert "FileExistsError" in done.stderr
        assert os.path.ismount(inside)
    finally:
        subprocess.run(["umount", inside], check=False)
