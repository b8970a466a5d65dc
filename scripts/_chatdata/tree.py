"""A planned directory tree as values, and putting it on disk: content, then owners, modes, xattrs and times."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from _chatdata.filler import Pool
from _chatdata.formats import MAKERS

SECOND = 1_000_000_000
"""In nanoseconds, which all times are in."""

_LAST_CHANGE = 1_735_600_000 * SECOND
"""For folders that nothing says the time of: the end of the chats."""


@dataclass(frozen=True, slots=True)
class Node:
    """One name in the tree: a path relative to its root, permissions, and a modification time in ns."""

    path: bytes
    mode: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Folder(Node):
    """A directory; parents that nothing mentions are made on the way."""


@dataclass(frozen=True, slots=True)
class File(Node):
    """A regular file of `size` bytes; equal labels and formats give equal bytes.

    `holes` cuts it up: only the first 4 KiB of each MiB are written. `owner` needs root, and is ignored without.
    """

    format: str
    size: int
    label: bytes
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    holes: bool = False
    owner: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Symlink(Node):
    """A symbolic link; `mode` is what Linux shows, and not set."""

    target: bytes


@dataclass(frozen=True, slots=True)
class HardLink(Node):
    """Another name of the file at `to`; mode and time are that file's."""

    to: bytes


@dataclass(frozen=True, slots=True)
class Fifo(Node):
    """A named pipe."""


class Writer:
    """Puts nodes below one directory. Paths may be as long as PATH_MAX, whatever the root's own path."""

    def __init__(self, root: Path, pool: Pool) -> None:
        self._pool = pool
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._base = b"/proc/self/fd/%d/" % self._descriptor
        self._folders: set[bytes] = {b""}

    def write(self, nodes: Iterable[Node]) -> None:
        """Make every node, then give the folders their modes and times, the deepest first."""
        known = sorted(nodes, key=lambda node: isinstance(node, HardLink))
        for node in known:
            if not isinstance(node, Folder):
                self._make_parents(node.path)
                self._make(node)
        folders = {node.path: node for node in known if isinstance(node, Folder)}
        for path in folders:
            self._make_parents(path + b"/")
        for path in sorted(self._folders, key=lambda name: name.count(b"/") + bool(name), reverse=True):
            node = folders.get(path, Folder(path, 0o755, _LAST_CHANGE - len(path) * SECOND - 1))
            os.chmod(self._base + path, node.mode)
            os.utime(self._base + path, ns=(node.mtime, node.mtime))

    def close(self) -> None:
        """Let go of the root."""
        os.close(self._descriptor)

    def _make_parents(self, path: bytes) -> None:
        parent = path.rpartition(b"/")[0]
        if parent not in self._folders:
            self._make_parents(parent)
            os.makedirs(self._base + parent, exist_ok=True)
            self._folders.add(parent)

    def _make(self, node: Node) -> None:
        place = self._base + node.path
        match node:
            case HardLink(to=to):
                os.link(self._base + to, place, follow_symlinks=False)
                return
            case Symlink(target=target):
                os.symlink(target, place)
            case Fifo():
                os.mkfifo(place)
                os.chmod(place, node.mode)
            case File():
                self._make_file(node, place)
        os.utime(place, ns=(node.mtime, node.mtime), follow_symlinks=False)

    def _make_file(self, node: File, place: bytes) -> None:
        with open(place, "xb") as file:
            filler = self._pool.filler(node.format.encode() + b" " + node.label)
            if node.holes:
                for offset in range(0, node.size, 1 << 20):
                    file.seek(offset)
                    file.writelines(filler.take(4096))
                file.truncate(node.size)
            else:
                file.writelines(MAKERS[node.format](filler, node.size))
            for name, value in node.xattrs.items():
                os.setxattr(file.fileno(), name, value)
            if node.owner and os.geteuid() == 0:
                os.fchown(file.fileno(), *node.owner)
            os.fchmod(file.fileno(), node.mode)
