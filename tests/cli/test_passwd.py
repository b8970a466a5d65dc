"""`vaultfs passwd`: the new password opens, the old one does not, and nothing else changes."""

import json
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, digest, lose_root_copies
from vaultfs.store.lock import VaultLock

NEW = "something else entirely"


def test_the_new_password_opens_and_the_old_one_does_not(vaultfs, refused, vault: Path) -> None:
    before = digest(vault / "objects")
    done = vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n{NEW}\n")
    assert (done.code, done.err) == (0, "")
    assert "old password" in done.out
    assert (vault / "vaultfs.json").read_bytes() == (vault / "vaultfs.json.backup").read_bytes()
    assert json.loads((vault / "vaultfs.json").read_text())["epoch"] == 2
    assert digest(vault / "objects") == before
    refused(vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n"), 12, "password is wrong")
    assert vaultfs("passwd", vault, stdin=f"{NEW}\n{PASSWORD}\n").code == 0


def test_files_and_commands(vaultfs, vault: Path, tmp_path: Path) -> None:
    (tmp_path / "old").write_text(PASSWORD)
    (tmp_path / "new").write_text(NEW)
    done = vaultfs("passwd", vault, "--passfile", tmp_path / "old", "--new-passfile", tmp_path / "new")
    assert done.code == 0
    done = vaultfs("passwd", "--extpass", f"echo '{NEW}'", "--new-extpass", f"echo '{PASSWORD}'", vault)
    assert done.code == 0


def test_costs_can_be_changed_and_else_stay(vaultfs, vault: Path) -> None:
    def kdf() -> dict[str, object]:
        return dict(json.loads(vaultfs("info", "--json", vault).out)["slots"][0]["kdf"])

    before = kdf()
    assert vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n").code == 0
    assert kdf() == before
    assert vaultfs("passwd", vault, *CHEAP, "--kdf-passes", "2", stdin=f"{NEW}\n{PASSWORD}\n").code == 0
    assert kdf() == before | {"passes": 2}


def test_on_a_terminal(terminal, vaultfs, vault: Path) -> None:
    done = terminal(
        *("passwd", vault),
        dialogue=[("Present password:", f"{PASSWORD}\n"), ("New password:", f"{NEW}\n"), ("same again:", f"{NEW}\n")],
    )
    assert done.code == 0, done
    assert PASSWORD not in done.out
    assert NEW not in done.out
    assert vaultfs("passwd", vault, stdin=f"{NEW}\n{PASSWORD}\n").code == 0


@pytest.mark.parametrize(
    ("stdin", "code", "says"),
    [
        (f"wrong {PASSWORD}\n{NEW}\n", 12, "password is wrong"),
        ("\n", 22, "empty"),
        (f"{PASSWORD}\n", 22, "empty"),
        (f"{PASSWORD}\nshort\n", 44, "at least 8"),
        (f"{PASSWORD}\n{NEW}\n{NEW}x\n", 9, "differ"),
    ],
)
def test_refusals_change_nothing(vaultfs, refused, vault: Path, stdin: str, code: int, says: str) -> None:
    before = digest(vault)
    refused(vaultfs("passwd", vault, stdin=stdin), code, says)
    assert digest(vault) == before


def test_the_roots_of_a_vault_that_is_open_are_left_alone(vaultfs, vault: Path) -> None:
    vault_id = bytes.fromhex(json.loads((vault / "vaultfs.json").read_text())["vault_id"])
    with VaultLock.acquire(vault, vault_id, write=True):
        before = digest(vault)
        done = vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n")
        assert done.code == 0
        assert "The vault is open" in done.err
        changed = {name for name, content in digest(vault).items() if before[name] != content}
        assert changed == {"vaultfs.json", "vaultfs.json.backup"}


def test_the_roots_of_a_vault_that_is_open_for_reading_take_the_change(vaultfs, refused, vault: Path) -> None:
    """Who reads will not do it: the old password would open the copies in the roots until somebody writes."""
    vault_id = bytes.fromhex(json.loads((vault / "vaultfs.json").read_text())["vault_id"])
    with VaultLock.acquire(vault, vault_id, write=False):
        done = vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n")
        assert (done.code, done.err) == (0, "")
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).unlink()
    refused(vaultfs("ls", vault, stdin=PASSWORD), 12, "password is wrong")
    assert vaultfs("ls", vault, stdin=NEW).code == 0


def test_a_damaged_copy_is_said_and_mended(vaultfs, vault: Path) -> None:
    (vault / "vaultfs.json").write_text("{}")
    done = vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n")
    assert done.code == 0
    assert "backup copy is used" in done.err
    assert vaultfs("info", vault).err == ""


def test_a_damaged_header_is_not_a_wrong_password(vaultfs, refused, vault: Path) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).write_bytes((vault / name).read_bytes()[:200])
    lose_root_copies(vault)
    refused(vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n"), 8, "damaged")
