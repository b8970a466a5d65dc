"""What a power cut can leave of a store: the states that POSIX allows after a given operation of a recorded log.

Everything covered by a completed sync is there. Of the rest, each change to a file is there or not, each write
perhaps only in some of its 512-byte sectors, or only as length with zeros; later ones may be there without
earlier ones. Names are there or not, whatever became of what they name. A sync under way at the cut needs no case
of its own: whatever it managed to do is one of the subsets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice, product
from math import prod
from random import Random

from tests.support.image import Image
from tests.support.memorystore import Folder, MemoryStore
from tests.support.recordingstore import (
    FOLDER,
    GONE,
    Allocate,
    FailedSync,
    FileChange,
    Names,
    OperationLog,
    Step,
    Sync,
    SyncFolder,
    Truncate,
    Write,
)

SECTOR = 512
"""The bytes a disk writes wholly or not at all."""

ABSENT = 0
"""A choice: nothing of the change is there. Other choices are sets of bits: sectors of a write, or steps of names."""
ONLY_LENGTH = -1
"""A choice: of a write only the new length is there."""

_MAX_BUILT = 1000


class Fate(Enum):
    """What is known of a change whose turn to become part of the durable image has not come."""

    OPEN = "no sync yet"
    SYNCED = "covered by a sync, but on top of one that is lost"
    LOST = "a sync of it failed"


@dataclass(slots=True)
class PendingChange:
    """A change to a file that is not part of its durable image."""

    position: int
    change: FileChange
    fate: Fate = Fate.OPEN


@dataclass(slots=True)
class PendingNames:
    """The steps of an operation on names that no sync of their folder has covered."""

    position: int
    steps: list[Step]
    whole: bool
    """Whether none of its steps is durable yet; a proper file system then does all of them or none."""


Pending = PendingChange | PendingNames
Choices = tuple[int, ...]


class CrashSimulator:
    """The durable state after `at` operations of a log, and what is pending on top of it."""

    def __init__(self, log: OperationLog) -> None:
        self.log = log
        self.at = 0
        self._images: dict[int, Image] = {}
        self._places: dict[int, set[tuple[str, str]]] = {}
        self._node_at: dict[tuple[str, str], int] = {}
        self._tree: dict[str, Folder] = {folder: {} for folder in log.initial.tree}
        self._changes: dict[int, list[PendingChange]] = {}
        self._names: list[PendingNames] = []
        self._built: dict[tuple[object, ...], Image] = {}
        for folder, content in log.initial.tree.items():
            for name, image in content.items():
                node = log.initial_nodes[f"{folder}/{name}" if folder else name] if image else FOLDER
                if image:
                    self._images[node] = image
                self._make_durable(Step(folder, name, node))

    def advance(self, at: int) -> None:
        """Go on to a later position in the log; there is no way back."""
        if at < self.at:
            raise ValueError(f"already past {at} operations")
        for position in range(self.at, at):
            operation = self.log.operations[position]
            match operation:
                case Write() | Truncate() | Allocate():
                    self._changes.setdefault(operation.node, []).append(PendingChange(position, operation))
                case Sync(node):
                    self._sync(node)
                case FailedSync(node):
                    for pending in self._changes.get(node, ()):
                        if pending.fate is Fate.OPEN:
                            pending.fate = Fate.LOST
                case Names(steps):
                    self._prepare(steps)
                    self._names.append(PendingNames(position, list(steps), whole=True))
                case SyncFolder(folder):
                    self._sync_folder(folder)
        self.at = at

    def pending(self) -> list[Pending]:
        """What may or may not be there, in the order of the log; changes to files no name can reach are left out."""
        named = {step.node for names in self._names for step in names.steps}
        found: list[Pending] = list(self._names)
        for node in list(self._changes):
            if node in named or self._places.get(node):
                found += self._changes[node]
            else:
                del self._changes[node]
        return sorted(found, key=lambda pending: pending.position)

    def options(self, item: Pending, *, poor: bool) -> list[int]:
        """The choices tried for one pending thing: least first, everything last."""
        everything = _everything(item)
        if isinstance(item, PendingNames):
            return [ABSENT, everything] if item.whole and not poor else list(range(everything + 1))
        if item.fate is Fate.SYNCED:
            return [everything]
        choices = [ABSENT]
        change = item.change
        if isinstance(change, Write) and change.offset + change.size > self._images[change.node].size:
            choices.append(ONLY_LENGTH)
        if everything > 1:
            choices += [1, everything - 1]
        return [*choices, everything]

    def build(self, pending: list[Pending], choices: Choices, description: str) -> MemoryStore:
        """The store that is left if of `pending` (from `pending()`) what `choices` say is there."""
        tree = {path: dict(content) for path, content in self._tree.items()}
        chosen: dict[int, list[tuple[PendingChange, int]]] = {}
        for item, choice in zip(pending, choices, strict=True):
            if isinstance(item, PendingChange):
                chosen.setdefault(item.change.node, []).append((item, choice))
        images = {node: self._changed(node, changes) for node, changes in chosen.items()}
        for node, image in images.items():
            for folder, name in self._places.get(node, ()):
                tree[folder][name] = image
        folders_pending = False
        for item, choice in zip(pending, choices, strict=True):
            if isinstance(item, PendingNames):
                folders_pending |= item.steps[0].node == FOLDER
                for bit, step in enumerate(item.steps):
                    if choice >> bit & 1:
                        _name(tree, step, images.get(step.node) or self._images.get(step.node))
        if folders_pending:
            _prune(tree)
        return MemoryStore(tree, description=description)

    def _changed(self, node: int, changes: list[tuple[PendingChange, int]]) -> Image:
        """A file's durable image with the chosen parts of its pending changes."""
        # Once pending, a change stays so until it is durable: its position says which image it is on top of.
        key = (node, *((pending.position, choice) for pending, choice in changes))
        image = self._built.get(key)
        if image is None:
            if len(self._built) >= _MAX_BUILT:
                self._built.clear()
            image = self._built[key] = self._images[node].copy()
            for pending, choice in changes:
                _apply(image, pending.change, choice)
        return image

    def _sync(self, node: int) -> None:
        """All changes to a file become durable, except that nothing brings back those that are lost."""
        waiting = self._changes.pop(node, [])
        for pending in waiting:
            if pending.fate is Fate.OPEN:
                pending.fate = Fate.SYNCED
        done = 0
        while done < len(waiting) and waiting[done].fate is Fate.SYNCED:
            done += 1
        if done:
            image = self._images[node].copy()
            for pending in waiting[:done]:
                _apply(image, pending.change, _everything(pending))
            self._images[node] = image
            for folder, name in self._places.get(node, ()):
                self._tree[folder][name] = image
        if done < len(waiting):
            self._changes[node] = waiting[done:]

    def _sync_folder(self, folder: str) -> None:
        for names in self._names:
            durable = [step for step in names.steps if step.folder == folder]
            if durable:
                names.steps = [step for step in names.steps if step.folder != folder]
                names.whole = False
                for step in durable:
                    self._make_durable(step)
        self._names = [names for names in self._names if names.steps]

    def _prepare(self, steps: tuple[Step, ...]) -> None:
        """Give a new file its empty image, and a new folder somewhere to sync its names to."""
        for step in steps:
            if step.node == FOLDER:
                self._tree.setdefault(_join(step), {})
            elif step.node != GONE:
                self._images.setdefault(step.node, Image())

    def _make_durable(self, step: Step) -> None:
        place = (step.folder, step.name)
        if (before := self._node_at.pop(place, None)) is not None:
            self._places[before].discard(place)
        if step.node not in (GONE, FOLDER):
            self._places.setdefault(step.node, set()).add(place)
            self._node_at[place] = step.node
        _name(self._tree, step, self._images.get(step.node))


