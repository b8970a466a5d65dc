"""Counts what an operation costs: time, CPU time, system calls (by strace), and calls of Python functions."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

_ATTACH_SECONDS = 10.0


class Calls:
    """Python function calls in this process, all threads, in a file that another process can read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def install(self) -> None:
        """Count from now on."""
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def remove(self) -> None:
        """Count no more."""
        sys.setprofile(None)
        threading.setprofile(None)

    def during(self, run: Callable[[], object]) -> int:
        """The calls that `run` makes."""
        before = self._count
        self.install()
        run()
        self.remove()
        return self._count - before

    @property
    def count(self) -> int:
        """The calls up to now."""
        return self._count

    def publish(self) -> None:
        """Write the count to the file."""
        self._path.write_text(str(self._count))

    def _profile(self, _frame: FrameType, event: str, _argument: object) -> None:
        # A coroutine that goes on after a wait counts again, as it should.
        if event == "call":
            self._count += 1


class Strace:
    """Counts the system calls of a process and its threads within a `with` block, by kind."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.calls: dict[str, int] = {}

    @staticmethod
    def available() -> bool:
        """Whether strace is installed."""
        return shutil.which("strace") is not None

    @property
    def total(self) -> int:
        """All system calls, without those that only wait for other threads of the process."""
        return sum(count for name, count in self.calls.items() if name != "futex")

    def __enter__(self) -> "Strace":
        self._output = tempfile.NamedTemporaryFile(prefix="vaultfs-strace-")
        command = ["strace", "-f", "-c", "-p", str(self._pid), "-o", self._output.name]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        latest = time.monotonic() + _ATTACH_SECONDS
        while not self._all_traced():
            if time.monotonic() > latest or self._process.poll() is not None:
                raise RuntimeError("strace cannot attach (it needs ptrace rights)")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        with self._output:
            for line in self._output.read().decode().splitlines():
                match = re.fullmatch(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)", line)
                if match and match[2] != "total":
                    self.calls[match[2]] = int(match[1])

    def _all_traced(self) -> bool:
        tasks = Path(f"/proc/{self._pid}/task").iterdir()
        return all("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)


def cpu_nanoseconds(pid: int) -> int:
    """CPU time of all the threads a process has now, in ns (proc(5), schedstat)."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            total += int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total
