"""The filesystems that are measured: how each is made, mounted, unmounted, and which process serves it.

Each keeps its parameters at its defaults. Passwords come from files and pipes, as scripts would give them.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_PASSWORD = "velvet otter 97 quarry lamp rust"
_PATIENCE = 60.0
_REPOSITORY = Path(__file__).parents[2]


class System:
    """A folder without anything under it is measured as itself: the plain directory."""

    name = "plain"
    keeps_data = True
    has_password = False
    is_peer = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder = folder.resolve()
        self.store = folder / "store"
        self.mountpoint = folder / "mount"
        self.password_file = folder / "password"
        for needed in (folder, self.store, self.mountpoint):
            needed.mkdir(exist_ok=True)
        self.password_file.write_text(_PASSWORD)
        self.pid: int | None = None

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; empty if it can."""
        return ""

    @property
    def root(self) -> Path:
        """Where its files are while it is mounted."""
        return self.store

    @property
    def version(self) -> str:
        return f"{os.uname().sysname} {os.uname().release}"

    def create(self) -> None:
        """Make an empty filesystem."""

    def mount(self) -> None:
        """Mount it, until it answers."""

    def unmount(self) -> None:
        """Unmount it, until its process has ended."""


class Fuse(System):
    """A filesystem served by a process; subclasses say with which commands."""

    has_password = True
    program = ""

    @classmethod
    def missing(cls) -> str:
        return "" if shutil.which(cls.program) else f"{cls.program} is not installed (apt-get install {cls.program})"

    @property
    def root(self) -> Path:
        return self.mountpoint

    @property
    def version(self) -> str:
        if self.missing():
            return "not installed"
        done = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False)
        lines = (done.stdout or done.stderr).splitlines()
        return lines[0].strip() if lines else "?"

    def mount_command(self) -> Sequence[str | Path]:
        raise NotImplementedError

    def mount(self) -> None:
        self._run(self.mount_command())
        self._wait_until(lambda: os.path.ismount(self.mountpoint), "mount")
        os.stat(self.mountpoint)
        self.pid = _server_of(self.mountpoint)

    def unmount(self) -> None:
        latest = time.monotonic() + _PATIENCE
        while subprocess.run(["umount", self.mountpoint], check=False, capture_output=True).returncode:
            if time.monotonic() > latest or not os.path.ismount(self.mountpoint):
                raise RuntimeError(f"{self.name} cannot be unmounted")
            time.sleep(0.05)
        if self.pid is not None:
            gone = Path(f"/proc/{self.pid}/stat")
            self._wait_until(lambda: not gone.exists() or ") Z" in _text(gone), "end")
        self.pid = None

    def close(self) -> None:
        """Unmount it, whatever has happened."""
        if os.path.ismount(self.mountpoint):
            subprocess.run(["umount", "--lazy", self.mountpoint], check=False)

    def _run(self, command: Sequence[str | Path], *, with_password: bool = True) -> None:
        # A daemon inherits what it is not given: it must not hold a pipe that somebody waits on.
        with open(self.folder / "log", "ab") as log:
            done = subprocess.run(
                command,
                input=f"{_PASSWORD}\n".encode() if with_password else None,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment(),
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {command[0]} failed: {_text(self.folder / 'log')[-500:]}")

    def _environment(self) -> dict[str, str]:
        own = str(self.folder)
        modules = f"{_REPOSITORY}:{_REPOSITORY / 'scripts'}"
        given = {"HOME": own, "XDG_STATE_HOME": own, "XDG_RUNTIME_DIR": own, "PYTHONPATH": modules}
        # An installed program is compiled; where this is set, each start would compile the repository's anew.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return kept | given

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        latest = time.monotonic() + _PATIENCE
        while not condition():
            if time.monotonic() > latest:
                raise RuntimeError(f"{self.name} did not {what} in time: {_text(self.folder / 'log')[-500:]}")
            time.sleep(0.002)


class VaultFs(Fuse):
    name = "vaultfs"
    program = sys.executable
    kdf: tuple[str, ...] = ()

    @classmethod
    def missing(cls) -> str:
        return ""

    @property
    def version(self) -> str:
        from vaultfs import __version__

        return f"vaultfs {__version__}"

    def create(self) -> None:
        passfile = f"--passfile={self.password_file}"
        self._run([sys.executable, "-m", "vaultfs", "init", self.store, passfile, *self.kdf])

    def mount_command(self) -> Sequence[str | Path]:
        passfile = f"--passfile={self.password_file}"
        return [sys.executable, "-m", "vaultfs", "mount", self.store, self.mountpoint, passfile]


class Gocryptfs(Fuse):
    name = "gocryptfs"
    program = "gocryptfs"
    is_peer = True

    def create(self) -> None:
        self._run(["gocryptfs", "-init", "-q", "-passfile", self.password_file, self.store])

    def mount_command(self) -> Sequence[str | Path]:
        return ["gocryptfs", "-q", "-passfile", self.password_file, self.store, self.mountpoint]


class Securefs(Fuse):
    name = "securefs"
    program = "securefs"
    is_peer = True

    @property
    def version(self) -> str:
        if self.missing():
            return "not installed"
        done = subprocess.run(["securefs", "version"], capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).splitlines()[0].strip()

    def create(self) -> None:
        self._run(["securefs", "create", "--pass", _PASSWORD, self.store])

    def mount_command(self) -> Sequence[str | Path]:
        return ["securefs", "mount", "-b", "--pass", _PASSWORD, self.store, self.mountpoint]


class Cryfs(Fuse):
    name = "cryfs"
    program = "cryfs"
    is_peer = True

    def create(self) -> None:
        self.mount()
        self.unmount()

    def mount_command(self) -> Sequence[str | Path]:
        return ["cryfs", self.store, self.mountpoint]

    def _environment(self) -> dict[str, str]:
        quiet = {"CRYFS_FRONTEND": "noninteractive", "CRYFS_NO_UPDATE_CHECK": "true"}
        return {**super()._environment(), **quiet}


class Encfs(Fuse):
    name = "encfs"
    program = "encfs"
    is_peer = True

    def create(self) -> None:
        self.mount()
        self.unmount()

    def mount_command(self) -> Sequence[str | Path]:
        return ["encfs", "--standard", "--stdinpass", self.store, self.mountpoint]


class _Floor(Fuse):
    """A filesystem of the benchmark's own, that nothing is asked to open; served by a script of its name."""

    program = sys.executable
    has_password = False

    @classmethod
    def missing(cls) -> str:
        return ""

    @property
    def version(self) -> str:
        import pyfuse3

        return f"pyfuse3 {pyfuse3.__version__}"

    def _start(self, *arguments: str | Path) -> None:
        script = Path(__file__).with_name(f"{self.name}fs.py")
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, script, *arguments], stdout=log, stderr=log, env=self._environment()
            )
        self._wait_until(lambda: os.path.ismount(self.mountpoint), "mount")
        self.pid = self._process.pid