def crash_states(
    log: OperationLog | CrashSimulator, at: int, *, rng: Random, limit: int = 32, poor: bool = False
) -> Iterator[MemoryStore]:
    """Stores that a power cut right after the first `at` operations could leave, at most `limit` (at least 8).

    All of them if there are no more than that, except that of each write only typical tears are tried; else the
    extremes first, then random ones. On a `poor` file system (FAT) a rename may be half done. Going through
    increasing `at` with one CrashSimulator is faster than starting from the log each time. Each store may be
    used and changed freely.
    """
    simulator = log if isinstance(log, CrashSimulator) else CrashSimulator(log)
    simulator.advance(at)
    pending = simulator.pending()
    options = [simulator.options(item, poor=poor) for item in pending]
    if prod(map(len, options)) <= limit:
        cases: Iterator[Choices] = product(*options)
    else:
        cases = islice(_distinct(_samples(pending, options, rng)), limit)
    for number, choices in enumerate(cases):
        yield simulator.build(pending, choices, f"power cut after {at} operations, case {number}")


def _samples(pending: list[Pending], options: list[list[int]], rng: Random) -> Iterator[Choices]:
    """The extremes, then random choices for ever."""
    none = [choices[0] for choices in options]
    everything = [choices[-1] for choices in options]
    names = [isinstance(item, PendingNames) for item in pending]
    count = len(pending)

    def mixed(chosen: list[bool]) -> Choices:
        return tuple(all_ if there else no for all_, no, there in zip(everything, none, chosen, strict=True))

    yield tuple(none)
    yield tuple(everything)
    yield mixed([index == count - 1 for index in range(count)])
    yield mixed([index != count - 1 for index in range(count)])
    yield mixed([index % 2 == 0 for index in range(count)])
    yield mixed([index % 2 == 1 for index in range(count)])
    yield mixed(names)
    yield mixed([not name for name in names])
    while True:
        if rng.random() < 0.25:
            cut = rng.randrange(count + 1)
            yield mixed([index < cut for index in range(count)])
            continue
        density = rng.choice((0.1, 0.5, 0.9))
        yield tuple(_random_choice(item, choices, density, rng) for item, choices in zip(pending, options, strict=True))


