"""A store in a directory trusts nothing in it: links, fifos, devices; and it keeps no descriptor too many."""

import contextlib
import errno
import mmap
import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.posix.calls import cached_pages
from vaultfs.errors import StoreUnusable
from vaultfs.store.directory import DirectoryStore

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts, or makes a device")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryStore]:
    folder = tmp_path / "store"
    folder.mkdir()
    with DirectoryStore(folder, write=True) as made:
        made.make_folder("objects")
        yield made


def plant(kind: str, path: Path) -> None:
    """Put something that is not a regular file at `path`."""
    outside = path.parent.parent.parent / "outside"
    outside.write_bytes(b"secret")
    match kind:
        case "link":
            path.symlink_to(outside)
        case "dangling link":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        case "device":
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
        case _:
            path.mkdir()


@pytest.mark.timeout(10)
@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize(
    "kind", ["link", "dangling link", "fifo", "socket", pytest.param("device", marks=needs_root), "folder"]
)
def test_a_planted_thing_is_an_error(store: DirectoryStore, kind: str, write: bool) -> None:
    plant(kind, Path(store.description, "objects", "planted"))
    with pytest.raises(OSError) as opened:
        store.open("objects/planted", write=write)
    assert opened.value.errno == errno.EINVAL
    assert opened.value.strerror == "not a regular file"
    assert opened.value.filename == "objects/planted"
    with pytest.raises(OSError) as asked:
        store.exists("objects/planted")
    assert asked.value.errno == errno.EINVAL
    with pytest.raises(FileExistsError):
        store.create("objects/planted")


def test_a_link_to_a_folder_is_not_followed(store: DirectoryStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"secret")
    Path(store.description, "objects", "ab").symlink_to(outside)
    for act in (
        lambda: store.open("objects/ab/x"),
        lambda: store.create("objects/ab/y"),
        lambda: store.exists("objects/ab/x"),
        lambda: store.delete("objects/ab/x"),
        lambda: store.rename("objects/ab/x", "objects/x"),
        lambda: store.names("objects/ab"),
        lambda: store.make_folder("objects/ab"),
        lambda: store.sync_folder("objects/ab"),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == errno.EINVAL
    assert sorted(path.name for path in outside.iterdir()) == ["x"]


def test_deleting_and_renaming_touch_the_link_not_its_target(store: DirectoryStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    link = Path(store.description, "objects", "link")
    link.symlink_to(target)
    store.rename("objects/link", "objects/other")
    store.delete("objects/other")
    assert target.read_bytes() == b"kept"
    assert store.names("objects") == []


def test_the_store_itself_may_be_a_link_and_move(store: DirectoryStore, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(store.description)
    with DirectoryStore(link, write=True) as other:
        other.create("objects/a").write([b"x"], 0)
        os.rename(store.description, tmp_path / "moved")
        assert other.open("objects/a").read(1, 0) == b"x"
        assert store.exists("objects/a")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "there is no folder"),
        (lambda path: path.write_bytes(b""), "is not a folder"),
        (lambda path: path.symlink_to(path), "cannot be opened: Too many levels of symbolic links"),
    ],
)
def test_an_unusable_store_is_refused_in_a_sentence(tmp_path: Path, make, says: str) -> None:
    path = tmp_path / "store"
    make(path)
    with pytest.raises(StoreUnusable, match=says):
        DirectoryStore(path, write=False)


@needs_root
def test_a_read_only_file_system_is_refused_for_writing(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], check=True)
    try:
        with pytest.raises(StoreUnusable, match="cannot be written to"):
            DirectoryStore(tmp_path, write=True)
        with DirectoryStore(tmp_path, write=False) as store:
            assert store.names("") == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_read_only_store_opens_its_objects_for_reading(store: DirectoryStore) -> None:
    store.create("objects/a").write([b"x"], 0)
    with DirectoryStore(store.description, write=False) as reader:
        assert not reader.writable
        assert reader.open("objects/a").read(1, 0) == b"x"


def test_objects_are_private(store: DirectoryStore) -> None:
    store.create("objects/a")
    store.make_folder("objects/ab")
    assert Path(store.description, "objects/a").stat().st_mode & 0o777 == 0o600
    assert Path(store.description, "objects/ab").stat().st_mode & 0o777 == 0o700


def test_reading_leaves_access_times_alone(store: DirectoryStore) -> None:
    store.create("objects/a").write([b"x"], 0)
    path = Path(store.description, "objects/a")
    os.utime(path, ns=(0, 0))
    store.open("objects/a").read(1, 0)
    assert path.stat().st_atime_ns == 0


def test_allocated_room_is_really_written(store: DirectoryStore) -> None:
    """Room that is only reserved counts as a hole, and costs more at the first sync of bytes written there."""
    file = store.create("objects/a")
    file.write([b"abc"], 0)
    file.allocate((3 << 20) + 5)
    file.sync()
    with open(Path(store.description, "objects/a"), "rb") as stream:
        # First: a page that was read counts as data.
        assert os.lseek(stream.fileno(), 0, os.SEEK_HOLE) == (3 << 20) + 5
        stream.seek(0)
        assert stream.read() == b"abc" + bytes((3 << 20) + 2)
    file.close()


def test_what_is_to_be_durable_is_synced_by_the_kernel(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an object fdatasync(2) brings its bytes and its length; its name is its folder's, which takes fsync(2)."""
    asked: list[tuple[str, str]] = []
    for name in ("fsync", "fdatasync"):
        call = getattr(os, name)

        def noted(fd: int, name: str = name, call: Callable[[int], None] = call) -> None:
            asked.append((name, os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), store.description)))
            call(fd)

        monkeypatch.setattr(os, name, noted)
    file = store.create("objects/a")
    file.write([b"abc"], 0)
    file.sync()
    for folder in ("objects", ""):
        store.sync_folder(folder)
    assert asked == [("fdatasync", "objects/a"), ("fsync", "objects"), ("fsync", ".")]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.EIO, errno.ENOSPC])
