"""Finds the processes that keep a mount busy: /proc tells their folders, open files and mappings (proc(5))."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """A process that uses a mount."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.pid})"


def users_of(path: str) -> list[User]:
    """Who has something open under this absolute path, as far as this user may see."""
    below = path.rstrip("/") + "/"
    pids = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return [
        User(pid, _command(pid))
        for pid in pids
        if any(used == path or used.startswith(below) for used in _used_paths(f"/proc/{pid}"))
    ]


def _used_paths(process: str) -> Iterator[str]:
    for link in ("cwd", "root", "exe"):
        with suppress(OSError):
            yield os.readlink(f"{process}/{link}")
    with suppress(OSError):
        for descriptor in os.listdir(f"{process}/fd"):
            with suppress(OSError):
                yield os.readlink(f"{process}/fd/{descriptor}")
    with suppress(OSError), open(f"{process}/maps", "rb") as maps:
        for line in maps:
            fields = line.rstrip(b"\n").split(maxsplit=5)
            if len(fields) == 6:
                yield os.fsdecode(fields[5])


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as name:
            return os.fsdecode(name.read().strip())
    except OSError:
        return "a process that has just ended"
