"""Other people's programs: needed or skipped, run and checked."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip, saying so, where one of the programs is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*command: str | Path, cwd: Path | None = None, environment: Mapping[str, str] = {}) -> str:
    """Run a program to its end; what it wrote to stdout. Fails the test with its stderr if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_tree(folder: Path) -> Path:
    """A small source tree: some hundred files of the Python library, in folders, with links."""
    library = Path(os.__file__).parent
    for part in ("json", "email", "asyncio", "logging", "unittest"):
        shutil.copytree(library / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "latest").symlink_to("json/decoder.py")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "empty").mkdir()
    (folder / "empty file").touch()
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\necho it runs\n")
    script.chmod(0o755)
    return folder
