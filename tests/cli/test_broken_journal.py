"""One broken record in an unclean vault's journal: the good ones behind it stay, in the copy that salvage reads."""

from pathlib import Path

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
