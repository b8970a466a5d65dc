"""Processes that share files: locks, appending, following, watching, and memory maps."""

import ctypes
import fcntl
import mmap
import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.applications.programs import needs
from tests.support.mounting import MountedVault, eventually, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

# Takes a lock, says so, and keeps it until its stdin ends.
LOCKER = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""

APPENDER = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(2000):
    os.write(file, (f"{sys.argv[2]} {number} " + sys.argv[2] * (number % 97) + "\\n").encode())
"""


@pytest.mark.parametrize("kind", ["flock", "lockf"])
def test_locks_hold_between_processes(folder: Path, kind: str) -> None:
    file = folder / "file"
    file.write_bytes(b"content")
    lock: Callable[..., None] = getattr(fcntl, kind)
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, file, kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == b"locked\n"
        with file.open("r+b") as stream, pytest.raises(BlockingIOError):
            lock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locker.kill()
    with file.open("r+b") as stream:
        lock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_locks_of_ranges(folder: Path) -> None:
    file = folder / "file"
    file.write_bytes(bytes(1000))
    code = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 100, {})"
    with file.open("r+b") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX, 100, 200)
        for start, allowed in ((0, True), (300, True), (250, False)):
            done = subprocess.run([sys.executable, "-c", code.format(start), file], check=False, capture_output=True)
            assert (done.returncode == 0) is allowed, start


def test_two_processes_append(folder: Path) -> None:
    file = folder / "file"
    writers = [subprocess.Popen([sys.executable, "-c", APPENDER, file, letter]) for letter in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    lines = file.read_text().splitlines()
    for letter in "ab":
        expected = [f"{letter} {number} " + letter * (number % 97) for number in range(2000)]
        assert [line for line in lines if line.startswith(letter)] == expected
    assert len(lines) == 4000


@needs("tail")
def test_tail_follows(folder: Path) -> None:
    file = folder / "file"
    file.write_text("first\n")
    with subprocess.Popen(["tail", "-n", "+1", "-f", file], stdout=subprocess.PIPE, text=True) as tail:
        try:
            assert tail.stdout is not None
            assert tail.stdout.readline() == "first\n"
            with file.open("a") as stream:
                stream.write("second\n")
            assert tail.stdout.readline() == "second\n"
        finally:
            tail.kill()


def test_watching_a_folder(folder: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    create, modify, moved_to, delete = 0x100, 0x2, 0x80, 0x200
    watcher = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert libc.inotify_add_watch(watcher, bytes(folder), create | modify | moved_to | delete) > 0
    (folder / "file").write_text("content")
    (folder / "file").rename(folder / "other")
    (folder / "other").unlink()
    events = os.read(watcher, 65536)
    os.close(watcher)
    seen = []
    while events:
        _, mask, _, length = struct.unpack_from("iIII", events)
        seen.append((mask, events[16 : 16 + length].rstrip(b"\0")))
        events = events[16 + length :]
    assert seen == [(create, b"file"), (modify, b"file"), (moved_to, b"other"), (delete, b"other")]


def test_shared_memory_maps(mounted_vault: MountedVault) -> None:
    file = mounted_vault.path / "file"
    size = 1 << 20
    file.write_bytes(bytes(size))
    code = "import mmap, sys; f = open(sys.argv[1], 'r+b'); mmap.mmap(f.fileno(), 0)[70000:70005] = b'child'"
    with file.open("r+b") as stream, mmap.mmap(stream.fileno(), size) as mapped:
        mapped[500000:500006] = b"parent"
        subprocess.run([sys.executable, "-c", code, file], check=True)
        assert mapped[70000:70005] == b"child"
        stream.seek(500000)
        assert stream.read(6) == b"parent"
        mapped.flush()
        os.pwrite(stream.fileno(), b"written", 900000)
        assert mapped[900000:900007] == b"written"
    again = mounted_vault.remount()
    try:
        content = file.read_bytes()
        expected = bytearray(size)
        for offset, text in ((70000, b"child"), (500000, b"parent"), (900000, b"written")):
            expected[offset : offset + len(text)] = text
        assert content == expected
        again.unmount()
    finally:
        again.close()


def test_a_writer_and_a_reader_see_one_file(folder: Path) -> None:
    file = folder / "file"
    with file.open("ab", buffering=0) as writing, file.open("rb", buffering=0) as reading:
        for number in range(200):
            writing.write(b"%05d\n" % number)
            assert reading.read() == b"%05d\n" % number
    assert re.fullmatch(rb"(\d{5}\n){200}", file.read_bytes())


def test_what_ends_with_its_name_lives_on_while_it_is_open(folder: Path) -> None:
    file = folder / "file"
    with file.open("w+b", buffering=0) as stream:
        stream.write(b"content")
        file.unlink()
        stream.write(b" and more")
        assert os.pread(stream.fileno(), 100, 0) == b"content and more"
        assert os.fstat(stream.fileno()).st_nlink == 0
    assert eventually(lambda: not list(folder.iterdir()))
