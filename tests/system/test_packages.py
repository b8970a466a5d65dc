"""What `scripts/package` makes: it installs where there was nothing, and works there."""

import shutil
import subprocess
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
        [PYTHON, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder / "pip", "build"],
        capture_output=True,
        check=False,
    )
    if reachable.returncode:
        pytest.skip("no package index can be reached")
    done = subprocess.run(["bash", REPOSITORY / "scripts/package", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.mount
@needs_fuse
@pytest.mark.parametrize("kind", ["py3-none-any.whl", "tar.gz"])
def test_it_installs_into_an_empty_environment(packages: Path, tmp_path: Path, kind: str) -> None:
    (package,) = packages.glob(f"vaultfs-{__version__}*{kind}")
    subprocess.run([PYTHON, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([tmp_path / "venv/bin/pip", "install", "--quiet", package], check=True, capture_output=True)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "plain").mkdir()
    env = {name: value for name, value in environment(HOME=str(tmp_path)).items() if not name.startswith("PYTHON")}

    def run(*words: str) -> str:
        return subprocess.check_output([tmp_path / "venv/bin" / words[0], *words[1:]], text=True, cwd=tmp_path, env=env)

    assert run("vaultfs", "--version") == f"vaultfs {__version__}\n"
    run("vaultfs", "init", "store", "--passfile", "password", *CHEAP)
    run("mount.fuse.vaultfs", "store", "plain", "-o", f"rw,passfile={tmp_path}/password")
    (tmp_path / "plain/note").write_text("mine")
    run("vaultfs", "umount", "plain")
    assert run("vaultfs", "cat", "--passfile", "password", "store:/note") == "mine"
    run("vaultfs", "install-helpers")
    assert (tmp_path / ".local/share/man/man1/vaultfs.1").is_file()


def test_the_debian_package_says_what_it_needs(packages: Path) -> None:
    if shutil.which("dpkg-deb") is None or shutil.which("dpkg-shlibdeps") is None:
        pytest.skip("not installed: dpkg-dev")
    (package,) = packages.glob("*.deb")
    fields = subprocess.check_output(["dpkg-deb", "-f", package, "Depends"], text=True)
    needed = {part.split()[0] for part in fields.split(",")}
    assert {"fuse3", "python3", "libfuse3-3", "libc6"} <= needed
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
