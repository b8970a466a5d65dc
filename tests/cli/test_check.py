"""`vaultfs check`: what it says, its exit code, its JSON; on a mounted vault too."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.plain import opened
from tests.cli.running import PASSWORD
from vaultfs.cli.check import parse_rate, parse_share
from vaultfs.errors import UsageError


@pytest.fixture
def filled(vaultfs, vault: Path, tmp_path: Path) -> Path:
    """A vault with a few files in it."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        (source / f"file {number}").write_bytes(os.urandom(100_000))
    done = vaultfs("import", source, f"{vault}:", stdin=PASSWORD)
    assert done.code == 0, done
    return vault


def damage(vault: Path) -> Path:
    """Flip a bit in the largest object."""
    stored = max((vault / "objects").glob("*/*"), key=lambda path: path.stat().st_size)
    data = bytearray(stored.read_bytes())
    data[-1000] ^= 1
    stored.write_bytes(data)
    return stored


def test_a_sound_vault(vaultfs, filled: Path) -> None:
    done = vaultfs("check", filled, "--data", stdin=PASSWORD)
    assert done.code == 0, done
    assert "5 files" in done.out
    assert "all of the data was verified" in done.out
    assert "Nothing is wrong." in done.out
    assert done.err == ""


def test_damage_is_told_and_exits_26(vaultfs, filled: Path) -> None:
    stored = damage(filled)
    assert vaultfs("check", filled, stdin=PASSWORD).code == 0
    done = vaultfs("check", filled, "--data", stdin=PASSWORD)
    assert done.code == 26
    line = next(line for line in done.out.splitlines() if line.startswith("error: "))
    assert "/file " in line
    assert "bytes 65536 to 100000" in line
    assert str(stored.relative_to(filled)) in line
    assert done.err == (
        "vaultfs: The vault is damaged (1 error, named above); `vaultfs check --repair --dry-run` shows what can be "
        "mended.\n"
    )


def test_what_is_only_in_the_journal_is_told(vaultfs, vault: Path) -> None:
    """It said that there were no files, and nothing to verify, of a vault whose process was killed."""
    with opened(vault, killed=True) as plain:
        plain.put("file", b"x" * 100_000)
    done = vaultfs("check", "--data", vault, stdin=PASSWORD)
    assert done.code == 0, done
    assert "changes since the last checkpoint are in the journal; they were checked as well" in done.out


@pytest.mark.parametrize("option", ["--dry-run", "--zeros", "--missing-too"])
def test_what_goes_with_repair_goes_with_nothing_else(vaultfs, refused, vault: Path, option: str) -> None:
    refused(vaultfs("check", vault, option, stdin=PASSWORD), 1, "go with --repair")


def test_json(vaultfs, filled: Path) -> None:
    damage(filled)
    done = vaultfs("check", filled, "--data", "--json", stdin=PASSWORD)
    assert done.code == 26
    said = json.loads(done.out)
    assert said["counts"]["files"] == 5
    (found,) = said["findings"]
    assert (found["severity"], found["kind"], found["start"], found["end"]) == ("error", "corrupt", 65536, 100000)
    assert found["path"].startswith("/file ")
    assert said["coverage"]["share"] == 1


def test_a_missing_object_looks_partly_synced(vaultfs, filled: Path) -> None:
    damage(filled).unlink()
    done = vaultfs("check", filled, stdin=PASSWORD)
    assert done.code == 26
    assert "partly synced" in done.err


def test_samples_remember_what_they_covered(vaultfs, filled: Path) -> None:
    shares = [
        json.loads(vaultfs("check", filled, "--sample", "40%", "--json", stdin=PASSWORD).out)["coverage"]["share"]
        for _ in range(3)
    ]
    assert shares == [0.3984, 0.7969, 1]


def test_a_sample_without_data_says_what_it_covered(vaultfs, vault: Path) -> None:
    done = vaultfs("check", vault, "--sample", "5%", stdin=PASSWORD)
    assert done.code == 0, done
    assert "There is no data in 13 of the vault's 256 parts to verify; 5% of the data was verified on or" in done.out
    assert "There is no data in the vault to verify; all of the data" in (
        vaultfs("check", vault, "--data", stdin=PASSWORD).out
    )


def test_a_sample_says_how_much_of_the_vault_it_is(vaultfs, filled: Path) -> None:
    done = vaultfs("check", filled, "--sample", "99.9%", stdin=PASSWORD)
    assert "KiB verified in " in done.out
    done = vaultfs("check", filled, "--sample", "99%", stdin=PASSWORD)
    assert " in 253 of the vault's 256 parts verified in " in done.out


def test_resume_without_an_interrupted_check_is_a_whole_one(vaultfs, filled: Path) -> None:
    done = vaultfs("check", filled, "--resume", "--rate", "500M", "--json", stdin=PASSWORD)
    assert done.code == 0
    assert json.loads(done.out)["verified"] == 500_000


def test_the_backup_of_the_header(vaultfs, filled: Path) -> None:
    (filled / "vaultfs.json.backup").unlink()
    assert vaultfs("check", filled, stdin=PASSWORD).code == 26


@pytest.mark.parametrize("text", ["", "0", "M", "5X", "-3M"])
def test_nonsense_rates(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "5", "0%", "101%", "x%"])
def test_nonsense_shares(text: str) -> None:
    with pytest.raises(UsageError):
        parse_share(text)


def test_rates_and_shares() -> None:
    assert parse_rate("50M") == parse_rate("50MiB/s") == 50 << 20
    assert parse_rate("1.5k") == 1536
    assert parse_share("2.5%") == 0.025
