"""Names through the kernel: listings, links, renames, special files, and the errors they give."""

import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_FDCWD = -100


def rename2(old: Path, new: Path, flags: int) -> None:
    """renameat2(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, bytes(old), AT_FDCWD, bytes(new), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def numbers(folder: Path) -> dict[str, int]:
    """What getdents(2) says of each name, `.` and `..` included: its inode number."""
    listed = subprocess.run(["ls", "-aif", folder], check=True, capture_output=True, text=True).stdout.split()
    return {name: int(number) for number, name in zip(listed[::2], listed[1::2], strict=True)}


def test_a_listing_of_5000_files_is_whole(folder: Path) -> None:
    names = {f"file number {number}" for number in range(5000)}
    for name in names:
        (folder / name).touch()
    assert set(os.listdir(folder)) == names
    assert {entry.name for entry in os.scandir(folder) if entry.stat().st_size == 0} == names
    shutil.rmtree(folder)
    assert not folder.exists()


def test_a_listing_has_the_dots_and_the_right_numbers(folder: Path) -> None:
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    (below / "file").touch()
    assert numbers(below) == {
        ".": below.stat().st_ino,
        "..": (folder / "a").stat().st_ino,
        "file": (below / "file").stat().st_ino,
    }


def test_a_listing_goes_on_while_its_names_are_removed(folder: Path) -> None:
    for number in range(3000):
        (folder / str(number)).touch()
    with os.scandir(folder) as entries:
        removed = 0
        for entry in entries:
            os.unlink(entry.path)
            removed += 1
    assert removed == 3000
    assert os.listdir(folder) == []


def test_rewinding_a_directory_shows_what_is_new(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        assert os.listdir(descriptor) == []
        (folder / "new").touch()
        assert os.listdir(descriptor) == ["new"]
    finally:
        os.close(descriptor)


def test_a_name_that_was_looked_for_in_vain_can_be_made(folder: Path) -> None:
    assert not (folder / "later").exists()
    (folder / "later").touch()
    assert (folder / "later").exists()
    (folder / "later").unlink()
    assert not (folder / "later").exists()


def test_hard_links_share_content_and_count(folder: Path) -> None:
    one, two = folder / "one", folder / "two"
    one.write_text("content")
    two.hardlink_to(one)
    assert one.stat().st_nlink == two.stat().st_nlink == 2
    assert one.samefile(two)
    one.unlink()
    assert two.stat().st_nlink == 1
    assert two.read_text() == "content"


@pytest.mark.parametrize("length", [1, 100, 4095])
def test_symbolic_links_keep_their_target(folder: Path, length: int) -> None:
    (folder / "link").symlink_to("t" * length)
    assert os.readlink(folder / "link") == "t" * length
    assert (folder / "link").lstat().st_size == length


def test_directories_count_their_links(folder: Path) -> None:
    before = folder.stat().st_nlink
    (folder / "below").mkdir()
    assert folder.stat().st_nlink == before + 1
    (folder / "below").rmdir()
    assert folder.stat().st_nlink == before


def test_special_files_keep_type_and_device(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's address has 107 bytes at most, and the folder's path may be longer.
        place = os.open(folder, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{place}/socket")
        os.close(place)
    os.mknod(folder / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(folder / "disk", stat.S_IFBLK | 0o600, os.makedev(300, 70000))
    assert stat.S_ISFIFO((folder / "fifo").stat().st_mode)
    assert stat.S_ISSOCK((folder / "socket").stat().st_mode)
    assert (folder / "null").stat().st_rdev == os.makedev(1, 3)
    assert (folder / "disk").stat().st_rdev == os.makedev(300, 70000)


def test_names_of_255_bytes_and_of_any_bytes(folder: Path) -> None:
    names = {b"n" * 255, b"\xff\xfe not UTF-8", "käse".encode(), b"new\nline", b"-rf"}
    for name in names:
        with open(os.path.join(bytes(folder), name), "wb"):
            pass
    assert set(os.listdir(bytes(folder))) == names


def test_rename_flags(folder: Path) -> None:
    one, two = folder / "one", folder / "two"
    one.write_text("1")
    two.write_text("2")
    with pytest.raises(FileExistsError):
        rename2(one, two, RENAME_NOREPLACE)
    rename2(one, two, RENAME_EXCHANGE)
    assert (one.read_text(), two.read_text()) == ("2", "1")


def test_a_directory_moves_with_what_is_below(folder: Path) -> None:
    (folder / "from" / "below").mkdir(parents=True)
    (folder / "to").mkdir()
    (folder / "from" / "below" / "file").write_text("content")
    (folder / "from" / "below").rename(folder / "to" / "there")
    assert (folder / "to" / "there" / "file").read_text() == "content"
    assert numbers(folder / "to" / "there")[".."] == (folder / "to").stat().st_ino
    with pytest.raises(OSError, match="Invalid argument"):
        (folder / "to").rename(folder / "to" / "there" / "into itself")


def test_errors_have_their_numbers(folder: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    cases: list[tuple[int, Callable[[], object]]] = [
        (errno.EEXIST, (folder / "full").mkdir),
        (errno.ENOTEMPTY, (folder / "full").rmdir),
        (errno.ENOENT, (folder / "none").stat),
        (errno.ENOENT, (folder / "none").unlink),
        (errno.ENAMETOOLONG, (folder / ("n" * 256)).touch),
        (errno.ENAMETOOLONG, (folder / ("n" * 256)).stat),
        (errno.ENOTDIR, (folder / "full" / "file" / "below").stat),
        (errno.EISDIR, (folder / "full").unlink),
        (errno.ENOTDIR, (folder / "full" / "file").rmdir),
        (errno.EPERM, lambda: os.link(folder / "full", folder / "hard link to a folder")),
    ]
    for number, act in cases:
        with pytest.raises(OSError) as failure:
            act()
        assert failure.value.errno == number


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a device, which needs root")
def test_a_listing_after_a_remount_tells_the_same_of_all_kinds(mount_vault: Callable[..., MountedVault]) -> None:
    """Listed entries are looked at in a quicker way than others: what it cannot tell has to come the long way."""
    vault = mount_vault()
    folder = vault.path / "folder"
    folder.mkdir()
    (folder / "directory").mkdir(mode=0o2750)
    (folder / "full directory").mkdir()
    (folder / "full directory" / "file").touch()
    (folder / "empty").touch()
    (folder / "file").write_bytes(b"x" * 5000)
    (folder / "large").write_bytes(bytes(3 << 20))
    with (folder / "sparse").open("wb") as stream:
        stream.seek(10 << 20)
        stream.write(b"x" * 200_000)
    (folder / "with attribute").write_bytes(b"x" * 100)
    os.setxattr(folder / "with attribute", "user.note", b"value")
    (folder / "link").symlink_to("file")
    (folder / "first name").write_bytes(b"y" * 70_000)
    (folder / "second name").hardlink_to(folder / "first name")
    os.mkfifo(folder / "pipe")
    os.mknod(folder / "device", stat.S_IFCHR | 0o600, os.makedev(10, 229))
    for number, entry in enumerate(sorted(folder.iterdir())):
        os.chown(entry, number, number + 1, follow_symlinks=False)
        os.utime(entry, ns=(number * 10**9 + 1, number * 10**9 + 2), follow_symlinks=False)
    before = seen(folder)
    vault = vault.remount()
    assert seen(folder) == before
    vault.unmount()


def seen(folder: Path) -> dict[str, tuple[int, ...]]:
    """What stat tells of each entry, asked for as `ls -l` does: right after the listing."""
    with os.scandir(folder) as entries:
        return {
            entry.name: (
                found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid, found.st_rdev, found.st_size,
                found.st_blocks, found.st_mtime_ns, found.st_ctime_ns,
            )
            for entry in entries
            for found in [entry.stat(follow_symlinks=False)]
        }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="has the kernel forget names, which needs root")
def test_a_file_is_found_again_by_its_handle(folder: Path) -> None:
    """open_by_handle_at(2), once the kernel has forgotten the file; the C library has no name for it in Python."""
    file = folder / "file"
    file.write_bytes(b"found")
    libc = ctypes.CDLL(None, use_errno=True)
    handle, mount = (ctypes.c_uint * 34)(128), ctypes.c_int()
    assert libc.name_to_handle_at(AT_FDCWD, os.fsencode(file), handle, ctypes.byref(mount), 0) == 0
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("2")
    directory = os.open(folder, os.O_RDONLY)
    fd = libc.open_by_handle_at(directory, handle, os.O_RDONLY)
    os.close(directory)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    assert os.read(fd, 10) == b"found"
    os.close(fd)


def test_a_new_handle_goes_on_where_another_one_was(folder: Path) -> None:
    """As a file server does that opens a folder anew for each piece of a listing (telldir(3), seekdir(3))."""
    for number in range(200):
        (folder / f"{number:03}").touch()
    libc = ctypes.CDLL(None)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    for name in ("readdir", "telldir", "closedir"):
        getattr(libc, name).argtypes = [ctypes.c_void_p]
    libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    position, seen = 0, 0
    while True:
        handle = libc.opendir(os.fsencode(folder))
        libc.seekdir(handle, position)
        read = sum(libc.readdir(handle) is not None for _ in range(30))
        position = libc.telldir(handle)
        libc.closedir(handle)
        seen += read
        if read < 30:
            break
    assert seen == 202


def test_a_name_that_is_replaced_again_and_again_is_always_there(folder: Path) -> None:
    """Who has just looked it up asks about a file that is gone by then; "no such file" would say that none is there."""
    saved = folder / "settings"
    saved.write_text("0")
    script = (
        "import os, sys, itertools\n"
        "for number in itertools.count(1):\n"
        "    with open(sys.argv[1] + '.new', 'w') as file: file.write(str(number))\n"
        "    os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
    )
    uses: list[Callable[[], object]] = [
        lambda: int(saved.read_text()), saved.stat, lambda: saved.chmod(0o644), lambda: os.listxattr(saved),
    ]  # fmt: skip
    errors: set[int | None] = set()
    with subprocess.Popen([sys.executable, "-c", script, saved]) as writer:
        latest = time.monotonic() + 3.0
        while time.monotonic() < latest:
            for use in uses:
                try:
                    use()
                except OSError as error:
                    errors.add(error.errno)
        still_writing = writer.poll() is None
        writer.kill()
    assert still_writing
    assert errors <= {errno.ESTALE}, "it may have been replaced twice meanwhile, and no more"
