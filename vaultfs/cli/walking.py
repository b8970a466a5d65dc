"""Walks the tree of an open vault for commands that list or copy it; memory stays within the vault's budgets."""

import stat
from collections.abc import Iterator
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode

_EVICT_EVERY = 1000


class Step(NamedTuple):
    """One entry: its path below the start, its inode. A directory comes a second time, `leaving`, after its entries.

    `damage` says why a directory's entries, or an entry itself, cannot be read; `inode` is None in the latter case.
    """

    path: bytes
    inode: Inode | None
    leaving: bool
    damage: str


class TreeWalk:
    """Depth first, names in order, starting with the inode itself at path `b""`."""

    def __init__(self, inline: Inline, start: Inode) -> None:
        self._inline = inline
        self._vault = inline.vault
        self._start = start
        self._seen = 0

    def __iter__(self) -> Iterator[Step]:
        if not stat.S_ISDIR(self._start.mode):
            yield Step(b"", self._start, False, "")
            return
        self._vault.remember(self._start.id)
        yield Step(b"", self._start, False, "")
        # A stack of our own: a tree may be deeper than Python's.
        stack = [(b"", self._start, self._entries(b"", self._start))]
        while stack:
            path, inode, names = stack[-1]
            step = next(names, None)
            if step is None:
                self._vault.forget(inode.id, 1)
                stack.pop()
                yield Step(path, inode, True, "")
                continue
            yield step
            if step.inode is not None and stat.S_ISDIR(step.inode.mode):
                stack.append((step.path, step.inode, self._entries(step.path, step.inode)))

    def _entries(self, path: bytes, directory: Inode) -> Iterator[Step]:
        try:
            names = sorted(name for name, _ in self._inline.list_directory(directory.id))
        except Damaged as damage:
            yield Step(path, None, False, str(damage))
            return
        for name in names:
            self._seen += 1
            if self._seen % _EVICT_EVERY == 0:
                self._vault.evict()
            below = path + b"/" + name if path else name
            try:
                inode = self._inline.lookup(directory.id, name)
            except Damaged as damage:
                yield Step(below, None, False, str(damage))
                continue
            if stat.S_ISDIR(inode.mode):
                # So that it can be found by its id after what is not in use was forgotten, here or by another walk.
                self._vault.remember(inode.id)
            yield Step(below, inode, False, "")
