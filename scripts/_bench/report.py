"""The results as a table for people, as JSON for programs, and as a chart for the README."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TypeVar

from _bench.measuring import MOUNT, UNLOCK, Results
from _bench.rows import ROWS
from _bench.systems import System

Cell = TypeVar("Cell")

_TITLES = {row.name: row.title for row in ROWS} | {
    MOUNT: "mount, everything at its default",
    UNLOCK: "mount, scrypt N = 2^16 for each",
}


class Report:
    """Medians and ratios of one run."""

    def __init__(self, results: Results, systems: Sequence[System]) -> None:
        self._results = results
        self._names = [system.name for system in systems]
        self._peers = [system.name for system in systems if system.is_peer]
        self._versions = {system.name: system.version for system in systems}

    def medians(self, row: str) -> dict[str, float]:
        """Seconds by system."""
        return {name: median(seconds) for name, seconds in self._results.seconds[row].items()}

    def against_best(self, row: str, system: str = "vaultfs") -> float | None:
        """How many times as long as `system` the fastest peer takes that did what the row asks for."""
        seconds = self.medians(row)
        idle = self._results.unsynced.get(row, ())
        peers = [seconds[name] for name in self._peers if name in seconds and name not in idle]
        return min(peers) / seconds[system] if peers and system in seconds else None

    def against_floor(self, row: str) -> float | None:
        """How many times as long vaultfs takes as a filesystem that does nothing."""
        seconds = self.medians(row)
        return seconds["vaultfs"] / seconds["null"] if "null" in seconds and "vaultfs" in seconds else None

    def table(self) -> str:
        """Everything, in fixed-width columns; milliseconds."""
        times = [f"{name} ms" for name in self._names]
        head = ["", *times, "best/vaultfs", "vaultfs/null", *self._of_least("best/least")]
        lines = [head, *(self._line(row) for row in self._results.seconds)]
        lines += [self._memory_line(name) for name in ("mounted", "worked")] if self._results.memory else []
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        text = [
            "  ".join(cell.ljust(width) if number == 0 else cell.rjust(width)
                      for number, (cell, width) in enumerate(zip(line, widths, strict=True)))
            for line in lines
        ]  # fmt: skip
        if self._results.unsynced:
            text.append("* did not flush the disk when told to sync, and is not compared with")
        text += [f"FAILED {where}: {why}" for where, why in self._results.failures.items()]
        if "vaultfs" in self._results.memory:
            text.append(f"idle CPU of vaultfs: {self._results.memory['vaultfs'].idle_cpu:.2%}")
        return "\n".join(text)

    def write_json(self, path: Path, extra: Mapping[str, object]) -> None:
        """Every measurement, with what it was measured on."""
        rows = {
            row: {
                "title": _TITLES[row],
                "seconds": self._results.seconds[row],
                "best_peer_over_vaultfs": self.against_best(row),
                "vaultfs_over_null": self.against_floor(row),
                "best_peer_over_least": self.against_best(row, "least"),
                "not_synced_by": sorted(self._results.unsynced.get(row, ())),
            }
            for row in self._results.seconds
        }
        document = {
            "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "kernel": platform.release()},
            "versions": self._versions,
            **extra,
            "rows": rows,
            "memory": {name: asdict(memory) for name, memory in self._results.memory.items()},
            "failures": self._results.failures,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")

    def draw(self, path: Path) -> bool:
        """A bar per row: how many times as fast as the fastest peer. False without matplotlib."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return False
        ratios = {_TITLES[row]: ratio for row in self._results.seconds if (ratio := self.against_best(row)) is not None}
        figure = Figure(figsize=(9, 0.32 * len(ratios) + 1), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(list(ratios), list(ratios.values()), color="#3b7dd8")
        axes.bar_label(bars, fmt="%.1f×", padding=3)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xscale("log")
        axes.set_xticks(_TICKS, [f"{tick:g}×" for tick in _TICKS])
        axes.minorticks_off()
        axes.invert_yaxis()
        axes.set_xlabel(f"times as fast as the fastest of {', '.join(self._peers)}")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path)
        return True

    def _line(self, row: str) -> list[str]:
        seconds = self.medians(row)
        idle = self._results.unsynced.get(row, ())
        cells = [
            f"{seconds[name] * 1000:.0f}{'*' if name in idle else ''}" if name in seconds else "-"
            for name in self._names
        ]
        ratios = [self.against_best(row), self.against_floor(row), *self._of_least(self.against_best(row, "least"))]
        return [_TITLES[row], *cells, *map(_ratio, ratios)]

    def _memory_line(self, when: str) -> list[str]:
        memory = {name: asdict(found)[when] / 1048576 for name, found in self._results.memory.items()}
        cells = [f"{memory[name]:.0f}" if name in memory else "-" for name in self._names]
        title = f"memory of the server, MiB, {'once mounted' if when == 'mounted' else 'after work'}"
        return [title, *cells, "", "", *self._of_least("")]

    def _of_least(self, cell: Cell) -> list[Cell]:
        """A cell of the column that there is if `leastfs` was measured."""
        return [cell] if "least" in self._names else []


_TICKS = (0.125, 0.25, 0.5, 1, 2, 4)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
