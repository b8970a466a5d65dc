"""Runs a workload over a recorded store, cuts the power at every operation, and judges what the vault recovers.

What must hold of every recovered vault: its metadata is what it was after some operation, none acknowledged by a sync
being missing; a file's bytes are those of one of its states since it was last made durable; nothing is unreadable.
"""

import random
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.support.crashstore import CrashSimulator, crash_states
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.harness import KEYS, ROOT, SMALL_CHUNK, TINY, Snapshot, differences, new_store, options, snapshot
from vaultfs.errors import FilesystemError
from vaultfs.store.api import Store
from vaultfs.vault.checkpointing import CheckpointJob
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.settings import Settings
from vaultfs.vault.syncing import SyncPlan
from vaultfs.vault.vault import Vault

Operation = tuple[object, ...]
CHUNK = SMALL_CHUNK


class Violation(AssertionError):
    """A recovered vault is not one that the operations and syncs before the cut allow."""


@dataclass(frozen=True)
class Acknowledged:
    """From log position `position` on, what operation number `index` left is durable: of one file, or of all."""

    position: int
    index: int
    file: int | None


@dataclass
class History:
    """What a workload did: the vault after each operation, and what was promised when."""

    shots: list[Snapshot]
    starts: list[int] = field(default_factory=list)
    """The log position each operation began at."""
    acknowledged: list[Acknowledged] = field(default_factory=list)
    replaced: list[tuple[int, int]] = field(default_factory=list)
    """(operation, file) of each rename of a file over another."""
    grown: list[tuple[int, int]] = field(default_factory=list)
    """(operation, file) of each truncate, and of each write that began behind the end of its file."""
    operations: list[Operation] = field(default_factory=list)


