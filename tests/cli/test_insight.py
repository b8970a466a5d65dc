"""`vaultfs info --stats` and `--anchor`; a second machine that takes an anchor refuses an older store."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD


@pytest.fixture
def filled(vaultfs, vault: Path, tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"x" * 100_000)
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    return vault


def test_stats(vaultfs, filled: Path) -> None:
    assert vaultfs("check", "--data", filled, stdin=PASSWORD).code == 0
    done = vaultfs("info", "--stats", "--json", filled, stdin=PASSWORD)
    assert done.code == 0, done
    said = json.loads(done.out)["stats"]
    assert (said["counts"]["files"], said["counts"]["size"], said["counts"]["stored"]) == (1, 100_000, 100_000)
    assert said["taken"] > 100_000
    assert said["damage"] == 0
    shown = vaultfs("info", "--stats", filled, stdin=PASSWORD).out
    assert re.search(r"Files: +1, and 1 directory", shown)
    assert "all of the data was verified" in shown


def test_an_anchor_guards_a_machine_that_never_saw_the_vault(
    vaultfs, refused, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = shutil.copytree(filled, tmp_path / "old")
    (tmp_path / "more").mkdir()
    (tmp_path / "more/later").write_bytes(b"later")
    assert vaultfs("import", tmp_path / "more", filled, stdin=PASSWORD).code == 0
    anchor = vaultfs("info", "--anchor", filled, stdin=PASSWORD).out.strip()
    assert anchor.startswith("vaultfs-anchor-1:")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    assert vaultfs("ls", old, stdin=PASSWORD).code == 0
    refused(vaultfs("ls", old, "--anchor", anchor, stdin=PASSWORD), 41, "older")
    # From now on it is remembered; an anchor in a file is as good.
    refused(vaultfs("ls", old, stdin=PASSWORD), 41, "older")
    (tmp_path / "anchor").write_text(anchor + "\n")
    assert vaultfs("ls", filled, "--anchor", tmp_path / "anchor", stdin=PASSWORD).out == "file\nlater\n"
    assert vaultfs("ls", old, "--accept-rollback", stdin=PASSWORD).out == "file\n"


@pytest.mark.parametrize("text", ["", "nonsense", "vaultfs-anchor-1:00:1:00", "vaultfs-anchor-2:" + "0" * 70])
def test_nonsense_is_no_anchor(vaultfs, refused, filled: Path, text: str) -> None:
    refused(vaultfs("ls", filled, "--anchor", text, stdin=PASSWORD), 1, "no anchor")


def test_another_vaults_anchor(vaultfs, refused, filled: Path) -> None:
    anchor = f"vaultfs-anchor-1:{'0' * 32}:5:{'0' * 32}"
    refused(vaultfs("ls", filled, "--anchor", anchor, stdin=PASSWORD), 46, "another vault")
