"""A broken journal of an unclean vault: what is good in it stays, and nobody is told that all was copied."""

import os
from pathlib import Path

import pytest

from tests.cli.plain import flip, opened
from tests.cli.running import PASSWORD
from vaultfs.format.constants import JOURNAL_HEADER_SIZE


def contents(out: Path) -> set[bytes]:
    return {path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_records_behind_a_broken_one_are_not_thrown_away(vaultfs, vault: Path, tmp_path: Path) -> None:
    """All had been synced, but nothing that came later says so. Whole chunks stand in objects of their own."""
    expected = {b"base", *(bytes([number]) * 200_000 for number in range(1, 5))}
    with opened(vault) as plain:
        plain.put("base", b"base")
    with opened(vault, killed=True) as plain:
        for number in range(5):
            plain.put(f"file {number}", bytes([number]) * 200_000)
    (journal,) = (path for path in (vault / "journal").iterdir() if path.name != "ballast")
    flip(journal, JOURNAL_HEADER_SIZE + 28)
    done = vaultfs("check", vault, stdin=PASSWORD)
    assert done.code == 0, done
    assert "later changes stand behind a broken one" in done.out
    for out in ("before", "after", "later"):
        done = vaultfs("export", "--salvage", vault, tmp_path / out, stdin=PASSWORD)
        assert expected <= contents(tmp_path / out), done
        with opened(vault) as plain:
            plain.put(out, b"more")
    assert len(list((vault / "quarantine").iterdir())) == 1


@pytest.mark.parametrize("command", ["export", "ls", "tree", "cat"])
def test_who_reads_is_told_at_the_end_that_changes_are_missing(
    vaultfs, vault: Path, tmp_path: Path, command: str
) -> None:
    """A script that deletes the store once everything is exported must not go on."""
    with opened(vault) as plain:
        plain.put("base", b"base")
    with opened(vault, killed=True) as plain:
        plain.put("last", b"last")
    (journal,) = (path for path in (vault / "journal").iterdir() if path.name != "ballast")
    flip(journal, 40)
    place = f"{vault}:base" if command == "cat" else vault
    out, again = ([tmp_path / "out"], [tmp_path / "again"]) if command == "export" else ([], [])
    done = vaultfs(command, place, *out, stdin=PASSWORD)
    assert done.code == 26, done
    assert "The last changes are missing in this" in done.err.splitlines()[-1]
    found = " ".join(os.listdir(tmp_path / "out")) if out else done.out
    assert "base" in found
    assert "last" not in found
    assert vaultfs(command, "--accept-damage", place, *again, stdin=PASSWORD).code == 0


@pytest.mark.expects_log("changes are left out: the header of journal/00000002 is broken")
def test_who_reads_is_told_as_well_if_only_the_later_of_two_journals_is_broken(
    vaultfs, vault: Path, tmp_path: Path
) -> None:
    """A checkpoint had begun, and what came meanwhile went to a journal of its own."""
    with opened(vault, killed=True) as plain:
        plain.put("older", b"older")
        assert plain.vault.begin_checkpoint()
        plain.put("later", b"later")
    _, journal = sorted(path for path in (vault / "journal").iterdir() if path.name != "ballast")
    flip(journal, 40)
    done = vaultfs("check", vault, stdin=PASSWORD)
    assert done.code == 26, done
    assert f"the header of journal/{journal.name} is broken, and its changes are missing" in done.out
    done = vaultfs("export", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26, done
    assert contents(tmp_path / "out") == {b"older"}
    with opened(vault, accept_damage=True) as plain:
        plain.put("more", b"more")
    assert f"journal-{journal.name}" in os.listdir(vault / "quarantine")
    done = vaultfs("export", "--salvage", vault, tmp_path / "salvaged", stdin=PASSWORD)
    assert done.code == 0, done
    assert contents(tmp_path / "salvaged") == {b"older", b"later", b"more"}
