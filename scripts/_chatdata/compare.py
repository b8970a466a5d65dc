"""Two trees, compared in everything a backup has to bring back.

Types, modes, owners, modification times in ns, sizes, every byte, link targets, device numbers, extended
attributes, and which names are hard links of each other. Not: access and change times, inode numbers, blocks.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 1 << 20
_IGNORED_XATTRS = {"security.selinux"}
"""Set by the system it is on, not by who made the file."""

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class Tree:
    """A directory tree, by paths relative to its root that may be as long as PATH_MAX themselves."""

    def __init__(self, root: Path) -> None:
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.entries: dict[bytes, os.stat_result] = {}
        self._scan()

    def place(self, path: bytes) -> bytes:
        """Where to find an entry."""
        return b"/proc/self/fd/%d/%s" % (self._descriptor, path)

    def close(self) -> None:
        """Let go of the root."""
        os.close(self._descriptor)

    def hard_links(self) -> dict[bytes, frozenset[bytes]]:
        """For each path that shares its inode with others: all of them."""
        names: dict[tuple[int, int], set[bytes]] = {}
        for path, status in self.entries.items():
            if not stat.S_ISDIR(status.st_mode):
                names.setdefault((status.st_dev, status.st_ino), set()).add(path)
        groups = [frozenset(group) for group in names.values() if len(group) > 1]
        return {path: group for group in groups for path in group}

    def _scan(self) -> None:
        self.entries[b""] = os.stat(self.place(b""))
        folders = [b""]
        while folders:
            folder = folders.pop()
            for name in os.listdir(self.place(folder)):
                path = folder + b"/" + name if folder else name
                status = os.lstat(self.place(path))
                self.entries[path] = status
                if stat.S_ISDIR(status.st_mode):
                    folders.append(path)


@dataclass(slots=True)
class Comparison:
    """What was found: one line for each difference, and how much was looked at."""

    differences: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    content: int = 0
    hard_links: int = 0
    xattrs: int = 0

    def summary(self) -> str:
        """One line of counts."""
        kinds = ", ".join(f"{count} {kind}s" for kind, count in self.kinds.items())
        number = len(self.differences)
        verdict = "equal" if not number else "1 difference" if number == 1 else f"{number} differences"
        return (
            f"{verdict}: {kinds}; {self.content / 1e6:.1f} MB read on each side, "
            f"{self.hard_links} hard-link groups, {self.xattrs} extended attributes"
        )


def compare(left_root: Path, right_root: Path) -> Comparison:
    """Compare two directories with all that is in them. OSError when a root cannot be read."""
    left, right = Tree(left_root), Tree(right_root)
    try:
        result = Comparison()
        for path in sorted(left.entries.keys() | right.entries.keys()):
            if path not in right.entries or path not in left.entries:
                result.differences.append(f"only in {'B' if path in right.entries else 'A'}: {_shown(path)}")
                continue
            kind = _kind(left.entries[path])
            result.kinds[kind] = result.kinds.get(kind, 0) + 1
            for what in _entry_differences(left, right, path, result):
                result.differences.append(f"{what}: {_shown(path)}")
        result.differences += _hard_link_differences(left, right)
        result.hard_links = len(set(left.hard_links().values()))
        return result
    finally:
        left.close()
        right.close()


def _shown(path: bytes) -> str:
    """A path on one line, whatever is in it."""
    return repr(os.fsdecode(path or b"."))


def _kind(status: os.stat_result) -> str:
    return _KINDS[stat.S_IFMT(status.st_mode)]


def _entry_differences(left: Tree, right: Tree, path: bytes, result: Comparison) -> Iterator[str]:
    a, b = left.entries[path], right.entries[path]
    if _kind(a) != _kind(b):
        yield f"type {_kind(a)} != {_kind(b)}"
        return
    if stat.S_IMODE(a.st_mode) != stat.S_IMODE(b.st_mode):
        yield f"mode {stat.S_IMODE(a.st_mode):04o} != {stat.S_IMODE(b.st_mode):04o}"
    if (a.st_uid, a.st_gid) != (b.st_uid, b.st_gid):
        yield f"owner {a.st_uid}:{a.st_gid} != {b.st_uid}:{b.st_gid}"
    if a.st_mtime_ns != b.st_mtime_ns:
        yield f"mtime {a.st_mtime_ns} != {b.st_mtime_ns}"
    try:
        yield from _content_differences(left.place(path), right.place(path), a, b, result)
        yield from _xattr_differences(left.place(path), right.place(path), result)
    except OSError as error:
        yield f"cannot read ({error.strerror})"


def _content_differences(
    left: bytes, right: bytes, a: os.stat_result, b: os.stat_result, result: Comparison
) -> Iterator[str]:
    if stat.S_ISLNK(a.st_mode) and (one := os.readlink(left)) != (other := os.readlink(right)):
        yield f"target {_shown(one)} != {_shown(other)}"
    if (stat.S_ISBLK(a.st_mode) or stat.S_ISCHR(a.st_mode)) and a.st_rdev != b.st_rdev:
        yield f"device {os.major(a.st_rdev)}:{os.minor(a.st_rdev)} != {os.major(b.st_rdev)}:{os.minor(b.st_rdev)}"
    if stat.S_ISREG(a.st_mode):
        if a.st_size != b.st_size:
            yield f"size {a.st_size} != {b.st_size}"
        elif (offset := _first_difference(left, right)) is not None:
            yield f"content from byte {offset}"
        result.content += a.st_size


def _first_difference(left: bytes, right: bytes) -> int | None:
    """Offset of the first byte that differs, or where the shorter one ends; None when equal."""
    here, there = bytearray(BLOCK), bytearray(BLOCK)
    offset = 0
    with open(left, "rb", buffering=0) as one, open(right, "rb", buffering=0) as other:
        while True:
            sizes = one.readinto(here), other.readinto(there)
            shorter = min(sizes)
            if memoryview(here)[:shorter] != memoryview(there)[:shorter]:
                return offset + next(place for place in range(shorter) if here[place] != there[place])
            if sizes[0] != sizes[1]:
                return offset + shorter
            if not shorter:
                return None
            offset += shorter


def _xattrs(path: bytes) -> dict[str, bytes]:
    names = set(os.listxattr(path, follow_symlinks=False)) - _IGNORED_XATTRS
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def _xattr_differences(left: bytes, right: bytes, result: Comparison) -> Iterator[str]:
    a, b = _xattrs(left), _xattrs(right)
    result.xattrs += len(a)
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            yield f"xattr {name!r} {_excerpt(a.get(name))} != {_excerpt(b.get(name))}"


def _excerpt(value: bytes | None) -> str:
    if value is None:
        return "missing"
    return repr(value) if len(value) <= 40 else f"{value[:40]!r}… ({len(value)} bytes)"


def _hard_link_differences(left: Tree, right: Tree) -> Iterator[str]:
    a, b = left.hard_links(), right.hard_links()
    reported: set[bytes] = set()
    for path in sorted(a.keys() | b.keys()):
        one, other = a.get(path, frozenset({path})), b.get(path, frozenset({path}))
        if one != other and path not in reported:
            reported |= one | other
            yield f"hard links {sorted(map(_shown, one))} != {sorted(map(_shown, other))}: {_shown(path)}"
