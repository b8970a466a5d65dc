"""Runs fsx and fsstress, and looks after them whether the data is really there."""

import os
import random
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _conformance.targets import Target

_BLOCK = 1 << 20
# What each seed's run is about, in turn: plain, files of many segments' worth of chunks, reopening, direct I/O.
_FSX_STYLES = (
    (),
    ("-l", "3000000", "-o", "200000"),
    ("-c", "50", "-f"),
    ("-Z", "-R", "-W", "-r", "4096", "-w", "4096", "-t", "4096"),
    ("-y", "-l", "70000"),
    ("-s", "1", "-l", "90000000", "-o", "2000000"),
)


def fsx(program: Path, target: Target, seed: int, operations: int) -> str:
    """One run with one seed; an empty string, or what went wrong."""
    style = _FSX_STYLES[seed % len(_FSX_STYLES)]
    file = target.path / f"fsx-{seed}"
    with _emptying_cache(file, seed):
        done = subprocess.run(
            [program, "-q", "-N", str(operations), "-S", str(seed), "-P", target.folder, *style, file],
            capture_output=True, check=False, errors="replace",
        )  # fmt: skip
    return "" if done.returncode == 0 else f"fsx {' '.join(style)} -S {seed}: {done.stdout[:3000]}{done.stderr[:500]}"


@contextmanager
def _emptying_cache(file: Path, seed: int) -> Iterator[None]:
    """Again and again write a file back and drop its pages: else the kernel's cache answers every read."""
    ended = threading.Event()
    chance = random.Random(seed)

    def empty() -> None:
        while not ended.wait(chance.uniform(0.005, 0.1)):
            try:
                descriptor = os.open(file, os.O_RDONLY)
            except FileNotFoundError:
                continue
            if chance.random() < 0.5:
                os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    thread = threading.Thread(target=empty)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def fsstress(program: Path, target: Target, seed: int, processes: int, seconds: int) -> str:
    """Stress for some seconds, mount again, and read all there is; an empty string, or what went wrong."""
    folder = target.path / f"fsstress-{seed}"
    folder.mkdir()
    done = subprocess.run(
        [program, "-d", folder, "-p", str(processes), "-s", str(seed), "-n", "100000000", f"--duration={seconds}"],
        capture_output=True, check=False, errors="replace",
    )  # fmt: skip
    if done.returncode:
        return f"fsstress -s {seed} ended with {done.returncode}: {done.stdout[-1000:]}{done.stderr[-1000:]}"
    before = walk(folder)
    target.unmount()
    target.mount()
    after = walk(folder)
    return differences(before, after)


def walk(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder by path: its attributes, and a checksum of what it holds, or the error it gave."""
    found = {}
    for parent, folders, files in os.walk(folder, onerror=_raise):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            try:
                found[path] = _describe(path)
            except OSError as error:
                found[path] = (f"{error.strerror} ({error.errno})",)
    return found


def _raise(error: OSError) -> None:
    raise error


def _describe(path: str) -> tuple[object, ...]:
    status = os.lstat(path)
    kind = status.st_mode & 0o170000
    size = 0 if kind == 0o040000 else status.st_size
    facts = (
        status.st_ino, status.st_mode, status.st_nlink, status.st_uid, status.st_gid, status.st_rdev, size,
        status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip
    names = sorted(os.listxattr(path, follow_symlinks=False))
    xattrs = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
    content: object = None
    if kind == 0o120000:
        content = os.readlink(path)
    elif kind == 0o100000:
        content = _checksum(path)
    return (*facts, xattrs, content)


def _checksum(path: str) -> int:
    total = 0
    with open(path, "rb", buffering=0) as stream:
        while block := stream.read(_BLOCK):
            total = zlib.crc32(block, total)
    return total


def differences(before: dict[str, tuple[object, ...]], after: dict[str, tuple[object, ...]]) -> str:
    """What differs between two walks, and every path that could not be read; the first twenty."""
    lines = [f"{path}: {facts}" for path, facts in after.items() if len(facts) == 1]
    lines += [f"{path}: {before.get(path)} -> {after.get(path)}" for path in sorted(before.keys() | after.keys())
              if before.get(path) != after.get(path)]  # fmt: skip
    return "\n".join(lines[:20])