def _random_choice(item: Pending, options: list[int], density: float, rng: Random) -> int:
    """Everything of a change with the given probability, else some of it or nothing."""
    if len(options) == 1:
        return options[0]
    if rng.random() < density:
        return options[-1]
    if isinstance(item, PendingChange) and (everything := _everything(item)) > 1 and rng.random() < 0.5:
        return rng.randrange(1, everything + 1)
    return rng.choice(options)


def _distinct(cases: Iterator[Choices]) -> Iterator[Choices]:
    """Each case once; gives up when new ones have become rare."""
    seen: set[Choices] = set()
    repeated = 0
    for choices in cases:
        if choices in seen:
            repeated += 1
            if repeated > 100:
                return
        else:
            seen.add(choices)
            repeated = 0
            yield choices


def _everything(item: Pending) -> int:
    """The choice of all there is to a change."""
    if isinstance(item, PendingNames):
        return (1 << len(item.steps)) - 1
    if isinstance(item.change, Write):
        return (1 << len(_sectors(item.change))) - 1
    return 1


def _sectors(write: Write) -> range:
    """The file's sectors that a write touches."""
    return range(write.offset // SECTOR, (write.offset + write.size + SECTOR - 1) // SECTOR) if write.size else range(0)


def _apply(image: Image, change: FileChange, choice: int) -> None:
    """Do to an image what the choice says is there of a change."""
    if choice == ABSENT:
        return
    match change:
        case Truncate():
            image.truncate(change.size)
        case Allocate():
            image.truncate(max(image.size, change.size))
        case Write() if choice == ONLY_LENGTH:
            image.truncate(max(image.size, change.offset + change.size))
        case Write():
            _write_sectors(image, change, choice)


def _write_sectors(image: Image, write: Write, chosen: int) -> None:
    sectors = _sectors(write)
    if chosen == (1 << len(sectors)) - 1:
        image.write(write.data, write.offset)
        return
    for bit, sector in enumerate(sectors):
        if chosen >> bit & 1:
            start = max(sector * SECTOR - write.offset, 0)
            end = (sector + 1) * SECTOR - write.offset
            image.write(write.data[start:end], write.offset + start)


def _name(tree: dict[str, Folder], step: Step, image: Image | None) -> None:
    """Do one step to a tree; in a folder that is not there nothing happens."""
    content = tree.get(step.folder)
    if content is None:
        return
    if step.node == GONE:
        content.pop(step.name, None)
    else:
        content[step.name] = image


def _prune(tree: dict[str, Folder]) -> None:
    """Take away the folders whose own name is not there, with all they hold."""
    for path in sorted(tree):
        parent, _, name = path.rpartition("/")
        if path and name not in tree.get(parent, ()):
            del tree[path]


def _join(step: Step) -> str:
    return f"{step.folder}/{step.name}" if step.folder else step.name
