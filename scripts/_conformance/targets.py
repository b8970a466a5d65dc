"""Fresh filesystems to run a suite on: a vault, a gocryptfs one, or a plain folder."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
KINDS = ("vaultfs", "gocryptfs", "plain")
_PASSWORD = secrets.token_hex(16)
_PATIENCE = 60.0  # seconds for a filesystem to let go of its mountpoint
# The key derivation is not what is tested here.
_CHEAP_KDF = ("--kdf-memory", "64", "--kdf-passes", "1")


def vaultfs_command() -> list[str]:
    """The command line's beginning: this tree's vaultfs, in its own environment if it has one."""
    own = ROOT / ".venv/bin/python"
    return [str(own) if own.exists() else sys.executable, "-m", "vaultfs"]


def vaultfs_environment(folder: Path) -> dict[str, str]:
    """The environment for `vaultfs_command`, with what it keeps outside the store kept in `folder`."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
    }


class Target:
    """One filesystem below `folder`; `path` is where it can be used while mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "mount"
        self.store = folder / "store"
        self.password = folder / "password"
        for needed in (self.path, self.store, folder / "state", folder / "run"):
            needed.mkdir()
        self.password.write_text(_PASSWORD + "\n")

    def create(self) -> None:
        """Make the filesystem."""

    def mount(self) -> None:
        """Make it usable at `path`: for every user, with devices and set-id programs."""

    def unmount(self) -> None:
        """Undo `mount`, and return when nothing of it is left."""
        latest = time.monotonic() + _PATIENCE
        while subprocess.run(["umount", self.path], check=False).returncode and time.monotonic() < latest:
            time.sleep(0.5)  # what a killed program had mapped is let go a little later
        self._wait_for_end()

    def memory(self) -> int:
        """Resident bytes of the processes that serve it."""
        pages = [int(Path(f"/proc/{number}/statm").read_text().split()[1]) for number in _holders(self.store)]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    def _wait_for_end(self) -> None:
        """The process behind a mount ends a little after the mount."""

    def clean_up(self) -> None:
        """Take everything away, mounted or not."""
        if os.path.ismount(self.path):
            subprocess.run(["umount", "--lazy", self.path], check=True)
        _wait_until_let_go(self.store)  # what ends it may still be at work in it
        shutil.rmtree(self.folder)


class VaultTarget(Target):
    """A vault."""

    def _run(self, *arguments: str | Path) -> None:
        command = [*vaultfs_command(), *map(str, arguments), "--passfile", str(self.password)]
        subprocess.run(command, check=True, env=vaultfs_environment(self.folder), stdout=subprocess.DEVNULL)

    def create(self) -> None:
        self._run("init", self.store, *_CHEAP_KDF)

    def mount(self) -> None:
        self._run("mount", self.store, self.path, "-o", "allow_other,dev,suid")

    def _wait_for_end(self) -> None:
        _wait_until_let_go(self.store)
        command = [*vaultfs_command(), "info", str(self.store)]
        subprocess.run(command, check=True, env=vaultfs_environment(self.folder), stdout=subprocess.DEVNULL)


def _holders(store: Path) -> list[int]:
    """The processes that have anything of a store open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()).startswith(str(store)) for link in (process / "fd").iterdir()):
                found.append(int(process.name))
        except OSError:
            continue  # ended meanwhile
    return found


def _wait_until_let_go(store: Path) -> None:
    latest = time.monotonic() + _PATIENCE
    while _holders(store) and time.monotonic() < latest:
        time.sleep(0.05)


class GocryptfsTarget(Target):
    """A gocryptfs filesystem, made as its users make it."""

    def _run(self, *arguments: str | Path) -> None:
        subprocess.run(["gocryptfs", "-quiet", "-passfile", self.password, *arguments], check=True)

    def create(self) -> None:
        self._run("-init", "-scryptn", "10", self.store)

    def mount(self) -> None:
        self._run("-allow_other", "-suid", "-dev", "-acl", self.store, self.path)

    def _wait_for_end(self) -> None:
        _wait_until_let_go(self.store)


class PlainTarget(Target):
    """A folder of the filesystem the work folder is on."""

    def unmount(self) -> None:
        """Nothing is mounted."""


_CLASSES = {"vaultfs": VaultTarget, "gocryptfs": GocryptfsTarget, "plain": PlainTarget}


def make(kind: str, folder: Path) -> Target:
    """A fresh filesystem of a kind, not mounted."""
    folder.mkdir()
    made = _CLASSES[kind](folder)
    made.create()
    return made


@contextmanager
def target(kind: str, work: Path) -> Iterator[Target]:
    """A fresh filesystem of a kind, mounted; it and all it held are gone afterwards."""
    made = make(kind, work / kind)
    try:
        made.mount()
        yield made
        made.unmount()
    finally:
        made.clean_up()
