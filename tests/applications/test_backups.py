"""Backup programs that keep their repository on the mount."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.applications.programs import make_tree, needs, run
from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    make_tree(tree)
    (tree / "random").write_bytes(os.urandom(3 << 20))
    return tree


def borg_environment(tmp_path: Path) -> Mapping[str, str]:
    return {
        "BORG_BASE_DIR": str(tmp_path),
        "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
    }


@needs("borg", "diff")
def test_borg(mounted_vault: MountedVault, tree: Path, tmp_path: Path) -> None:
    quiet = borg_environment(tmp_path)
    repository = mounted_vault.path / "repository"
    run("borg", "init", "--encryption=none", repository, environment=quiet)
    run("borg", "create", f"{repository}::first", ".", cwd=tree, environment=quiet)
    (tree / "json/decoder.py").write_text("changed\n")
    run("borg", "create", f"{repository}::second", ".", cwd=tree, environment=quiet)
    run("borg", "delete", f"{repository}::first", environment=quiet)
    run("borg", "compact", repository, environment=quiet)
    again = mounted_vault.remount()
    try:
        run("borg", "check", "--verify-data", repository, environment=quiet)
        back = tmp_path / "back"
        back.mkdir()
        run("borg", "extract", f"{repository}::second", cwd=back, environment=quiet)
        run("diff", "-r", "--no-dereference", tree, back)
        again.unmount()
    finally:
        again.close()


@needs("restic", "diff")
def test_restic(mounted_vault: MountedVault, tree: Path, tmp_path: Path) -> None:
    quiet = {"RESTIC_PASSWORD": "password", "RESTIC_REPOSITORY": str(mounted_vault.path / "repository")}
    run("restic", "--no-cache", "init", environment=quiet)
    run("restic", "--no-cache", "backup", ".", cwd=tree, environment=quiet)
    (tree / "json/decoder.py").write_text("changed\n")
    run("restic", "--no-cache", "backup", ".", cwd=tree, environment=quiet)
    again = mounted_vault.remount()
    try:
        run("restic", "--no-cache", "check", "--read-data", environment=quiet)
        run("restic", "--no-cache", "restore", "latest", "--target", tmp_path / "back", environment=quiet)
        run("diff", "-r", "--no-dereference", tree, tmp_path / "back")
        again.unmount()
    finally:
        again.close()
