"""What `scripts/package` makes: it installs where there was nothing, and works there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, environment
from tests.support.mounting import needs_fuse
from vaultfs import __version__

REPOSITORY = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, the wheel, and the Debian package if one can be made here."""
    folder = tmp_path_factory.mktemp("dist")
    reachable = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder / "pip", "build"],
        capture_output=True,
        check=False,
    )
    if reachable.returncode:
        pytest.skip("no package index can be reached")
    done = subprocess.run(["bash", REPOSITORY / "scripts/package", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Installed:
    """A package in an environment where there was nothing else, and a home for who uses it."""

    def __init__(self, folder: Path, requirement: str) -> None:
        self.folder = folder
        self._bin = folder / "venv/bin"
        subprocess.run([PYTHON, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([self._bin / "pip", "install", "--quiet", requirement], check=True, capture_output=True)
        (folder / "password").write_text(PASSWORD)
        outside = environment(HOME=str(folder))
        self._env = {name: value for name, value in outside.items() if not name.startswith("PYTHON")}

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run an installed program."""
        return subprocess.run(
            [self._bin / words[0], *words[1:]], capture_output=True, text=True, cwd=self.folder, env=self._env,
            check=False,
        )  # fmt: skip

    def run(self, *words: str) -> str:
        """What an installed program prints; it must succeed."""
        done = self.attempt(*words)
        assert done.returncode == 0, done
        return done.stdout


@pytest.mark.mount
@needs_fuse
@pytest.mark.parametrize("kind", ["py3-none-any.whl", "tar.gz"])
def test_it_installs_into_an_empty_environment(packages: Path, tmp_path: Path, kind: str) -> None:
    (package,) = packages.glob(f"vaultfs-{__version__}*{kind}")
    installed = Installed(tmp_path, f"{package}[mount]")
    (tmp_path / "plain").mkdir()
    assert installed.run("vaultfs", "--version") == f"vaultfs {__version__}\n"
    installed.run("vaultfs", "init", "store", "--passfile", "password", *CHEAP)
    installed.run("mount.fuse.vaultfs", "store", "plain", "-o", f"rw,passfile={tmp_path}/password")
    (tmp_path / "plain/note").write_text("mine")
    installed.run("vaultfs", "umount", "plain")
    assert installed.run("vaultfs", "cat", "--passfile", "password", "store:/note") == "mine"
    installed.run("vaultfs", "install-helpers")
    assert (tmp_path / ".local/share/man/man1/vaultfs.1").is_file()


def test_without_the_mount_extra_everything_but_mounting_works(packages: Path, tmp_path: Path) -> None:
    (package,) = packages.glob(f"vaultfs-{__version__}*.whl")
    installed = Installed(tmp_path, str(package))
    assert installed.attempt("python", "-c", "import pyfuse3").returncode != 0
    (tmp_path / "source").mkdir()
    (tmp_path / "source/note").write_text("mine")
    opened = ("--passfile", "password")
    installed.run("vaultfs", "init", "store", *opened, *CHEAP)
    installed.run("vaultfs", "import", "source", "store", "--verify", *opened)
    assert installed.run("vaultfs", "ls", "store", *opened) == "note\n"
    assert installed.run("vaultfs", "tree", "store", *opened)
    assert installed.run("vaultfs", "cat", "store:/note", *opened) == "mine"
    installed.run("vaultfs", "export", "store", "out", *opened)
    assert (tmp_path / "out/note").read_text() == "mine"
    installed.run("vaultfs", "check", "--data", "store", *opened)
    for command in ("info", "log", "drill"):
        installed.run("vaultfs", command, "store", *opened)
    installed.run("vaultfs", "key", "list", "store")
    installed.run("vaultfs", "status")
    installed.run("vaultfs", "install-helpers")
    (tmp_path / "plain").mkdir()
    refused = installed.attempt("vaultfs", "mount", "store", "plain", *opened)
    assert refused.returncode == 19
    assert "pip install 'vaultfs[mount]'" in refused.stderr


def test_the_debian_package_says_what_it_needs(packages: Path) -> None:
    if shutil.which("dpkg-deb") is None or shutil.which("dpkg-shlibdeps") is None:
        pytest.skip("not installed: dpkg-dev")
    (package,) = packages.glob("*.deb")
    fields = subprocess.check_output(["dpkg-deb", "-f", package, "Depends"], text=True)
    needed = {part.split()[0] for part in fields.split(",")}
    compiled = subprocess.check_output(["dpkg-query", "-W", "-f", "${Depends}", "libfuse3-dev"], text=True)
    (libfuse,) = re.findall("libfuse3-[0-9]+", compiled)  # its number grows with Debian's releases
    assert {"fuse3", "python3", libfuse, "libc6"} <= needed
    listed = subprocess.check_output(["dpkg-deb", "-c", package], text=True)
    for path in (
        "./usr/bin/vaultfs",
        "./usr/sbin/mount.fuse.vaultfs -> /usr/bin/mount.fuse.vaultfs",
        "./usr/lib/systemd/user/vaultfs@.service",
        "./usr/share/man/man1/vaultfs.1.gz",
        "./usr/lib/vaultfs/vaultfs/cli/main.py",
    ):
        assert f" {path}\n" in listed
    assert "__pycache__" not in listed
    owners = {line.split()[1] for line in listed.splitlines()}
    assert owners == {"root/root"}