class Workload:
    """Carries operations out on a vault over a recorded store; names are paths below the top.

    `over` is a store that stands on the recorded one, if the vault is to be opened there; `refused` are the errors
    of operations that were refused.
    """

    def __init__(self, store: RecordingStore, settings: Settings = TINY, over: Store | None = None) -> None:
        self.store = store
        self.refused: list[FilesystemError] = []
        self._opened = over or store
        self._holds = False
        self.vault = Inline(Vault.open(self._opened, KEYS, options(settings=settings)))
        self.history = History([snapshot(self.vault)])
        self.job: CheckpointJob | None = None
        self.frozen_at = 0
        self.sync: tuple[SyncPlan, int, int | None] | None = None
        self._seed = 0

    def do(self, operation: Operation) -> bool:
        """Carry one operation out and note what the vault is now; False if it was refused."""
        index = len(self.history.shots)
        start = len(self.store.log)
        kind, *arguments = operation
        try:
            getattr(self, f"_{kind}")(index, *arguments)
        except FilesystemError as error:
            self.refused.append(error)
            return False
        self.history.starts.append(start)
        self.history.shots.append(snapshot(self.vault))
        self.history.operations.append(operation)
        return True

    def _place(self, path: bytes) -> tuple[int, bytes]:
        folder, _, name = path.rpartition(b"/")
        return self.vault.walk(folder).id, name

    def _acknowledge(self, index: int, file: int | None) -> None:
        self.history.acknowledged.append(Acknowledged(len(self.store.log), index, file))

    def _create(self, index: int, path: bytes, kind: int = stat.S_IFREG) -> None:
        parent, name = self._place(path)
        self.vault.create_inode(parent, name, kind | 0o644)

    def _mkdir(self, index: int, path: bytes) -> None:
        self._create(index, path, stat.S_IFDIR)

    def _write(self, index: int, path: bytes, offset: int | None, size: int) -> None:
        inode = self.vault.walk(path)
        self._seed += 1
        unit = b"%04d" % (index * 10 + self._seed % 10) + bytes(range(1, 8))
        data = (unit * (size // len(unit) + 1))[:size]
        offset = inode.size if offset is None else offset
        if offset > inode.size:
            self.history.grown.append((index, inode.id))
        self.vault.write(inode.id, offset, data)

    def _truncate(self, index: int, path: bytes, size: int) -> None:
        inode = self.vault.walk(path)
        self.history.grown.append((index, inode.id))
        self.vault.setattr(inode.id, SetAttr(size=size))

    def _chmod(self, index: int, path: bytes, mode: int) -> None:
        self.vault.setattr(self.vault.walk(path).id, SetAttr(mode=mode))

    def _xattr(self, index: int, path: bytes, value: bytes) -> None:
        self.vault.setxattr(self.vault.walk(path).id, b"user.x", value)

    def _rename(self, index: int, path: bytes, new_path: bytes, flags: int = 0) -> None:
        parent, name = self._place(path)
        new_parent, new_name = self._place(new_path)
        inode = self.vault.lookup(parent, name)
        replaces = dict(self.vault.list_directory(new_parent)).get(new_name, inode.id) != inode.id
        self.vault.rename(parent, name, new_parent, new_name, flags)
        if replaces and not flags:
            self.history.replaced.append((index, inode.id))

    def _link(self, index: int, path: bytes, new_path: bytes) -> None:
        parent, name = self._place(new_path)
        self.vault.link(self.vault.walk(path).id, parent, name)

    def _unlink(self, index: int, path: bytes) -> None:
        self.vault.unlink(*self._place(path))

    def _rmdir(self, index: int, path: bytes) -> None:
        self.vault.rmdir(*self._place(path))

    def _open(self, index: int, path: bytes) -> None:
        """Held open to the end."""
        self.vault.open_inode(self.vault.walk(path).id)

    def _fsync(self, index: int, path: bytes) -> None:
        inode = self.vault.walk(path)
        self.vault.fsync(inode.id)
        self._acknowledge(index, inode.id)

    def _sync(self, index: int) -> None:
        self.vault.fsync()
        self._acknowledge(index, None)

    def _begin_fsync(self, index: int, path: bytes) -> None:
        inode = self.vault.walk(path)
        if self.sync is None:
            self.sync = self.vault.vault.begin_sync(inode.id), index, inode.id
            self.sync[0].flush_content()

    def _end_fsync(self, index: int) -> None:
        if self.sync is not None:
            plan, begun, file = self.sync
            plan.mark()
            plan.flush_journal()
            plan.done()
            self._acknowledge(begun - 1, file)
            self.sync = None

    def _hold(self, index: int) -> None:
        """From here on, as in a mount."""
        self._holds = True
        self.vault.vault.hold_changes()

    def _write_out(self, index: int) -> None:
        self.vault.vault.write_out()

    def _evict(self, index: int) -> None:
        self.vault.vault.evict()

    def _checkpoint(self, index: int) -> None:
        while self.job is not None:
            self._go_on(index)
        if self.vault.vault.checkpoint():
            self._acknowledge(index, None)

    def _begin(self, index: int) -> None:
        if self.job is None:
            self.job = self.vault.vault.begin_checkpoint()
            self.frozen_at = index
            self._steps = iter((self._run_job, self._finish_job, self._clean_up_job))

    def _go_on(self, index: int) -> None:
        """The next step of a checkpoint that has begun."""
        if self.job is not None:
            next(self._steps)(self.job)

    def _run_job(self, job: CheckpointJob) -> None:
        job.run()
        self._acknowledge(self.frozen_at, None)

    def _finish_job(self, job: CheckpointJob) -> None:
        assert job.finish()

    def _clean_up_job(self, job: CheckpointJob) -> None:
        job.clean_up()
        self.job = None

    def _close(self, index: int) -> None:
        """A clean end, and a new beginning."""
        while self.job is not None:
            self._go_on(index)
        self._end_fsync(index)
        self.vault.vault.close()
        self._acknowledge(index - 1, None)
        self._reopen()

    def _kill(self, index: int) -> None:
        """The process dies, the machine does not: opened again, everything is there, but for what was held."""
        before = self.history.shots[-1]
        self.job = self.sync = None
        self._reopen()
        found = snapshot(self.vault)
        if self._holds:
            judge(self.history, len(self.store.log), found)
            self._acknowledge(index, None)
            return
        if lost := differences(before, found):
            raise Violation(f"after a kill: {lost}")
        self._acknowledge(index - 1, None)

    def _reopen(self) -> None:
        self.vault = Inline(Vault.open(self._opened, KEYS, options()))
        if self._holds:
            self.vault.vault.hold_changes()


def judge(history: History, position: int, shot: Snapshot) -> None:
    """Raise Violation unless a power cut at a log position may leave the vault as `shot` shows it."""
    done = [mark for mark in history.acknowledged if mark.position <= position]
    least = max([mark.index for mark in done], default=0)
    reasons = []
    for number in range(least, len(history.shots)):
        past = history.shots[number]
        if past.stats != shot.stats or past.names != shot.names:
            continue
        wrong = [
            problem
            for file, data in shot.contents.items()
            if (problem := _judge_content(history, done, number, file, data))
        ]
        if not wrong:
            return
        reasons.append(f"as after operation {number}, but {wrong}")
    if reasons:
        raise Violation("; ".join(reasons))
    nearest = min(
        (differences(history.shots[number], shot) for number in range(least, len(history.shots))), key=len
    )
    earlier = [n for n in range(least) if history.shots[n].stats == shot.stats and history.shots[n].names == shot.names]
    raise Violation(f"no state since {least} has this metadata (an earlier one: {earlier}): {nearest}")


def _judge_content(history: History, done: list[Acknowledged], number: int, file: int, data: bytes) -> str:
    """What is wrong with a file's bytes if the metadata is that of after operation `number`; empty if nothing."""
    durable = [mark.index for mark in done if mark.file in (None, file) and mark.index <= number]
    durable += [index for index, replaced in history.replaced if replaced == file and index <= number]
    since = max(durable, default=0)
    states = [
        shot.contents[file] for shot in history.shots[since : number + 1] if file in shot.contents
    ] or [b""]
    if file not in history.shots[since].contents:
        states.insert(0, b"")
    if data in states:
        return ""
    sizes = {len(state) for state in states}
    capped = len(data) % CHUNK == 0 and min(sizes) <= len(data) <= max(sizes)
    if len(data) not in sizes and not capped:
        return f"file {file} has {len(data)} bytes, not one of {sorted(sizes)}"
    grown = any(index > since and index <= number and which == file for index, which in history.grown)
    longest = max(sizes)
    padded = [state.ljust(longest, b"\0") if grown else state for state in states]
    for start in range(0, len(data), CHUNK):
        piece = data[start : start + CHUNK]
        if any(state[start : start + len(piece)] == piece for state in padded):
            continue
        for offset, byte in enumerate(piece, start):
            if not any(offset < len(state) and state[offset] == byte for state in padded):
                return f"file {file} has a byte at {offset} that it had at no time since operation {since}"
    return ""


def recover(store: Store, position: int, history: History) -> Snapshot:
    """Open what a cut left and judge it."""
    try:
        vault = Inline(Vault.open(store, KEYS, options()))
        shot = snapshot(vault)
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"cannot be opened or read: {type(error).__name__}: {error}") from error
    if vault.vault.read_only:
        raise Violation(f"opened read-only: {vault.vault.read_only_reason}")
    judge(history, position, shot)
    return shot


@dataclass
class Cutter:
    """Tries power cuts; `tried` counts the vaults recovered, `again` those whose recovery was cut as well."""

    rng: random.Random
    states: int = 8
    poor: bool = False
    cut_recovery: float = 0.02
    tried: int = 0
    again: int = 0

    def try_all(self, recording: RecordingStore, history: History) -> None:
        """Cut at every position of a log."""
        self.try_some(recording, history, share=1)

    def try_some(self, recording: RecordingStore, history: History, share: float) -> None:
        """Cut at a random share of the positions of a log."""
        simulator = CrashSimulator(recording.log)
        for position in range(len(recording.log) + 1):
            if self.rng.random() >= share:
                continue
            for store in crash_states(simulator, position, rng=self.rng, limit=self.states, poor=self.poor):
                self.try_one(store, position, history)

    def try_one(self, store: MemoryStore, position: int, history: History) -> None:
        """Recover one store, now and then from cuts of its recovery too."""
        self.tried += 1
        if self.rng.random() >= self.cut_recovery:
            self._judged(store, position, history, store.description)
            return
        recording = RecordingStore(store)
        shot = self._judged(recording, position, history, store.description)
        self.again += 1
        simulator = CrashSimulator(recording.log)
        end = len(recording.log)
        for later in range(end + 1):
            for second in crash_states(simulator, later, rng=self.rng, limit=self.states, poor=self.poor):
                self.tried += 1
                what = f"{store.description}, recovered, then {second.description} of {end}"
                found = self._judged(second, position, history, what)
                if later == end and (lost := differences(shot, found)):
                    raise Violation(f"{what}: the recovered vault changed: {lost}")

    def _judged(self, store: Store, position: int, history: History, what: str) -> Snapshot:
        try:
            return recover(store, position, history)
        except Violation as violation:
            steps = zip(history.operations, history.starts, strict=True)
            before = [str(step) for step, start in steps if start < position]
            raise Violation(f"{what}: {violation}\noperations begun: {'; '.join(before)}") from violation.__cause__


def prepared_store() -> MemoryStore:
    """A vault with some committed files, closed cleanly."""
    store = new_store()
    vault = Inline(Vault.open(store, KEYS, options()))
    for name, size in ((b"a", 2 * CHUNK + 500), (b"b", 300), (b"big", 11 * CHUNK)):
        inode = vault.create_inode(ROOT, name, stat.S_IFREG | 0o644)
        vault.write(inode.id, 0, _old(name, size))
    folder = vault.create_inode(ROOT, b"dir", stat.S_IFDIR | 0o755)
    vault.create_inode(folder.id, b"x", stat.S_IFREG | 0o644)
    vault.vault.close()
    return store


def _old(name: bytes, size: int) -> bytes:
    unit = b"old " + name
    return (unit * (size // len(unit) + 1))[:size]


def run_workload(template: MemoryStore, operations: Iterable[Operation], settings: Settings = TINY) -> Workload | None:
    """Run a workload on a copy of a store; None if one of its operations was refused."""
    workload = Workload(RecordingStore(template.copy()), settings)
    for operation in operations:
        if not workload.do(operation):
            return None
    return workload


def random_operations(rng: random.Random, count: int) -> Iterator[Operation]:
    """A long workload; some of its operations will be refused."""
    names = [b"a", b"b", b"c", b"big", b"dir/x", b"dir/y"]
    offsets = [0, CHUNK, 2 * CHUNK, 3 * CHUNK, 700, 4 * CHUNK - 100, 9 * CHUNK, None, None]
    sizes = [1, 300, 512, CHUNK, CHUNK + 1, 2 * CHUNK, 2400, 5 * CHUNK]
    makers: list[tuple[float, Callable[[], Operation]]] = [
        (8, lambda: ("write", rng.choice(names), rng.choice(offsets), rng.choice(sizes))),
        (3, lambda: ("truncate", rng.choice(names), rng.choice([0, 1, 700, CHUNK, 4 * CHUNK, 5 * CHUNK + 9]))),
        (4, lambda: ("create", rng.choice(names))),
        (4, lambda: ("rename", rng.choice(names), rng.choice(names), rng.choice([0, 0, 0, 2]))),
        (2, lambda: ("link", rng.choice(names), rng.choice(names))),
        (3, lambda: ("unlink", rng.choice(names))),
        (1, lambda: ("mkdir", b"dir")),
        (1, lambda: ("chmod", rng.choice(names), rng.choice([0o600, 0o755]))),
        (1, lambda: ("xattr", rng.choice(names), rng.randbytes(20))),
        (1, lambda: ("open", rng.choice(names))),
        (3, lambda: ("fsync", rng.choice(names))),
        (1, lambda: ("sync",)),
        (1, lambda: ("begin_fsync", rng.choice(names))),
        (1, lambda: ("end_fsync",)),
        (2, lambda: ("begin",)),
        (5, lambda: ("go_on",)),
        (1, lambda: ("checkpoint",)),
        (1, lambda: ("evict",)),
        (0.3, lambda: ("close",)),
        (0.3, lambda: ("kill",)),
    ]
    if rng.random() < 0.5:
        makers.append((3, lambda: ("write_out",)))
        yield ("hold",)
    weights = [weight for weight, _ in makers]
    for _ in range(count):
        yield rng.choices([maker for _, maker in makers], weights)[0]()


STEPS: dict[str, tuple[Operation, ...]] = {
    "create": (("create", b"c"),),
    "write new": (("write", b"c", 0, 2 * CHUNK),),
    "overwrite": (("write", b"a", 0, 2 * CHUNK),),
    "patch": (("write", b"a", 300, 400),),
    "append": (("write", b"a", None, CHUNK + 700),),
    "big": (("write", b"big", 3 * CHUNK, 4 * CHUNK),),
    "stream": (("write", b"c", 0, 2 * CHUNK + 352), ("write", b"c", None, 2 * CHUNK - 48)),
    "behind end": (("write", b"b", 5 * CHUNK, CHUNK),),
    "cut": (("truncate", b"a", 700),),
    "empty": (("truncate", b"big", 0),),
    "lengthen": (("truncate", b"b", 9 * CHUNK),),
    "save": (("create", b"new"), ("write", b"new", 0, 3 * CHUNK), ("rename", b"new", b"a")),
    "replace": (("rename", b"c", b"b"),),
    "move": (("rename", b"a", b"dir/x"),),
    "exchange": (("rename", b"a", b"big", 2),),
    "link": (("link", b"a", b"e"),),
    "unlink": (("unlink", b"a"),),
    "unlink open": (("open", b"big"), ("unlink", b"big")),
    "fsync": (("fsync", b"a"),),
    "fsync new": (("fsync", b"c"),),
    "begin fsync": (("begin_fsync", b"a"),),
    "end fsync": (("end_fsync",),),
    "sync": (("sync",),),
    "checkpoint": (("checkpoint",),),
    "freeze": (("begin",),),
    "run": (("begin",), ("go_on",)),
    "finish": (("go_on",), ("go_on",)),
    "kill": (("kill",),),
    "close": (("close",),),
    "hold": (("hold",),),
    "write out": (("write_out",),),
}
"""The alphabet that short workloads are spelled with."""


def spelled(words: Iterable[str]) -> list[Operation]:
    """The operations of a short workload."""
    return [operation for word in words for operation in STEPS[word]]
