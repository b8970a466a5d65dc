"""Serving in the background: what the parent is told, and what becomes of the child."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.mounting import REPOSITORY, eventually, has_ended


def run(body: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program whose background part is `body`; it prints what the parent was told."""
    program = f"""
import os, signal, sys, time, logging
from pathlib import Path
from vaultfs.errors import LockedElsewhere, VaultfsError
from vaultfs.mount.daemon import run_in_background
folder = Path(sys.argv[1])
def work(on_ready):
{textwrap.indent(textwrap.dedent(body), "    ")}
try:
    child = run_in_background(work)
    print("child", child)
except VaultfsError as error:
    print(type(error).__name__, error.exit_code, error)
"""
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=30)


def test_an_error_of_the_child_is_raised_in_the_parent(tmp_path: Path) -> None:
    done = run("raise LockedElsewhere('the vault is open by X')", tmp_path)
    assert done.stdout == "LockedElsewhere 40 the vault is open by X\n"
    assert done.stderr == ""


def test_an_unexpected_error_of_the_child_is_told(tmp_path: Path) -> None:
    done = run("1 / 0", tmp_path)
    assert done.stdout.startswith("VaultfsError 11 ")
    assert "ZeroDivisionError" in done.stdout


def test_an_error_of_the_system_is_told_in_its_words(tmp_path: Path) -> None:
    done = run("os.rmdir(folder / 'none')", tmp_path)
    assert done.stdout == (
        f"VaultfsError 11 {tmp_path / 'none'}: No such file or directory; what was synced is safe in the store\n"
    )
    done = run("raise OSError(28, 'No space left on device')", tmp_path)
    assert done.stdout == "VaultfsError 11 No space left on device; what was synced is safe in the store\n"


def test_the_death_of_the_child_is_told(tmp_path: Path) -> None:
    done = run("os.kill(os.getpid(), signal.SIGKILL)", tmp_path)
    assert done.stdout.startswith("VaultfsError 11 ")
    assert "signal 9" in done.stdout


def test_the_parent_ends_when_the_child_is_ready_and_no_sooner(tmp_path: Path) -> None:
    done = run(
        """
        time.sleep(0.3)
        (folder / "before").touch()
        on_ready()
        (folder / "state").write_text(f"{os.getsid(0) == os.getpid()} {os.getcwd()} {sys.stdin.read()!r}")
        print("unseen")
        while not (folder / "end").exists():
            time.sleep(0.01)
        (folder / "after").touch()
        """,
        tmp_path,
    )
    assert (tmp_path / "before").exists()
    child = int(done.stdout.removeprefix("child "))
    assert done.stderr == ""
    assert os.path.exists(f"/proc/{child}")
    assert eventually(lambda: (tmp_path / "state").exists() and (tmp_path / "state").read_text() != "")
    assert (tmp_path / "state").read_text() == "True / ''"
    (tmp_path / "end").touch()
    assert eventually((tmp_path / "after").exists)
    assert eventually(lambda: has_ended(child))


def test_a_failure_after_being_ready_writes_to_nobody_elses_file(tmp_path: Path) -> None:
    run(
        """
        on_ready()
        files = [open(folder / f"file{number}", "wb") for number in range(8)]
        (folder / "open").touch()
        raise LockedElsewhere("too late to tell")
        """,
        tmp_path,
    )
    assert eventually((tmp_path / "open").exists)
    assert all((tmp_path / f"file{number}").read_bytes() == b"" for number in range(8))


@pytest.mark.parametrize("module", ["mountpoint", "daemon", "unmounting", "mounttable", "options", "hardening"])
def test_the_quick_parts_load_no_fuse_library(module: str) -> None:
    program = f"import sys, vaultfs.mount.{module}; sys.exit(not {{'pyfuse3', 'trio'}}.isdisjoint(sys.modules))"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