class Null(_Floor):
    """The transport's floor. It is mounted once: what it holds would be gone with its process."""

    name = "null"
    keeps_data = False

    def create(self) -> None:
        self._start(self.mountpoint)

    def mount(self) -> None:
        """It is, since `create`."""

    def unmount(self) -> None:
        """Not before `close`."""

    def close(self) -> None:
        super().close()
        self._process.wait(_PATIENCE)


class Least(_Floor):
    """The floor of what vaultfs promises, in Python: the transport, the cipher, the bytes, the journal."""

    name = "least"

    def mount(self) -> None:
        self._start(self.store, self.mountpoint)

    def unmount(self) -> None:
        super().unmount()
        self._process.wait(_PATIENCE)


SYSTEMS: tuple[type[System], ...] = (System, Null, Least, VaultFs, Gocryptfs, Securefs, Cryfs, Encfs)


def resident_bytes(pid: int) -> int:
    """The memory of a process that is its own, in bytes (VmRSS)."""
    for line in _text(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


def cpu_seconds(pid: int) -> float:
    """The CPU time a process has used."""
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _server_of(mountpoint: Path) -> int | None:
    """The process with the mountpoint in its command line, the newest of them."""
    own = os.getpid()
    wanted = str(mountpoint).encode()
    for entry in sorted((int(name) for name in os.listdir("/proc") if name.isdigit()), reverse=True):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in words and entry != own:
            return entry
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def unlocking(folder: Path) -> list[Fuse]:
    """Empty filesystems whose password costs the same: scrypt with N = 2^16, which is gocryptfs's default."""
    vault = VaultFs(folder / "unlock-vaultfs")
    vault.kdf = ("--kdf=scrypt", "--kdf-memory=64")
    systems: list[Fuse] = [vault]
    if not Gocryptfs.missing():
        systems.append(Gocryptfs(folder / "unlock-gocryptfs"))
    for system in systems:
        system.create()
    return systems
