"""Programs that are run from the mount, and other filesystems on top of it."""

import errno
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.applications.programs import make_tree, needs, run
from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]


def test_a_program_and_a_script_run(folder: Path) -> None:
    program = folder / "program"
    shutil.copy("/bin/echo", program)
    assert run(program, "hello") == "hello\n"
    script = folder / "script"
    script.write_text(f"#!{program} from\n")
    script.chmod(0o755)
    assert run(script) == f"from {script}\n"


def test_a_running_program_cannot_be_written(folder: Path) -> None:
    program = folder / "program"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as running:
        try:
            with pytest.raises(OSError) as caught:
                program.open("r+b").close()
            assert caught.value.errno == errno.ETXTBSY
            program.rename(folder / "renamed")
            shutil.copy("/bin/echo", program)
        finally:
            running.kill()
    assert run(program, "new") == "new\n"


def test_a_python_environment_is_made_and_used(mounted_vault: MountedVault) -> None:
    place = mounted_vault.path / "environment"
    venv.create(place, symlinks=False, with_pip=False)
    packages = Path(run(place / "bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    assert packages.is_relative_to(place)
    make_tree(packages / "package")
    (packages / "package/__init__.py").touch()
    again = mounted_vault.remount()
    try:
        code = "import package.json.encoder as found; print(found.__file__, found.__cached__)"
        file, cached = run(place / "bin/python", "-c", code, environment={"PYTHONDONTWRITEBYTECODE": ""}).split()
        assert Path(file) == packages / "package/json/encoder.py"
        assert Path(cached).exists()
        run(place / "bin/python", "-m", "compileall", "-q", packages)
        again.unmount()
    finally:
        again.close()


@pytest.mark.slow
def test_pip_installs_itself_into_an_environment(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import ensurepip"], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("this Python has no ensurepip")
    venv.create(folder / "environment", with_pip=True)
    assert str(folder) in run(folder / "environment/bin/python", "-m", "pip", "--version")


@needs("mount", "umount")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts an overlay, which needs root")
def test_an_overlay_on_top(folder: Path, tmp_path: Path) -> None:
    """The mount can be the lower layer; the kernel allows no FUSE filesystem as the upper one."""
    lower, upper, work, merged = folder / "lower", tmp_path / "upper", tmp_path / "work", tmp_path / "merged"
    for needed in (lower, upper, work, merged):
        needed.mkdir()
    make_tree(lower)
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    if subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", merged], check=False).returncode:
        pytest.skip("this kernel, or the temporary folder's filesystem, has no overlays")
    try:
        assert run(merged / "run.sh") == "it runs\n"
        (merged / "json/decoder.py").write_text("changed\n")
        (merged / "run.sh").unlink()
        assert not (merged / "run.sh").exists()
        assert (merged / "latest").read_text() == "changed\n"
    finally:
        subprocess.run(["umount", merged], check=True)
    assert (lower / "run.sh").exists()
    assert (lower / "json/decoder.py").read_text() != "changed\n"
