"""Compares what a vault holds after a crash with what its writers were promised."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from _powercut.cells import CELL, Cell, read_cell
from _powercut.journal import Step
from _powercut.writer import ATTRIBUTE


class Found(NamedTuple):
    """One name in the vault. `kind` is of S_IFMT; `value` a link's target or the attribute; `read` gives content."""

    kind: int
    inode: int
    links: int
    mode: int
    size: int
    value: str
    read: Callable[[], bytes]


Tree = dict[str, Found]


def found_on_disk(top: Path) -> Tree:
    """Everything below a directory, through the kernel. Raises OSError for what cannot be looked at."""
    tree: Tree = {}
    for folder, folders, files in os.walk(top, onerror=_raise):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            kind = stat.S_IFMT(status.st_mode)
            value = os.readlink(path) if kind == stat.S_IFLNK else _attribute(path) if kind == stat.S_IFREG else ""
            tree[str(path.relative_to(top))] = Found(
                kind, status.st_ino, status.st_nlink, stat.S_IMODE(status.st_mode), status.st_size, value,
                path.read_bytes,
            )  # fmt: skip
    return tree


def _raise(error: OSError) -> None:
    raise error


def _attribute(path: Path) -> str:
    try:
        return os.getxattr(path, ATTRIBUTE).decode()
    except OSError:
        return ""


def fingerprint(tree: Tree) -> str:
    """A digest of all names, attributes and bytes."""
    digest = hashlib.blake2b()
    for path in sorted(tree):
        found = tree[path]
        digest.update(repr((path, *found[2:6])).encode())
        if found.kind == stat.S_IFREG:
            digest.update(found.read())
    return digest.hexdigest()


@dataclass
class _Promise:
    """What must be there of one cell: at least `version`, of that one at least `length` bytes; 0: nothing."""

    version: int = 0
    length: int = 0


@dataclass
class _Content:
    """A file's content: `promised` by cell and at least `size` bytes; `newest` version begun by cell."""

    mode: int = 0o644
    value: str = ""
    promised: dict[int, _Promise] = field(default_factory=dict)
    newest: dict[int, _Promise] = field(default_factory=dict)
    size: int = 0
    newest_size: int = 0

    def write(self, cells: list[int], version: int, size: int) -> None:
        for cell in cells:
            self.newest[cell] = _Promise(version, min(CELL, size - cell * CELL))
        self.newest_size = max(self.newest_size, size)

    def truncate(self, size: int, *, is_done: bool) -> None:
        """What was promised behind the new size no longer is, once it may have been asked for."""
        self.size = min(self.size, size)
        for cell in [cell for cell in self.promised if cell * CELL >= size]:
            del self.promised[cell]
        if is_done:
            self.newest_size = size
            for cell in [cell for cell in self.newest if cell * CELL >= size]:
                del self.newest[cell]

    def promise(self) -> None:
        """Everything written so far is durable."""
        self.promised = {cell: replace(newest) for cell, newest in self.newest.items()}
        self.size = self.newest_size


class Verdict(NamedTuple):
    """How many files had promises, and what was wrong, one sentence each."""

    files: int
    promised: int
    problems: list[str]


