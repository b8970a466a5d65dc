"""`vaultfs info`: facts without a password, and what is wrong with a header or store that is not whole."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli.plain import opened
from tests.cli.running import PASSWORD, digest, lose_root_copies
from vaultfs.store.lock import VaultLock


def rewrite(header: Path, pattern: str, replacement: str) -> None:
    """Alter a header as a newer vaultfs, or someone with a text editor and patience, would: the checksum is right."""
    text, found = re.subn(pattern, replacement, header.read_text(), count=1)
    assert found
    body = text[: text.index('"checksum": "') + len('"checksum": "')]
    header.write_text(body + hashlib.sha256(body.encode()).hexdigest() + '"\n}\n')


def test_facts_for_people(vaultfs, vault: Path) -> None:
    before = digest(vault)
    done = vaultfs("info", vault)
    assert done.code == 0
    assert done.err == ""
    facts = dict(line.split(": ", 1) for line in done.out.splitlines())
    assert facts["Store"].strip() == str(vault)
    assert re.fullmatch(r"[0-9a-f]{32}", facts["Vault id"].strip())
    assert facts["Cipher"].strip() == "AES-256-GCM"
    assert facts["Chunk size"].strip() == "64 KiB"
    assert re.fullmatch(r"password, made \S+, Argon2id, 64 MiB, 1 passes, 4 lanes", facts["Key slot 1"].strip())
    assert facts["Open by"].strip() == "nobody"
    assert digest(vault) == before


def test_facts_for_programs(vaultfs, vault: Path) -> None:
    facts = json.loads(vaultfs("info", "--json", vault).out)
    assert set(facts) == {
        *("store", "vault_id", "version", "features", "cipher", "chunk_size", "epoch", "notes", "slots", "space"),
        "holder",
    }
    assert facts["holder"] is None
    assert facts["notes"] == []
    assert facts["version"] == 1
    assert 0 < facts["space"]["available"] <= facts["space"]["total"]


def test_who_has_it_open(vaultfs, vault: Path) -> None:
    vault_id = bytes.fromhex(json.loads((vault / "vaultfs.json").read_text())["vault_id"])
    with VaultLock.acquire(vault, vault_id, write=True):
        assert "process" in vaultfs("info", vault).out
        assert json.loads(vaultfs("info", vault, "--json").out)["holder"]["mode"] == "write"


@pytest.mark.parametrize(
    ("lost", "says"),
    [("vaultfs.json", "Its backup copy is used instead"), ("vaultfs.json.backup", "backup of the header is no help")],
)
def test_one_lost_copy_is_a_warning(vaultfs, vault: Path, lost: str, says: str) -> None:
    (vault / lost).write_bytes((vault / lost).read_bytes()[:-40])
    done = vaultfs("info", vault)
    assert done.code == 0
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("vaultfs: warning: ")
    assert says in done.err


def test_two_lost_copies_are_made_good_by_the_roots_and_four_are_damage(vaultfs, refused, vault: Path) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        data = bytearray((vault / name).read_bytes())
        data[100] ^= 1
        (vault / name).write_bytes(data)
    done = vaultfs("info", vault)
    assert done.code == 0
    assert "the copy in root.0 is used instead" in done.err
    assert "vaultfs key rebuild" in done.err
    lose_root_copies(vault)
    refused(vaultfs("info", vault), 8, "damaged")


@pytest.mark.parametrize(
    ("pattern", "replacement", "code", "says"),
    [
        (r'"version": 1', '"version": 2', 43, "version 2"),
        (r'"features": \[[^]]*\]', '"features": ["teleport"]', 43, "teleport"),
        (r'"cipher": "[^"]*"', '"cipher": "rot13"', 43, "rot13"),
        (r'"name": "argon2id"', '"name": "md5"', 43, "md5"),
        (r'"memory_kib": \d+', '"memory_kib": 99999999999', 8, "memory"),
        (r'"memory_kib": \d+', '"memory_kib": 1', 8, "memory"),
        (r'"passes": \d+', '"passes": 4000000000', 8, "passes"),
        (r'"epoch": 1', '"epoch": 1, "epoch": 2', 8, "epoch"),
    ],
)
def test_headers_from_elsewhere(vaultfs, refused, vault: Path, pattern, replacement, code: int, says: str) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        rewrite(vault / name, pattern, replacement)
    lose_root_copies(vault)
    before = digest(vault)
    refused(vaultfs("info", vault), code, says)
    refused(vaultfs("passwd", vault, stdin="correct horse battery\nanother good one\n"), code, says)
    assert digest(vault) == before


def test_no_vault(vaultfs, refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(vaultfs("info", tmp_path), 6, "is not a vault")
    refused(vaultfs("info", tmp_path / "missing"), 6, "There is no folder")
    refused(vaultfs("info", tmp_path / "file"), 6, "is not a folder")


def test_a_store_that_cannot_be_read_through_a_link_for_its_header(
    vaultfs, refused, vault: Path, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_bytes((vault / "vaultfs.json").read_bytes())
    lose_root_copies(vault)
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).unlink()
        (vault / name).symlink_to(tmp_path / "kept")
    refused(vaultfs("info", vault), 23, "cannot be read")


@pytest.mark.parametrize(
    "name", ["root.sync-conflict-20261130-120000-ABCDEF7.0", "root (conflicted copy 2026-11-30 120000).1"]
)
def test_a_root_of_another_way_the_vault_went_is_told(vaultfs, vault: Path, source: Path, name: str) -> None:
    """A sync client puts it there if two machines changed the store; one's own copies of a root are no such thing."""
    other = vault.parent / "other"
    shutil.copytree(vault, other)
    shutil.copy(vault / "root.0", vault / "root-backup.0")
    (vault / "root.0 2").write_text("something else")
    with opened(other) as plain:
        plain.put("theirs", b"x")
    with opened(vault) as plain:
        plain.put("ours", b"x")
    assert vaultfs("ls", vault, stdin=PASSWORD).err == ""
    shutil.copy(other / "root.0", vault / name)
    for words in (["import", source / "docs", vault], ["ls", vault], ["export", vault, vault.parent / "out"]):
        done = vaultfs(*words, stdin=PASSWORD)
        assert done.code == 0, done
        assert "Two machines changed the store at the same time" in done.err
        assert f"{name} is its root" in done.err
