"""One writer: works through a mount at random, in folders it shares with others, and logs what it was promised.

Run as `writer.py MOUNT LOG NUMBER SEED SECONDS [CLASHES]`. Ends early, without complaint, when the mount dies.
"""

import errno
import os
import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

from _powercut.cells import CELL, LEAST, make_cell
from _powercut.journal import Log

FOLDERS = 4
"""How many folders all writers share: `d0`, `d1`, …"""
ATTRIBUTE = "user.step"

_MOST_BYTES = 24 << 20
_DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV, errno.EROFS)


class _File:
    """A file as its writer knows it: `size` in bytes, `names` the paths it has."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.size = 0
        self.version = 0
        self.names: list[str] = []


class MountDied(Exception):
    """The file system went away."""


class _Choice(NamedTuple):
    weight: int
    name: str


_CHOICES = (
    _Choice(22, "make"),
    _Choice(14, "replace"),
    _Choice(10, "overwrite"),
    _Choice(10, "append"),
    _Choice(4, "truncate"),
    _Choice(10, "rename"),
    _Choice(6, "link"),
    _Choice(12, "unlink"),
    _Choice(4, "symlink"),
    _Choice(5, "mkdir"),
    _Choice(3, "rmdir"),
    _Choice(4, "chmod"),
    _Choice(4, "attribute"),
    _Choice(3, "sync_folder"),
)


class Writer:
    """The state of one writer: its files, folders and links by path relative to the mount."""

    def __init__(self, top: str, log: Log, number: int, seed: str, clashes: bool) -> None:
        self._top = top
        self._log = log
        self._prefix = f"w{number}-"
        self._clashes = clashes
        self._rng = random.Random(seed)
        self._next = number << 32
        self._files: dict[int, _File] = {}
        self._by_name: dict[str, _File] = {}
        self._folders: list[str] = []
        self._links: list[str] = []

    def run(self, seconds: float) -> None:
        """Work until the time is over; raises MountDied."""
        end = time.monotonic() + seconds
        weights = [choice.weight for choice in _CHOICES]
        while time.monotonic() < end:
            name = self._rng.choices(_CHOICES, weights)[0].name
            if sum(file.size for file in self._files.values()) > _MOST_BYTES:
                name = "unlink"
            getattr(self, f"_{name}")()
            if self._clashes and self._rng.random() < 0.2:
                self._clash()

    # Choosing

    def _path(self, name: str) -> str:
        return f"{self._top}/{name}"

    def _new_name(self) -> str:
        self._next += 1
        parents = [f"d{number}" for number in range(FOLDERS)] + self._folders[-8:]
        padding = "x" * self._rng.choice((0, 0, 0, 40, 180))
        return f"{self._rng.choice(parents)}/{self._prefix}{self._next & 0xFFFFFFFF}{padding}"

    def _some_name(self) -> str | None:
        return self._rng.choice(list(self._by_name)) if self._by_name else None

    def _size(self) -> int:
        """Bytes: mostly small, at times several chunks, seldom more than a segment's first hundred."""
        cells = self._rng.choice((0, 1, 1, 2, 3, 5, 8, 16, 17, 40, 100, 300, 1500))
        tail = self._rng.choice((0, 0, self._rng.randrange(LEAST, CELL)))
        return cells * CELL + tail

    # Asking

    def _ask(self, kind: str, *arguments: object) -> bool:
        """Log an operation, carry it out, log the answer; False if it was refused."""
        self._log.begin(kind, *arguments)
        try:
            getattr(self, f"_do_{kind}")(*arguments)
        except OSError as error:
            if error.errno in _DEAD:
                raise MountDied from error
            self._log.end(error.errno or errno.EIO)
            return False
        self._log.end()
        return True

    def _do_create(self, name: str, _file: int) -> None:
        self._open = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)

    def _do_open(self, name: str, _file: int) -> None:
        self._open = os.open(self._path(name), os.O_RDWR)

    def _do_close(self, _file: int) -> None:
        descriptor, self._open = self._open, -1
        os.close(descriptor)

    def _do_write(self, file: int, cells: list[int], version: int, size: int) -> None:
        """Neighbouring cells in one write(2), as programs do."""
        run: list[int] = []
        for cell in [*cells, -1]:
            if run and (cell != run[-1] + 1 or len(run) == 64):
                data = b"".join(make_cell(file, number, version) for number in run)
                place = run[0] * CELL
                view = memoryview(data)[: size - place]
                while view:
                    done = os.pwrite(self._open, view, place)
                    view, place = view[done:], place + done
                run = []
            run.append(cell)

    def _do_truncate(self, _file: int, size: int) -> None:
        os.ftruncate(self._open, size)

    def _do_fsync(self, _file: int) -> None:
        os.fsync(self._open)

    def _do_rename(self, old: str, new: str) -> None:
        os.rename(self._path(old), self._path(new))

    def _do_replace(self, old: str, new: str) -> None:
        self._do_rename(old, new)

    def _do_link(self, old: str, new: str) -> None:
        os.link(self._path(old), self._path(new))

    def _do_unlink(self, name: str) -> None:
        os.unlink(self._path(name))

    def _do_symlink(self, target: str, name: str) -> None:
        os.symlink(target, self._path(name))

    def _do_mkdir(self, name: str) -> None:
        os.mkdir(self._path(name))

    def _do_rmdir(self, name: str) -> None:
        os.rmdir(self._path(name))

    def _do_chmod(self, name: str, mode: int) -> None:
        os.chmod(self._path(name), mode)

    def _do_attribute(self, name: str, value: str) -> None:
        os.setxattr(self._path(name), ATTRIBUTE, value.encode())

    def _do_sync_folder(self, name: str) -> None:
        descriptor = os.open(self._path(name), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # Working

    def _write(self, file: _File, cells: list[int], size: int) -> None:
        file.version += 1
        self._ask("write", file.number, cells, file.version, size)
        file.size = max(file.size, size)

    def _finish(self, file: _File, synced: float) -> bool:
        """Sync perhaps, and close."""
        done = self._rng.random() >= synced or self._ask("fsync", file.number)
        return self._ask("close", file.number) and done

    def _new_file(self, synced: float) -> tuple[_File, str] | None:
        name = self._new_name()
        file = _File(self._next)
        if not self._ask("create", name, file.number):
            return None
        file.names.append(name)
        self._files[file.number] = file
        self._by_name[name] = file
        size = self._size()
        if size:
            self._write(file, list(range(-(-size // CELL))), size)
        self._finish(file, synced)
        return file, name

    def _make(self) -> None:
        self._new_file(0.3)

    def _replace(self) -> None:
        """What a careful program does to change a file; half of them do not even sync."""
        target = self._some_name()
        made = self._new_file(0.5)
        if target is None or made is None or target not in self._by_name:
            return
        file, name = made
        if not self._ask("replace", name, target):
            return
        self._drop(target)
        self._renamed(file, name, target)

    def _rename(self) -> None:
        name = self._some_name()
        if name is None:
            return
        new = self._new_name()
        if self._ask("rename", name, new):
            self._renamed(self._by_name[name], name, new)

    def _renamed(self, file: _File, old: str, new: str) -> None:
        file.names[file.names.index(old)] = new
        del self._by_name[old]
        self._by_name[new] = file

    def _drop(self, name: str) -> None:
        file = self._by_name.pop(name)
        file.names.remove(name)
        if not file.names:
            del self._files[file.number]

    def _unlink(self) -> None:
        """Any name; the largest file's when there is too much."""
        if self._links and self._rng.random() < 0.1:
            if self._ask("unlink", self._links[0]):
                self._links.pop(0)
            return
        name = self._some_name()
        if sum(file.size for file in self._files.values()) > _MOST_BYTES:
            name = max(self._by_name, key=lambda found: self._by_name[found].size)
        if name is not None and self._ask("unlink", name):
            self._drop(name)

    def _opened(self) -> _File | None:
        name = self._some_name()
        if name is None or not self._ask("open", name, self._by_name[name].number):
            return None
        return self._by_name[name]

    def _overwrite(self) -> None:
        file = self._opened()
        if file is None:
            return
        whole = file.size // CELL
        if whole:
            first = self._rng.randrange(whole)
            count = self._rng.choice((1, 1, 2, 16, 64))
            cells = list(range(first, min(first + count, whole)))
            if self._rng.random() < 0.3:
                cells = sorted(self._rng.sample(range(whole), min(4, whole)))
            self._write(file, cells, (cells[-1] + 1) * CELL)
        self._finish(file, 0.5)

    def _append(self) -> None:
        file = self._opened()
        if file is None:
            return
        size = file.size + self._rng.choice((200, 1000, CELL, 5 * CELL, 40 * CELL))
        if 0 < size % CELL < LEAST:
            size += LEAST
        self._write(file, list(range(file.size // CELL, -(-size // CELL))), size)
        self._finish(file, 0.5)

    def _truncate(self) -> None:
        file = self._opened()
        if file is None:
            return
        size = self._rng.randrange(file.size // CELL + 1) * CELL
        if self._ask("truncate", file.number, size):
            file.size = size
        self._finish(file, 0.5)

    def _link(self) -> None:
        name = self._some_name()
        if name is None:
            return
        new = self._new_name()
        if self._ask("link", name, new):
            self._by_name[new] = self._by_name[name]
            self._by_name[new].names.append(new)

    def _symlink(self) -> None:
        name = self._new_name()
        if self._ask("symlink", f"nowhere/{self._next}", name):
            self._links.append(name)

    def _mkdir(self) -> None:
        name = self._new_name()
        if self._ask("mkdir", name):
            self._folders.append(name)

    def _rmdir(self) -> None:
        """One of the oldest, when it is empty by chance."""
        for name in self._folders[:-8]:
            used = (*self._by_name, *self._links, *self._folders)
            if not any(other.startswith(name + "/") for other in used):
                if self._ask("rmdir", name):
                    self._folders.remove(name)
                return

    def _chmod(self) -> None:
        name = self._some_name()
        if name is not None:
            self._ask("chmod", name, self._rng.choice((0o600, 0o640, 0o644, 0o755)))

    def _attribute(self) -> None:
        name = self._some_name()
        if name is not None:
            self._ask("attribute", name, f"{self._rng.random()}" * self._rng.choice((1, 1, 50)))

    def _sync_folder(self) -> None:
        self._ask("sync_folder", f"d{self._rng.randrange(FOLDERS)}")

    def _clash(self) -> None:
        """Fight with the others for a few names; who wins is not known, so nothing is logged."""
        names = [self._path(f"d{self._rng.randrange(FOLDERS)}/clash{self._rng.randrange(3)}") for _ in range(2)]
        try:
            match self._rng.randrange(4):
                case 0:
                    with open(names[0], "wb") as file:
                        file.write(make_cell(self._next, 0, 1) * self._rng.choice((1, 40)))
                case 1:
                    os.rename(names[0], names[1])
                case 2:
                    os.unlink(names[0])
                case 3:
                    os.link(names[0], names[1])
        except OSError as error:
            if error.errno in _DEAD:
                raise MountDied from error
            if error.errno not in (errno.ENOENT, errno.EEXIST):
                raise


def make_folders(top: Path) -> None:
    """Make the folders all writers share, durable."""
    for number in range(FOLDERS):
        (top / f"d{number}").mkdir()
    descriptor = os.open(top, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def main(top: str, log: str, number: str, seed: str, seconds: str, clashes: str = "") -> None:
    writer = Writer(top, Log(Path(log)), int(number), f"{seed} {number}", bool(clashes))
    try:
        writer.run(float(seconds))
    except MountDied:
        os._exit(0)  # what is open cannot be closed


if __name__ == "__main__":
    main(*sys.argv[1:])