class Judge:
    """Judges one writer's part of a tree. `closing_is_durable`: the store itself lost nothing (kill -9 of vaultfs)."""

    def __init__(self, number: int, steps: list[Step], closing_is_durable: bool) -> None:
        self._prefix = f"w{number}-"
        self._steps = steps
        self._durable = {"fsync", "sync_folder"}
        if closing_is_durable:
            self._durable |= {"close"}
        self._everything = closing_is_durable
        self._names: dict[str, tuple[int, str | int]] = {}
        self._contents: dict[int, _Content] = {}

    def judge(self, tree: Tree) -> Verdict:
        """Find the step that the names are from, then hold every file's content against what it had to keep."""
        own = {path: found for path, found in tree.items() if self._is_own(path)}
        least = self._least()
        worst = ["the names are not those of any moment between the last promise and the crash"]
        matched = False
        for count in range(len(self._steps) + 1):
            if count:
                self._apply(self._steps[count - 1])
            if count < least or not self._same_names(own):
                continue
            contents = self._promises(count)
            problems = self._content_problems(own, contents)
            if not problems:
                files = {int(value) for kind, value in self._names.values() if kind == stat.S_IFREG}
                return Verdict(len(files), sum(1 for file in files if contents[file].promised), [])
            worst, matched = problems, True
        if not matched:
            worst += self._differences(own, least)
        return Verdict(len(own), 0, [f"{self._prefix}: {problem}" for problem in worst])

    def _is_own(self, path: str) -> bool:
        parts = path.split("/")
        return len(parts) > 1 and parts[1].startswith(self._prefix)

    def _least(self) -> int:
        """How many steps must be there: those before the last promise, for a fsync covers all that came before it."""
        least = 0
        for count, step in enumerate(self._steps, 1):
            if step.done and not step.error and (self._everything or step.kind in self._durable):
                least = count
        return least

    def _apply(self, step: Step) -> None:
        """Take over what a step changes in names and attributes; content is taken in `_content_problems`."""
        if step.error:
            return
        arguments = step.arguments
        match step.kind:
            case "create":
                self._names[arguments[0]] = (stat.S_IFREG, arguments[1])
                self._contents[arguments[1]] = _Content()
            case "mkdir":
                self._names[arguments[0]] = (stat.S_IFDIR, "")
            case "symlink":
                self._names[arguments[1]] = (stat.S_IFLNK, arguments[0])
            case "unlink" | "rmdir":
                del self._names[arguments[0]]
            case "rename" | "replace":
                self._names[arguments[1]] = self._names.pop(arguments[0])
            case "link":
                self._names[arguments[1]] = self._names[arguments[0]]
            case "chmod":
                self._content_of(arguments[0]).mode = arguments[1]
            case "attribute":
                self._content_of(arguments[0]).value = arguments[1]

    def _content_of(self, name: str) -> _Content:
        return self._contents[int(self._names[name][1])]

    def _same_names(self, own: Tree) -> bool:
        if own.keys() != self._names.keys():
            return False
        links: dict[int, int] = {}
        for kind, value in self._names.values():
            if kind == stat.S_IFREG:
                links[int(value)] = links.get(int(value), 0) + 1
        for path, (kind, value) in self._names.items():
            found = own[path]
            if found.kind != kind or (kind == stat.S_IFLNK and found.value != value):
                return False
            if kind == stat.S_IFREG:
                content = self._contents[int(value)]
                if (found.links, found.mode, found.value) != (links[int(value)], content.mode, content.value):
                    return False
        return True

    def _differences(self, own: Tree, least: int) -> Iterator[str]:
        """What there is too much and too little of, against the last step."""
        yield f"{least} to {len(self._steps)} of {len(self._steps)} steps were possible"
        for path in sorted(own.keys() ^ self._names.keys())[:5]:
            yield f"{path[:60]} {'should not' if path in own else 'should'} be there at the last step"

    def _content_problems(self, own: Tree, contents: dict[int, _Content]) -> list[str]:
        problems: list[str] = []
        for path, found in own.items():
            if found.kind == stat.S_IFREG:
                file = int(self._names[path][1])
                problems += [f"{path[:60]}: {problem}" for problem in _problems(file, contents[file], found)]
        return problems

    def _promises(self, count: int) -> dict[int, _Content]:
        """Every file's promises if the names are from after `count` steps."""
        contents: dict[int, _Content] = {}
        names: dict[str, int] = {}
        for position, step in enumerate(self._steps, 1):
            arguments = step.arguments
            worked = step.done and not step.error
            match step.kind:
                case "create":
                    contents[arguments[1]] = _Content()
                    names[arguments[0]] = arguments[1]
                case "write":
                    contents[arguments[0]].write(arguments[1], arguments[2], arguments[3])
                case "truncate" if not step.error:
                    contents[arguments[0]].truncate(arguments[1], is_done=step.done)
                case "fsync" | "close" if worked and step.kind in self._durable:
                    contents[arguments[0]].promise()
                case "replace" | "rename" | "link" if not step.error and arguments[0] in names:
                    file = names[arguments[0]]
                    if step.kind != "link":
                        del names[arguments[0]]
                    names[arguments[1]] = file
                    # The new content comes with the new name, synced or not.
                    if step.kind == "replace" and position <= count:
                        contents[file].promise()
        return contents


def _problems(file: int, content: _Content, found: Found) -> Iterator[str]:
    """What is wrong with one file's bytes."""
    try:
        data = found.read()
    except Exception as error:
        yield f"cannot be read: {error}"
        return
    if len(data) < content.size:
        yield f"has {len(data)} bytes, was promised {content.size}"
    for number in range(-(-len(data) // CELL)):
        try:
            cell = read_cell(data[number * CELL : (number + 1) * CELL])
        except ValueError as error:
            yield f"cell {number}: {error}"
            continue
        problem = _cell_problem(file, number, cell, content)
        if problem:
            yield f"cell {number}: {problem}"


def _cell_problem(file: int, number: int, cell: Cell | None, content: _Content) -> str:
    promised = content.promised.get(number, _Promise())
    if cell is None:
        return f"zeros instead of version {promised.version}" if promised.version else ""
    if (cell.file, cell.number) != (file, number):
        return f"is cell {cell.number} of file {cell.file}"
    if cell.version < promised.version:
        return f"version {cell.version} instead of {promised.version}"
    if cell.version == promised.version and cell.length < promised.length:
        return f"{cell.length} bytes instead of {promised.length}"
    return ""
