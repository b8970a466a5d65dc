"""A home of its own for each test, and a vault in it that the command line has made and can mount."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, MAIN, PASSWORD, Result, environment, run_piped

Program = Path
"""The path of an installed `vaultfs`."""

_HELPER = "import sys; from vaultfs.cli.main import mount_helper; sys.exit(mount_helper())"


class Vault:
    """A vault in `store`, and the folder `mountpoint` to open it in."""

    def __init__(self, home: Path) -> None:
        self.store = home / "Backup.vault"
        self.mountpoint = home / "Backup"
        self.mountpoint.mkdir()
        self._run("init", self.store, *CHEAP)

    def mount(self, *options: str | Path) -> None:
        """Open it."""
        self._run("mount", self.store, self.mountpoint, *options)

    def umount(self, *options: str) -> Result:
        """Close it."""
        return self._run("umount", self.mountpoint, *options)

    def journals(self) -> list[str]:
        """The journals in the store."""
        return sorted(name for name in os.listdir(self.store / "journal") if name != "ballast")

    def _run(self, *args: str | Path) -> Result:
        done = run_piped(*args, stdin=PASSWORD + "\n")
        assert done.code == 0, done
        return done


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$HOME, and everything programs keep there or beside it."""
    folder = tmp_path / "home"
    for name, below in (("HOME", ""), ("XDG_STATE_HOME", ".local/state"), ("XDG_RUNTIME_DIR", ".runtime")):
        path = folder / below
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
        monkeypatch.setenv(name, str(path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return folder


@pytest.fixture
def vault(home: Path) -> Iterator[Vault]:
    """A closed vault; closed again at the end, whatever has become of it."""
    made = Vault(home)
    yield made
    while subprocess.run(["umount", "--lazy", made.mountpoint], capture_output=True, check=False).returncode == 0:
        pass


@pytest.fixture
def vaultfs() -> Callable[..., Result]:
    """Run `vaultfs ARGS`."""
    return run_piped


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """An installed `vaultfs`, as far as other programs can tell, with `mount.fuse.vaultfs` beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    where = environment()["PYTHONPATH"]
    for name, script in (("vaultfs", MAIN), ("mount.fuse.vaultfs", _HELPER)):
        (folder / name).write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {where!r})\n{script}\n")
        (folder / name).chmod(0o755)
    return folder / "vaultfs"