def test_only_a_store_without_syncs_of_folders_may_refuse_one(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    may = contextlib.nullcontext() if code in (errno.EINVAL, errno.EOPNOTSUPP) else pytest.raises(OSError)
    with may:
        store.sync_folder("objects")


@needs_root
def test_a_full_disk_says_so_for_writes_and_allocations(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        with DirectoryStore(tmp_path, write=True) as store:
            file = store.create("a")
            with pytest.raises(OSError) as allocated:
                file.allocate(2 << 20)
            with pytest.raises(OSError) as written:
                file.write([bytes(700_000), bytes(700_000)], 0)
            assert (allocated.value.errno, written.value.errno) == (errno.ENOSPC, errno.ENOSPC)
            file.truncate(0)
            file.allocate(100_000)
            assert file.size() == 100_000
            file.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@needs_root
def test_where_room_cannot_be_reserved_nothing_is_written(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "ramfs", "ramfs", tmp_path], check=True)
    try:
        with DirectoryStore(tmp_path, write=True) as store:
            file = store.create("a")
            file.allocate(1 << 40)
            assert file.size() == 0
            file.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_short_write_is_carried_on_until_the_error(store: DirectoryStore) -> None:
    """A file size limit makes the first pwritev(2) short and the next one fail (setrlimit(2), RLIMIT_FSIZE)."""
    file = store.create("objects/a")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            file.write([b"a" * 6000, b"b" * 6000], 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert file.read(20_000, 0) == b"a" * 6000 + b"b" * 4000


def test_short_reads_and_writes_are_carried_on(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may do less than was asked for at once; only nothing is the end (pread(2), pwrite(2))."""
    pread, pwrite, pwritev = os.pread, os.pwrite, os.pwritev
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 700), offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:900], offset))
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, offset: pwritev(fd, [buffers[0][:500]], offset))
    data = os.urandom(6000)
    file = store.create("objects/a")
    file.write([data[:10], data[10:3000], data[3000:]], 5)
    assert file.read(6000, 5) == data
    assert file.read(7000, 5) == data
    assert file.read(100, 6005) == b""


def test_a_cached_read_that_ends_where_the_cache_does_is_none(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the end of the object may make it short."""
    file = store.create("a")
    file.write([b"0123456789"], 0)
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, *rest: preadv(fd, (memoryview(buffers[0])[:4],), *rest))
    assert file.read_cached(bytearray(8), 0) is None
    assert file.read_cached(bytearray(8), 6) == 4


def test_cached_reads_do_not_wait_for_the_disk(store: DirectoryStore) -> None:
    file = store.create("objects/a")
    file.write([os.urandom(1 << 20)], 0)
    file.sync()
    fd = os.open(Path(store.description, "objects/a"), os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    cold, hot = bytearray(65536), bytearray(65536)
    waited = file.read_cached(cold, 500_000) is None
    data = file.read(65536, 500_000)
    assert waited or cold == data
    assert file.read_cached(hot, 500_000) == 65536
    assert hot == data


@pytest.mark.parametrize("size", [400 << 10, 24 << 20])
def test_all_that_is_to_be_read_ahead_is_brought_in(store: DirectoryStore, size: int) -> None:
    file = store.create("objects/a")
    file.write([bytes(size)], 0)
    file.sync()
    with Path(store.description, "objects/a").open("rb") as same:
        os.posix_fadvise(same.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.read_ahead(size, 0)
        deadline = time.monotonic() + 30
        while cached_pages(same.fileno()) * mmap.PAGESIZE < size:  # asking by reading would bring it in
            assert time.monotonic() < deadline, "a part was never brought in"
            time.sleep(0.01)


def test_folder_descriptors_are_kept_but_bounded(store: DirectoryStore) -> None:
    for number in range(400):
        os.mkdir(Path(store.description, "objects", f"{number}"))
    store.names("objects")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(250):
        assert store.names(f"objects/{number}") == []
        assert store.names(f"objects/{number}") == []
    assert len(os.listdir("/proc/self/fd")) == before + 250
    with pytest.raises(OSError) as caught:
        list(map(store.names, (f"objects/{number}" for number in range(250, 400))))
    assert caught.value.errno == errno.EMFILE


def test_a_closed_store_refuses_and_its_open_objects_go_on(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path, write=True)
    file = store.create("a")
    store.close()
    for act in (lambda: store.open("a"), lambda: store.names(""), store.space, lambda: store.sync_folder("")):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == errno.EBADF
    file.write([b"x"], 0)
    assert file.read(1, 0) == b"x"


def test_losing_the_last_reference_closes(store: DirectoryStore) -> None:
    store.names("objects")
    before = len(os.listdir("/proc/self/fd"))
    files = [store.create(f"objects/{number}") for number in range(10)]
    assert len(os.listdir("/proc/self/fd")) == before + 10
    del files
    assert len(os.listdir("/proc/self/fd")) == before


def test_threads_listing_one_folder_all_see_all_of_it(store: DirectoryStore) -> None:
    wanted = sorted(f"{number:05}" for number in range(2000))
    for name in wanted:
        Path(store.description, "objects", name).touch()
    seen: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(store.names("objects") for _ in range(20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 80
    assert all(names == wanted for names in seen)
