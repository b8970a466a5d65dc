"""A store on a disk that is full: nothing half done, nothing lost, deletes work, and with room all goes on."""

import errno
import os
import random
import sqlite3
from contextlib import suppress

import pytest
from _powercut.machine import make_image, missing, mounted_image, run

from tests.support.mounting import MountedVault, eventually

SIZE = 64 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing("ext4")), reason=f"no image is mounted here: {missing('ext4')}"),
]


@pytest.fixture
def disk(tmp_path):
    image = tmp_path / "image"
    make_image(image, "ext4", SIZE)
    run("tune2fs", "-m", "0", image)  # nothing is kept back for root
    with mounted_image(image, tmp_path / "disk") as mountpoint:
        yield mountpoint


@pytest.fixture
def mount(disk):
    mounts = []

    def mount():
        mounts.append(MountedVault(disk, {"checkpoint_age": 0.5}))
        return mounts[-1]

    yield mount
    for vault in mounts:
        vault.close()


class Kept:
    """Files whose fsync was acknowledged, and what is in them."""

    def __init__(self):
        self._random = random.Random(1)
        self.contents = {}

    def write(self, path, name, size):
        data = self._random.randbytes(size)
        descriptor = os.open(path / name, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            self.contents[name] = {data, *self.contents.get(name, ())}  # old or new, until it is acknowledged
            os.write(descriptor, data)
            os.fsync(descriptor)
            self.contents[name] = {data}
        finally:
            with suppress(OSError):
                os.close(descriptor)

    def lost(self, path):
        return [name for name, contents in self.contents.items() if (path / name).read_bytes() not in contents]


def use_up(operation):
    """Repeat until the disk is full, and then some; how often it went well. Any other error fails the test."""
    done = refused = 0
    while refused < 5 and done < 20_000:
        try:
            operation(done + refused)
            done += 1
        except OSError as error:
            if error.errno not in FULL:
                raise
            refused += 1
    assert refused == 5
    return done


def fill_up(disk):
    """Another program takes all there is."""
    with open(disk / "other", "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1 << 9):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
                    os.fsync(file.fileno())


def append(path, size):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, os.urandom(size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def test_every_operation_is_refused_whole_when_the_disk_is_full(mount):
    vault = mount()
    top, kept = vault.path, Kept()
    (top / "old").mkdir()
    for number in range(30):
        kept.write(top, f"old/{number}", (100, 5000, 70_000)[number % 3])
    database = sqlite3.connect(top / "database", isolation_level=None)
    database.execute("CREATE TABLE messages (body BLOB)")

    assert use_up(lambda _: append(top / "large", 1 << 20)) > 5
    use_up(lambda number: append(top / f"small{number}", 3000))
    use_up(lambda number: kept.write(top, f"old/{number % 30}", (100, 5000, 70_000)[number % 3]))
    use_up(lambda number: os.setxattr(top / "old", f"user.{number}", bytes(200)))
    use_up(lambda number: (top / f"folder{number}").mkdir())
    use_up(lambda number: (top / f"link{number}").symlink_to("x" * 500))
    use_up(lambda number: os.rename(top / "old", top / f"new{number}"))
    with pytest.raises(sqlite3.Error):
        database.executemany("INSERT INTO messages VALUES (randomblob(?))", [(5000,)] * 10_000)
    database.close()
    assert kept.lost(top) == []

    vault.unmount()
    vault = mount()
    assert kept.lost(top) == []
    for path in top.glob("small*"):
        path.unlink()
    (top / "large").unlink()
    os.sync()
    # What is deleted is free once the next checkpoint is done, seconds later.
    assert eventually(lambda: os.statvfs(top).f_bavail * os.statvfs(top).f_frsize > 12 << 20, 30)
    for number in range(100):
        kept.write(top, f"old/again{number}", 50_000)
    vault.unmount()
    vault = mount()
    assert kept.lost(top) == []
    with sqlite3.connect(top / "database") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    vault.unmount()


@pytest.mark.parametrize("end", ["unmount", "kill"])
def test_another_program_that_fills_the_disk_costs_nothing_that_was_accepted(disk, mount, end):
    vault = mount()
    top, kept = vault.path, Kept()
    for number in range(40):
        kept.write(top, f"file{number}", (100, 5000, 70_000)[number % 3])
    fill_up(disk)
    use_up(lambda number: append(top / f"more{number}", 70_000))
    for number in range(5):  # room is found for what makes room
        (top / f"file{number}").unlink()
        del kept.contents[f"file{number}"]
    os.sync()
    assert kept.lost(top) == []

    getattr(vault, end)()
    vault = mount()
    assert kept.lost(top) == []
    (top / "file5").unlink()
    del kept.contents["file5"]
    vault.unmount()

    (disk / "other").unlink()
    vault = mount()
    assert kept.lost(top) == []
    kept.write(top, "afterwards", 1 << 20)
    vault.unmount()


def test_the_free_room_follows_what_is_stored(mount):
    """statvfs(3): it falls by what is written, not by a sparse file, and rises by what is deleted."""
    top = mount().path
    slack, size = 10 << 20, 24 << 20  # journals come and go beside it

    def free():
        found = os.statvfs(top)
        return found.f_bavail * found.f_frsize

    append(top / "small", 1)
    before = free()
    append(top / "file", size)
    assert before - size - slack < free() < before - size + slack
    written = free()
    with (top / "sparse").open("wb") as stream:
        stream.truncate(1 << 40)
    append(top / "small", 1)
    assert written - slack < free()
    (top / "file").unlink()
    assert eventually(lambda: free() > before - slack, 30)
