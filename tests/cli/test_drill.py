"""`vaultfs drill` and what goes with it: do I still know it, can it be read, when was that; and `passphrase`."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD, digest
from vaultfs.store.lock import VaultLock


@pytest.fixture
def filled(vaultfs, vault: Path, tmp_path: Path) -> Path:
    """A vault with a few files."""
    place = tmp_path / "m"
    place.mkdir()
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    try:
        (place / "folder").mkdir()
        for number in range(4):
            (place / "folder" / f"{number}").write_bytes(os.urandom(300_000))
        (place / "link").symlink_to("folder")
    finally:
        assert vaultfs("umount", place).code == 0
    return vault


def test_a_drill_reads_files_back_and_notes_the_date(vaultfs, refused, filled: Path) -> None:
    before = digest(filled)
    done = vaultfs("drill", filled, stdin=PASSWORD)
    assert (done.code, done.err) == (0, "")
    assert "The password is right." in done.out
    assert "Read back and verified 4 files, 1.1 MiB." in done.out
    assert digest(filled) == before
    assert f"Last drill: {time.strftime('%Y-%m-%d', time.gmtime())}" in vaultfs("info", filled).out
    refused(vaultfs("drill", filled, stdin="something else\n"), 12, "wrong")


def test_a_drill_finds_damage(vaultfs, filled: Path) -> None:
    for stored in (filled / "objects").rglob("*"):
        if stored.is_file() and stored.stat().st_size > 200_000:
            data = bytearray(stored.read_bytes())
            for at in range(2000, len(data), 5000):
                data[at] ^= 1
            stored.write_bytes(data)
    assert vaultfs("drill", filled, stdin=PASSWORD).code == 26


def test_a_drill_beside_a_mount_tries_the_password_only(vaultfs, vault: Path) -> None:
    vault_id = bytes.fromhex(json.loads((vault / "vaultfs.json").read_text())["vault_id"])
    with VaultLock.acquire(vault, vault_id, write=True):
        done = vaultfs("drill", vault, stdin=PASSWORD)
    assert done.code == 0
    assert "The password is right." in done.out
    assert "No files were read back" in done.err


def test_a_drill_long_ago_is_mentioned(vaultfs, vault: Path) -> None:
    assert vaultfs("info", vault).err == ""
    header = json.loads((vault / "vaultfs.json").read_text())
    state = Path(os.environ["XDG_STATE_HOME"]) / "vaultfs" / f"{header['vault_id']}.drill"
    state.parent.mkdir(exist_ok=True)
    state.write_text('{"drilled": "2001-01-01T00:00:00Z"}')
    assert "2001-01-01" in vaultfs("info", vault).out
    assert "vaultfs drill" not in vaultfs("info", vault).err  # the password is new enough
    state.write_text("not json")
    assert "none known" in vaultfs("info", vault).out


def test_passphrases(vaultfs, refused) -> None:
    done = vaultfs("passphrase")
    assert len(done.out.split()) == 6
    assert "2^66" in done.err
    assert len(vaultfs("passphrase", "--words", "8").out.split()) == 8
    refused(vaultfs("passphrase", "--words", "3"), 1, "4 to 24")


def test_mount_refuses_another_vault_before_it_writes(vaultfs, refused, vault: Path, tmp_path: Path) -> None:
    place = tmp_path / "m"
    place.mkdir()
    assert vaultfs("key", "identity", vault, "--owner", "Ada", stdin=PASSWORD).code == 0
    vault_id = json.loads((vault / "vaultfs.json").read_text())["vault_id"]
    before = digest(vault)
    for options, code, says in (
        (("--expect-id", "0" * 32), 46, "This is not the vault 0000"),
        (("--expect-id", "xyz"), 1, "hex digits"),
        (("--expect-owner", "Eve"), 46, "it belongs to Ada"),
        (("--expect-owner", ""), 46, "it belongs to Ada"),
    ):
        refused(vaultfs("mount", vault, place, *options, stdin=PASSWORD), code, says)
    assert digest(vault) == before
    expected = ("--expect-id", vault_id[:8], "--expect-owner", "Ada")
    assert vaultfs("mount", vault, place, *expected, stdin=PASSWORD).code == 0
    assert vaultfs("umount", place).code == 0
