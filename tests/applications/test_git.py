"""git: many small files, renames over locks, packs read through memory maps, and trust in stat."""

from pathlib import Path

import pytest

from tests.applications.programs import make_tree, needs, run
from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse, needs("git")]

QUIET = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
}


def git(where: Path, *command: str | Path) -> str:
    return run("git", *command, cwd=where, environment=QUIET)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository elsewhere, with three commits and a branch."""
    repository = tmp_path / "origin"
    repository.mkdir()
    make_tree(repository)
    git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=first")
    for number in range(2):
        (repository / "json/decoder.py").write_text(f"# {number}\n")
        git(repository, "commit", "--quiet", "--all", f"--message=change {number}")
    git(repository, "branch", "side", "HEAD~1")
    return repository


def test_a_clone_lives_on_the_mount(mounted_vault: MountedVault, origin: Path) -> None:
    clone = mounted_vault.path / "clone"
    git(mounted_vault.path, "clone", "--quiet", "--no-local", origin, clone)
    (clone / "new").write_text("new\n")
    git(clone, "add", "new")
    git(clone, "commit", "--quiet", "--message=new")
    git(clone, "checkout", "--quiet", "side")
    git(clone, "merge", "--quiet", "--no-edit", "main")
    git(clone, "gc", "--quiet", "--prune=now")
    assert "pack" in str(list((clone / ".git/objects/pack").glob("*.pack")))
    git(clone, "fsck", "--full", "--strict")
    assert git(clone, "status", "--porcelain") == ""
    again = mounted_vault.remount()
    try:
        git(clone, "diff-files", "--quiet")  # by stat alone: sizes, times and inode numbers are still the same
        assert git(clone, "status", "--porcelain") == ""
        git(clone, "fsck", "--full", "--strict")
        (clone / "json/decoder.py").write_text("changed\n")
        assert git(clone, "status", "--porcelain") == " M json/decoder.py\n"
        again.unmount()
    finally:
        again.close()
