"""The same random operations on two folders, which must look the same after each of them."""

import errno
import mmap
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.posix.calls import rename_with_flags

NAMES = [
    b"a", b"b", b"c", b".hidden", b"trailing dot.", b" ", b"new\nline", b"\xff\xfe not UTF-8", "é".encode(),
    "e\u0301".encode(), b"CON", b"back\\slash", b"-rf", b"n" * 255, b"n" * 256, b".", b"..",
]  # fmt: skip
XATTRS = [b"user.a", b"user.b", b"user." + b"n" * 250, b"user." + b"n" * 251, b"unknown.a", b"user."]
OFFSETS = [0, 1, 4095, 4096, 65535, 65536, 65537, 100_000, 131_072, 300_000]
LENGTHS = [0, 1, 100, 4096, 65536, 70_000, 140_000]
COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE (linux/time.h): the time of the last tick, with which the kernel stamps writes to FUSE."""

class Place(NamedTuple):
    """Where an operation goes: to the `number`th of all paths there are, or to a name in it or next to it."""

    number: int
    name: bytes | None
    inside: bool


some_names = st.sampled_from([*[None] * 3 * len(NAMES), *NAMES])
places = st.builds(Place, st.integers(0, 99), some_names, st.booleans())
new_places = st.builds(Place, st.integers(0, 99), st.sampled_from(NAMES), st.booleans())
# No set-id bits: they fall at any write, even root's, because FUSE does not say whose write it is.
modes = st.sampled_from([0o600, 0o644, 0o755, 0o1777, 0o000])
kinds = st.sampled_from([os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
flags = st.sampled_from([
    os.O_CREAT, os.O_CREAT, os.O_CREAT | os.O_APPEND, os.O_CREAT | os.O_TRUNC, os.O_CREAT | os.O_EXCL, os.O_TRUNC,
    os.O_CREAT | os.O_NOFOLLOW, os.O_CREAT | os.O_DIRECTORY, os.O_DIRECTORY, os.O_APPEND, 0,
])  # fmt: skip
offsets = st.sampled_from(OFFSETS)
lengths = st.sampled_from(LENGTHS)
handles = st.integers(0, 7)

class Facts(NamedTuple):
    """What must be the same on both sides about one path."""

    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    content: bytes
    xattrs: tuple[tuple[str, bytes], ...]


class Times(NamedTuple):
    """What must change on both sides at once."""

    mtime: int
    ctime: int


class Look(NamedTuple):
    """One side as it is now, by path: its facts, its times, and its inode number."""

    facts: dict[bytes, Facts]
    times: dict[bytes, Times]
    inodes: dict[bytes, int]


def look(root: bytes) -> Look:
    """Walk a side."""
    found = Look({}, {}, {})
    waiting = [b"."]
    while waiting:
        path = waiting.pop()
        full = os.path.join(root, path)
        status = os.lstat(full)
        found.facts[path] = _facts(full, status)
        found.times[path] = Times(status.st_mtime_ns, status.st_ctime_ns)
        found.inodes[path] = status.st_ino
        if stat.S_ISDIR(status.st_mode):
            listed = os.listdir(full)
            assert len(set(listed)) == len(listed), "a name is listed twice"
            waiting += [os.path.join(path, name) for name in listed]
    return found


def _facts(path: bytes, status: os.stat_result) -> Facts:
    content = b""
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NOATIME)) as stream:
            content = stream.read()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    xattrs = sorted(os.listxattr(path, follow_symlinks=False))
    values = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in xattrs)
    return Facts(
        status.st_mode, status.st_nlink, status.st_uid, status.st_gid, status.st_rdev, size, content, values
    )  # fmt: skip


def data(length: int, seed: int) -> bytes:
    """Bytes that differ from place to place, and by seed."""
    return bytes((seed * 7 + place + place // 251) % 256 for place in range(min(length, 997))) * (length // 997 + 1)


class PosixMachine(RuleBasedStateMachine):
    """`fresh_sides` makes two folders, what is right and what is tested; `remount_tested` mounts the latter anew."""

    fresh_sides: ClassVar[Callable[[], tuple[Path, Path]]]
    remount_tested: ClassVar[Callable[[], None]]

    def __init__(self) -> None:
        super().__init__()
        self.roots = tuple(os.fsencode(side) for side in type(self).fresh_sides())
        self.handles: list[tuple[int, int]] = []
        self.values = 0
        self.looks = [look(root) for root in self.roots]

    # Names

    @rule(path=new_places, mode=modes)
    def mkdir(self, path: Place, mode: int) -> None:
        self._on_paths(lambda full: os.mkdir(full, mode), path)

    @rule(path=places)
    def rmdir(self, path: Place) -> None:
        self._on_paths(os.rmdir, path)

    @rule(path=places)
    def unlink(self, path: Place) -> None:
        self._on_paths(os.unlink, path)

    @rule(path=places, other=new_places)
    def rename(self, path: Place, other: Place) -> None:
        self._on_paths(os.rename, path, other)

    @rule(path=places, other=new_places, how=st.sampled_from([1, 2, 3]))
    def rename_specially(self, path: Place, other: Place, how: int) -> None:
        self._on_paths(lambda old, new: rename_with_flags(old, new, how), path, other)

    @rule(path=places, other=new_places)
    def link(self, path: Place, other: Place) -> None:
        self._on_paths(lambda *full: os.link(*full, follow_symlinks=False), path, other)

    @rule(path=new_places, points_to=st.sampled_from([b"a", b"b", b"../a", b"nowhere", b".", b"x" * 3000]))
    def symlink(self, path: Place, points_to: bytes) -> None:
        self._on_paths(lambda full: os.symlink(points_to, full), path)

    @rule(path=new_places, mode=modes)
    def mkfifo(self, path: Place, mode: int) -> None:
        self._on_paths(lambda full: os.mkfifo(full, mode), path)

    # Attributes

    @rule(path=places, mode=modes)
    def chmod(self, path: Place, mode: int) -> None:
        self._on_paths(lambda full: os.chmod(full, mode), path)

    @rule(path=places, uid=st.sampled_from([-1, 0, 1000]), gid=st.sampled_from([-1, 0, 1001]))
    def chown(self, path: Place, uid: int, gid: int) -> None:
        self._on_paths(lambda full: os.lchown(full, uid, gid), path)

    @rule(path=places, times=st.sampled_from([(0, 0), (-1, 1), (10**18 + 7, 2 * 10**18 + 9), (3 * 10**18, 5)]))
    def utime(self, path: Place, times: tuple[int, int]) -> None:
        self._on_paths(lambda full: os.utime(full, ns=times, follow_symlinks=False), path)
        self._on_paths(lambda full: os.lstat(full).st_mtime_ns, path)

    @rule(path=places)
    def touch(self, path: Place) -> None:
        self._on_paths(os.utime, path)

    @rule(path=places, name=st.sampled_from(XATTRS), length=st.sampled_from([1, 300]), how=st.integers(0, 2))
    def setxattr(self, path: Place, name: bytes, length: int, how: int) -> None:
        self.values += 1  # ext4 takes the value a name has already for no change
        value = b"%d" % self.values * length
        self._on_paths(lambda full: os.setxattr(full, name, value, how, follow_symlinks=False), path)

    @rule(path=places, name=st.sampled_from(XATTRS))
    def getxattr(self, path: Place, name: bytes) -> None:
        self._on_paths(lambda full: os.getxattr(full, name, follow_symlinks=False), path)

    @rule(path=places, name=st.sampled_from(XATTRS))
    def removexattr(self, path: Place, name: bytes) -> None:
        self._on_paths(lambda full: os.removexattr(full, name, follow_symlinks=False), path)

    # Contents

    @rule(path=new_places, offset=offsets, length=lengths, seed=st.integers(0, 255))
    def write_file(self, path: Place, offset: int, length: int, seed: int) -> None:
        """A program that opens, writes and closes; files come from here most of the time."""

        def write(full: bytes) -> int:
            descriptor = os.open(full, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
            try:
                return os.pwrite(descriptor, data(length, seed)[:length], offset)
            finally:
                os.close(descriptor)

        self._on_paths(write, path)

    @rule(path=places, size=offsets)
    def truncate(self, path: Place, size: int) -> None:
        if not self._has_size(os.path.join(self.roots[0], self._path(path)), size):
            self._on_paths(lambda full: os.truncate(full, size), path)

    @precondition(lambda self: len(self.handles) < 8)
    @rule(path=places, kind=kinds, more=flags, mode=modes)
    def open(self, path: Place, kind: int, more: int, mode: int) -> None:
        opened: list[int] = []

        def open_one(full: bytes) -> None:
            opened.append(os.open(full, kind | more | os.O_NONBLOCK, mode))

        try:
            self._on_paths(open_one, path)
        finally:
            if len(opened) == 2:
                self.handles.append((opened[0], opened[1]))

    @precondition(lambda self: self.handles)
    @rule(handle=handles, offset=offsets, length=lengths, seed=st.integers(0, 255))
    def pwrite(self, handle: int, offset: int, length: int, seed: int) -> None:
        self._on_handle(lambda open_file: os.pwrite(open_file, data(length, seed)[:length], offset), handle)

    @precondition(lambda self: self.handles)
    @rule(handle=handles, length=lengths, seed=st.integers(0, 255))
    def write(self, handle: int, length: int, seed: int) -> None:
        """At the handle's own position, or the end of the file with O_APPEND."""
        if stat.S_ISFIFO(os.fstat(self.handles[handle % len(self.handles)][0]).st_mode):
            return  # the kernel does not tell a FUSE filesystem of it, so the pipe's times stay
        self._on_handle(lambda open_file: os.write(open_file, data(length, seed)[:length]), handle)

    @precondition(lambda self: self.handles)
    @rule(handle=handles, offset=offsets, length=lengths)
    def pread(self, handle: int, offset: int, length: int) -> None:
        self._on_handle(lambda open_file: os.pread(open_file, length, offset), handle)

    @precondition(lambda self: self.handles)
    @rule(handle=handles, size=offsets)
    def ftruncate(self, handle: int, size: int) -> None:
        if not self._has_size(self.handles[handle % len(self.handles)][0], size):
            self._on_handle(lambda open_file: os.ftruncate(open_file, size), handle)

    @precondition(lambda self: self.handles)
    @rule(handle=handles, seed=st.integers(0, 255))
    def write_mapped(self, handle: int, seed: int) -> None:
        def write(open_file: int) -> None:
            with mmap.mmap(open_file, 0) as mapped:
                place = len(mapped) // 2
                mapped[place : place + 100] = data(100, seed)[: len(mapped[place : place + 100])]
                mapped.flush()

        self._on_handle(write, handle)

    @precondition(lambda self: self.handles)
    @rule(handle=handles)
    def fstat(self, handle: int) -> None:
        def attributes(open_file: int) -> tuple[int, ...]:
            found = os.fstat(open_file)
            return found.st_mode, found.st_nlink, 0 if stat.S_ISDIR(found.st_mode) else found.st_size

        self._on_handle(attributes, handle)

    @precondition(lambda self: self.handles)
    @rule(handle=handles)
    def read_again(self, handle: int) -> None:
        """Write a file back and drop its pages, so that the next look reads what was stored."""

        def drop(open_file: int) -> None:
            os.fsync(open_file)
            os.posix_fadvise(open_file, 0, 0, os.POSIX_FADV_DONTNEED)

        self._on_handle(drop, handle)

    @precondition(lambda self: self.handles)
    @rule(handle=handles)
    def close(self, handle: int) -> None:
        for open_file in self.handles.pop(handle % len(self.handles)):
            os.close(open_file)
        self._compare()

    @rule(wanted=st.integers(0, 2))
    def remount(self, wanted: int) -> None:
        if wanted:
            return
        self._close_all()
        before = look(self.roots[1])
        type(self).remount_tested()
        after = look(self.roots[1])
        assert after.facts == before.facts, _difference(before.facts, after.facts)
        assert after.times == before.times, _difference(before.times, after.times)
        assert after.inodes == before.inodes, _difference(before.inodes, after.inodes)
        self.looks[1] = after

    # What the rules share

    def _has_size(self, place: bytes | int, size: int) -> bool:
        """Whether to cut it there changes nothing: the kernel's writeback cache then keeps the times, too."""
        try:
            return os.stat(place).st_size == size
        except OSError:
            return False

    def _on_paths(self, call: Callable[..., Any], *places: Place) -> None:
        paths = [self._path(place) for place in places]
        self._on_both(lambda side: call(*(os.path.join(self.roots[side], path) for path in paths)))

    def _path(self, place: Place) -> bytes:
        facts = self.looks[0].facts
        path = sorted(facts)[place.number % len(facts)]
        if place.name is None:
            return path
        parent = path if place.inside or path == b"." else os.path.dirname(path)
        return os.path.join(parent, place.name)

    def _on_handle(self, call: Callable[[int], Any], handle: int) -> None:
        self._on_both(lambda side: call(self.handles[handle % len(self.handles)][side]))

    def _on_both(self, call: Callable[[int], Any]) -> None:
        _wait_for_tick()
        right, tested = _outcome(call, 0), _outcome(call, 1)
        assert tested == right, f"{tested} where the disk {right}"
        self._compare()

    def _compare(self) -> None:
        right, tested = (look(root) for root in self.roots)
        assert tested.facts == right.facts, _difference(right.facts, tested.facts)
        assert _same_inodes(tested.inodes) == _same_inodes(right.inodes)
        changes = [_changed(before.times, now.times) for before, now in zip(self.looks, (right, tested), strict=True)]
        assert changes[1] == changes[0], f"(mtime, ctime) changed: {_difference(*changes)}"
        self.looks = [right, tested]

    def _close_all(self) -> None:
        for pair in self.handles:
            for open_file in pair:
                os.close(open_file)
        self.handles = []

    def teardown(self) -> None:
        self._close_all()


