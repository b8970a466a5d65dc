"""Whole trees through the kernel, as copying programs make them."""

import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

TREE = Path(sysconfig.get_path("stdlib")) / "email"


def copy_with_cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True)


def copy_with_rsync(source: Path, target: Path) -> None:
    subprocess.run(["rsync", "-aHAX", f"{source}/", target], check=True)


def copy_with_tar(source: Path, target: Path) -> None:
    target.mkdir()
    with subprocess.Popen(["tar", "-C", source, "-c", "."], stdout=subprocess.PIPE) as packing:
        subprocess.run(["tar", "-C", target, "-xp"], stdin=packing.stdout, check=True)


@pytest.mark.parametrize(
    ("program", "copy"), [("cp", copy_with_cp), ("rsync", copy_with_rsync), ("tar", copy_with_tar)]
)
def test_a_copied_tree_is_the_same_after_a_remount(
    mounted_vault: MountedVault, program: str, copy: Callable[[Path, Path], None]
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    target = mounted_vault.path / "tree"
    copy(TREE, target)
    again = mounted_vault.remount()
    try:
        subprocess.run(["diff", "-r", TREE, target], check=True)
        for path in TREE.rglob("*"):
            copied = target / path.relative_to(TREE)
            assert copied.stat().st_mtime_ns // 1_000_000_000 == path.stat().st_mtime_ns // 1_000_000_000
            assert copied.stat().st_mode == path.stat().st_mode
        shutil.rmtree(target)
        again.unmount()
    finally:
        again.close()
