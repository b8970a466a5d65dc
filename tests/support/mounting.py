"""Real mounts for tests: a process that serves a vault, and a handle on it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds a process may take to mount or to end."""

needs_fuse = pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no usable /dev/fuse")


class MountedVault:
    """A vault mounted on `path` by a process of its own; `log` is what that process logged so far."""

    def __init__(self, folder: Path, settings: Mapping[str, object] = MappingProxyType({}), **options: Any) -> None:
        """Mount the vault of `folder / "store"`, made if missing, with fields of Settings and of MountOptions."""
        self.folder = folder
        self.store = folder / "store"
        self.path = folder / "mount"
        self._log = folder / "log"
        for needed in (self.store, self.path):
            needed.mkdir(exist_ok=True)
        arguments = [str(self.store), str(self.path), json.dumps(options), json.dumps(dict(settings))]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.serving", *arguments],
                cwd=REPOSITORY,
                env={**os.environ, "XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder)},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        with self.process.stdout as answer:
            is_ready = answer.readline() == b"ready\n"
        if not is_ready:
            self.process.wait(PATIENCE)
        assert is_ready, self.log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait(self) -> int:
        """The exit code of the process, once it has ended by itself."""
        return self.process.wait(PATIENCE)

    def unmount(self) -> None:
        """Unmount from outside and check that the process ends well."""
        subprocess.run(["umount", self.path], check=True)
        assert self.wait() == 0, self.log

    def remount(self, **options: Any) -> "MountedVault":
        """Unmount, and mount the same store in a new process, with nothing in the kernel's caches."""
        self.unmount()
        return MountedVault(self.folder, **options)

    def kill(self) -> None:
        """End the process as a crash would, and take the dead mount away."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def close(self) -> None:
        """Whatever has become of the mount, leave nothing of it."""
        if self.process.poll() is None:
            subprocess.run(["umount", "--lazy", self.path], check=False, capture_output=True)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextmanager
def mounting(folder: Path) -> Iterator[Callable[..., MountedVault]]:
    """Mount vaults below `folder`: `mount(name="vault", **options)`. What is left of them goes at the end."""
    mounted: list[MountedVault] = []

    def mount(name: str = "vault", **options: Any) -> MountedVault:
        (folder / name).mkdir(exist_ok=True)
        mounted.append(MountedVault(folder / name, **options))
        return mounted[-1]

    try:
        yield mount
    finally:
        for vault in mounted:
            vault.close()


def has_ended(process: int) -> bool:
    """Whether a process is no more, or waits only to be asked how it ended (proc(5))."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def eventually(condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Whether a condition comes true in time."""
    latest = time.monotonic() + patience
    while not (found := condition()) and time.monotonic() < latest:
        time.sleep(0.02)
    return found