def _wait_for_tick() -> None:
    """What changes from now on gets a later time than all that changed before."""
    now = time.time_ns()
    while time.clock_gettime_ns(COARSE_CLOCK) <= now:
        time.sleep(0.001)


def _outcome(call: Callable[[int], Any], side: int) -> tuple[str, Any]:
    try:
        return "returned", call(side)
    except OSError as error:
        return "raised", errno.errorcode.get(error.errno or 0, error.errno)
    except ValueError as error:  # mmap refuses an empty file itself
        return "raised", str(error)


def _difference(right: dict[bytes, Any], tested: dict[bytes, Any]) -> str:
    """The first path for which the two differ."""
    for path in sorted(right.keys() | tested.keys()):
        if right.get(path) != tested.get(path):
            return f"{path!r}: {tested.get(path)!r:.500} where the disk has {right.get(path)!r:.500}"
    return ""


def _same_inodes(inodes: dict[bytes, int]) -> set[frozenset[bytes]]:
    """Which paths are the same inode."""
    paths: dict[int, set[bytes]] = {}
    for path, inode in inodes.items():
        paths.setdefault(inode, set()).add(path)
    return {frozenset(group) for group in paths.values()}


def _changed(before: dict[bytes, Times], now: dict[bytes, Times]) -> dict[bytes, tuple[bool, bool]]:
    """For each path that stayed: whether its mtime and its ctime changed."""
    return {
        path: (now[path].mtime != before[path].mtime, now[path].ctime != before[path].ctime)
        for path in before.keys() & now.keys()
    }
