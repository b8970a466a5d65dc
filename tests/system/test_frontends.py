"""GUI front-ends: what SiriKali and Plasma Vault call and expect, played by the rules of their sources.

SiriKali: src/engines.cpp and src/engines/custom.cpp (a back-end file, resolved into argument lists). Plasma Vault:
kded/engine/fusebackend_p.cpp and its back-ends (argument lists, the password on standard input, exit codes).
"""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD, Result, environment
from tests.support.mounting import eventually, needs_fuse
from tests.system.conftest import Program
from vaultfs import __version__
from vaultfs.mount.mounttable import mount_at
from vaultfs.store.lock import holder

pytestmark = [pytest.mark.mount, needs_fuse]


def run(program: Path, *words: str, stdin: str = "") -> Result:
    """Run a program as a front-end does: pipes, and standard input closed after what was written."""
    done = subprocess.run(
        [program, *words], input=stdin, capture_output=True, text=True, env=environment(), timeout=60, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


class SiriKali:
    """The part of SiriKali that reads a back-end file."""

    def __init__(self, program: Program) -> None:
        self.backend = json.loads((files("vaultfs.cli") / "data/sirikali.json").read_text())
        self._program = program

    def create(self, cipher: Path, password: str) -> Result:
        words = self._resolve(self.backend["createControlStructure"], cipher, cipher, [], [])
        return run(self._program, *words, stdin=self.backend["passwordFormat"].replace("%{password}", password))

    def mount(
        self, cipher: Path, mountpoint: Path, password: str, *, read_only: bool = False, idle: str = "", key: str = ""
    ) -> Result:
        name = self.backend["names"][0]
        subtype = [f"subtype={name}"] if self.backend["acceptsSubType"] else []
        fuse = ["ro" if read_only else "rw", f"fsname={name}@{self.encoded(cipher)}", *subtype]
        exe = [*self._option("idleString", "%{timeout}", idle), *self._option("keyFileArgument", "%{keyfile}", key)]
        words = self._resolve(self.backend["mountControlStructure"], cipher, mountpoint, exe, fuse)
        return run(self._program, *words, stdin=self.backend["passwordFormat"].replace("%{password}", password))

    def unmount(self, mountpoint: Path) -> Result:
        program, *words = self.backend["unMountCommand"]
        assert program == self.backend["executableName"]
        return run(self._program, *(word.replace("%{mountPoint}", str(mountpoint)) for word in words))

    def version(self) -> str:
        line, word = self.backend["versionStringTextPosition"]
        said = run(self._program, self.backend["versionArgumentString"])
        text = said.out if self.backend["versionOutputStdOut"] else said.err
        return str(text.splitlines()[line].split(" ")[word])

    @staticmethod
    def encoded(path: Path) -> str:
        """A path as an option's value, where a comma would end it."""
        return str(path).replace(",", "SiriKaliSpecialCharacter001")

    def _option(self, name: str, place: str, value: str) -> list[str]:
        words = self.backend[name].split(" ")
        assert len(words) <= 2
        return [word.replace(place, value) for word in words] if value else []

    def _resolve(self, structure: str, cipher: Path, mountpoint: Path, exe: list[str], fuse: list[str]) -> list[str]:
        by_place = {
            "%{cipherFolder}": [str(cipher)],
            "%{mountPoint}": [str(mountpoint)],
            "%{createOptions}": exe,
            "%{mountOptions}": exe,
            "%{fuseOpts}": [*(["-o"] if self.backend["usesFuseArgumentSwitch"] else []), ",".join(fuse)],
        }
        return [word for place in structure.split(" ") for word in by_place.get(place, [place])]


@pytest.fixture
def sirikali(program: Program) -> SiriKali:
    return SiriKali(program)


@pytest.fixture
def folders(home: Path) -> Iterator[tuple[Path, Path]]:
    """A folder for the encrypted files and one to mount on, both made, as front-ends do."""
    cipher, mountpoint = home / "a cipher, folder", home / "Plain"
    cipher.mkdir()
    mountpoint.mkdir()
    yield cipher, mountpoint
    subprocess.run(["umount", "--lazy", mountpoint], capture_output=True, check=False)


def test_sirikali_creates_mounts_and_unmounts(sirikali: SiriKali, folders: tuple[Path, Path]) -> None:
    cipher, mountpoint = folders
    done = sirikali.create(cipher, PASSWORD)
    assert done.code == 0, done
    assert any((cipher / name).is_file() for name in sirikali.backend["configFileNames"])

    wrong = sirikali.mount(cipher, mountpoint, "wrong " + PASSWORD)
    assert str(wrong.code) == sirikali.backend["wrongPasswordErrorCode"]

    done = sirikali.mount(cipher, mountpoint, PASSWORD, idle="10m")
    assert done.code == 0, done
    found = mount_at(str(mountpoint))
    assert found is not None
    assert found.filesystem in sirikali.backend["fuseNames"]
    assert found.source == f"vaultfs@{sirikali.encoded(cipher)}"
    (mountpoint / "note").write_text("mine")
    assert sirikali.unmount(mountpoint).code == 0
    assert eventually(lambda: holder(cipher) is None)

    assert sirikali.mount(cipher, mountpoint, PASSWORD, read_only=True).code == 0
    found = mount_at(str(mountpoint))
    assert found is not None
    assert found.read_only
    assert (mountpoint / "note").read_text() == "mine"
    assert sirikali.unmount(mountpoint).code == 0


def test_sirikali_reads_the_version(sirikali: SiriKali) -> None:
    assert sirikali.version() == __version__


def test_plasma_vault_makes_opens_and_closes(program: Program, folders: tuple[Path, Path]) -> None:
    cipher, mountpoint = folders
    cipher = cipher.rename(cipher.with_name("a cipher folder"))
    # It puts an icon there, so the mountpoint is never empty.
    (mountpoint / ".directory").write_text("[Desktop Entry]\nIcon=folder-encrypted\n")

    began = time.monotonic()
    with subprocess.Popen(
        [program, "init", str(cipher)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as init:
        assert init.stdin is not None
        for _ in range(2):
            init.stdin.write(f"{PASSWORD}\n".encode())
            init.stdin.flush()
        # QProcess leaves the pipe open.
        assert init.wait(60) == 0, init.stderr and init.stderr.read()
    assert time.monotonic() - began < 30

    for password, code in (("wrong " + PASSWORD, 12), (PASSWORD, 0)):
        done = run(program, str(cipher), str(mountpoint), "-o", f"fsname=vaultfs@{cipher}", stdin=f"{password}\n")
        assert done.code == code, done
    assert not (mountpoint / ".directory").exists()
    (mountpoint / "note").write_text("mine")
    subprocess.run(["fusermount3", "-u", mountpoint], check=True)
    assert (mountpoint / ".directory").exists()
    assert eventually(lambda: holder(cipher) is None)


def test_plasma_vault_reads_the_version(program: Program) -> None:
    done = run(program, "--version")
    said = done.out + done.err
    assert said.startswith("vaultfs")
    assert re.search(r"([0-9]+)[.]([0-9]+)[.]([0-9]+)", said)


def test_plasma_vault_is_told_what_is_wrong(program: Program, folders: tuple[Path, Path]) -> None:
    cipher, _ = folders
    assert run(program, "init", str(cipher), stdin="\n\n").code == 22
    (cipher / "something").touch()
    assert run(program, "init", str(cipher), stdin=f"{PASSWORD}\n" * 2).code == 7


def test_a_key_file_is_passed_on(
    sirikali: SiriKali, folders: tuple[Path, Path], vaultfs: Callable[..., Result]
) -> None:
    cipher, mountpoint = folders
    assert sirikali.create(cipher, PASSWORD).code == 0
    assert "--keyfile" in vaultfs("mount", "--help").out
    missing = sirikali.mount(cipher, mountpoint, PASSWORD, key=str(cipher.parent / "missing.key"))
    assert missing.code == 9, missing
