"""Runs the rows on each filesystem in turn, interleaved, and collects the seconds."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _bench.inputs import Inputs
from _bench.rows import Place, Row, WrongData, populate
from _bench.sizes import Sizes
from _bench.systems import Fuse, System, VaultFs, cpu_seconds, resident_bytes

MOUNT, UNLOCK = "mount", "unlock"
_IDLE_SECONDS = 5.0
_DROP = Path("/proc/sys/vm/drop_caches")
_PIECE = 1 << 20  # bytes

Say = Callable[[str], None]


@dataclass(slots=True)
class Memory:
    """Resident bytes of a server: once mounted, and after work; and its CPU share while nothing happens."""

    mounted: int
    worked: int
    idle_cpu: float


@dataclass(slots=True)
class Results:
    """Seconds by row and system, one per round; what went wrong by (row, system)."""

    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unsynced: dict[str, set[str]] = field(default_factory=dict)
    """The systems that said of a row's writes that they were durable, and had not even asked the disk."""
    memory: dict[str, Memory] = field(default_factory=dict)

    def add(self, row: str, system: str, seconds: float) -> None:
        """Note one measurement."""
        self.seconds.setdefault(row, {}).setdefault(system, []).append(seconds)


class Measuring:
    """One run of the benchmark over `systems`."""

    def __init__(self, systems: Sequence[System], inputs: Inputs, sizes: Sizes, say: Say) -> None:
        self._systems = systems
        self._inputs = inputs
        self._sizes = sizes
        self._say = say
        self.results = Results()

    def prepare(self) -> None:
        """Make the filesystems and what the cold rows read."""
        for system in self._systems:
            self._say(f"filling {system.name}")
            system.create()
            self._in_mount(system, populate)

    def round(self, rows: Sequence[Row], number: int) -> None:
        """Every row once on every system; who begins moves on from round to round."""
        for row in rows:
            for system in _rotated(self._systems, number):
                if row.needs_data and not system.keeps_data:
                    continue
                self._say(f"round {number + 1}: {row.name} on {system.name}")
                self._cell(row, system)

    def mount_times(self, number: int) -> None:
        """How long mounting takes with everything at its default, the cost of the password included."""
        for system in _rotated(self._systems, number):
            if isinstance(system, Fuse) and system.has_password:
                self._say(f"round {number + 1}: {MOUNT} on {system.name}")
                self.results.add(MOUNT, system.name, _mount_seconds(system))

    def unlock_times(self, systems: Sequence[Fuse]) -> None:
        """The same at equal cost of the password, on empty filesystems made for it."""
        for system in systems:
            self.results.add(UNLOCK, system.name, _mount_seconds(system))

    def memory_use(self, work: Callable[[Place], None]) -> None:
        """The servers' memory after mounting and after some work, and what they do when there is nothing to do."""
        for system in self._systems:
            if not isinstance(system, Fuse):
                continue
            self._say(f"memory of {system.name}")
            system.mount()
            assert system.pid is not None
            mounted = resident_bytes(system.pid)
            work(self._place(system))
            worked = resident_bytes(system.pid)
            idle = self._idle_cpu(system.pid) if isinstance(system, VaultFs) else 0.0
            self.results.memory[system.name] = Memory(mounted, worked, idle)
            system.unmount()

    def _idle_cpu(self, pid: int) -> float:
        time.sleep(12)  # what was changed has been committed by then
        before = cpu_seconds(pid)
        time.sleep(_IDLE_SECONDS)
        return (cpu_seconds(pid) - before) / _IDLE_SECONDS

    def _cell(self, row: Row, system: System) -> None:
        try:
            if row.setup is not None:
                self._in_mount(system, row.setup)
            os.sync()
            if row.cold:
                drop_caches()
            place = self._in_mount(system, row.run)
            self.results.add(row.name, system.name, place.seconds)
            if system.keeps_data and place.flushes is not None and place.flushes < row.syncs(self._sizes) / 2:
                self.results.unsynced.setdefault(row.name, set()).add(system.name)
        except (WrongData, OSError, subprocess.CalledProcessError) as error:
            self.results.failures[f"{row.name} on {system.name}"] = f"{type(error).__name__}: {error}"
            self._say(f"  FAILED: {type(error).__name__}: {error}")

    def _in_mount(self, system: System, step: Callable[[Place], None]) -> Place:
        system.mount()
        try:
            place = self._place(system)
            step(place)
            return place
        finally:
            system.unmount()

    def _place(self, system: System) -> Place:
        return Place(system.root, system.keeps_data, self._inputs, self._sizes, system.store)


def _mount_seconds(system: Fuse) -> float:
    start = time.perf_counter()
    system.mount()
    seconds = time.perf_counter() - start
    system.unmount()
    return seconds


def drop_caches() -> None:
    """Empty the kernel's caches of files and names; only root can."""
    if os.access(_DROP, os.W_OK):
        _DROP.write_text("3")


def use_all_memory(folder: Path) -> None:
    """Fill the memory that is free with pages of an empty file, and empty it again.

    A virtual machine gets each page from its host when it first uses it: writing 160 KiB took 180 µs in memory never
    used before, and 34 in any other. Whoever happened to come first would pay for that.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        size = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        os.truncate(file.fileno(), size)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        buffer = bytearray(_PIECE)
        for offset in range(0, size, _PIECE):
            os.preadv(file.fileno(), [buffer], offset)
    drop_caches()


def can_drop_caches() -> bool:
    """Whether cold rows are really cold."""
    return os.access(_DROP, os.W_OK)


def _rotated(systems: Sequence[System], by: int) -> list[System]:
    by %= len(systems)
    return [*systems[by:], *systems[:by]]
