"""Keys on a terminal: what is asked, what is shown once, and that what was typed wrong is asked again."""

import re
from pathlib import Path

from tests.cli.running import CHEAP, PASSWORD

NEW = "something else entirely"


def group(shown: str) -> str:
    """The group that was asked for last, from the page that was shown before."""
    groups = [g for row in re.findall(r"^ +\d+:  ([\d ]+)\r?$", shown, re.MULTILINE) for g in row.split()]
    asked = re.findall(r"group (\d+) of the recovery key: ", shown)
    return str(groups[int(asked[-1]) - 1]) + "\n"


def test_init_offers_a_recovery_key_and_has_a_part_typed_again(terminal, vaultfs, tmp_path: Path) -> None:
    done = terminal(
        *("init", tmp_path / "s", *CHEAP),
        dialogue=[
            ("Type yes", "yes\n"),
            ("New password:", f"{PASSWORD}\n"),
            ("same again:", f"{PASSWORD}\n"),
            ("recovery key be made as well", "yes\n"),
            ("of the recovery key: ", "123456\n"),
            ("not the group shown", ""),
            ("of the recovery key: ", group),
            ("of the recovery key: ", group),
        ],
    )
    assert done.code == 0, done
    assert PASSWORD not in done.out
    rows = re.findall(r"^ +\d+:  ([\d ]+)\r?$", done.out, re.MULTILINE)
    reset = terminal(
        *("passwd", tmp_path / "s", "--recovery-key"),
        dialogue=[
            *((f"Recovery key, row {number} of 4:", f"{row}\n") for number, row in enumerate(rows, 1)),
            ("New password:", f"{NEW}\n"),
            ("same again:", f"{NEW}\n"),
        ],
    )
    assert reset.code == 0, reset
    assert rows[0] not in reset.out
    assert vaultfs("key", "identity", tmp_path / "s", stdin=NEW).code == 0


def test_a_recovery_key_that_was_not_kept_is_not_added(terminal, vault: Path) -> None:
    before = (vault / "vaultfs.json").read_bytes()
    done = terminal(
        *("key", "add", vault, "--recovery", *CHEAP),
        dialogue=[("Present password:", f"{PASSWORD}\n"), *[("of the recovery key: ", "what?\n")] * 3],
    )
    assert done.code == 47
    assert "no key was added" in done.out
    assert (vault / "vaultfs.json").read_bytes() == before


def test_a_cheap_key_is_mentioned(terminal, vault: Path) -> None:
    done = terminal("key", "identity", vault, dialogue=[("Password:", f"{PASSWORD}\n")])
    assert done.code == 0
    assert "vaultfs key tune" in done.out


def test_mount_offers_to_rebuild_a_lost_header(terminal, vaultfs, vault: Path, tmp_path: Path) -> None:
    place = tmp_path / "m"
    place.mkdir()
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).unlink()
    done = terminal(
        "mount", vault, place, dialogue=[("Password:", f"{PASSWORD}\n"), ("Shall they be written again?", "yes\n")]
    )
    try:
        assert done.code == 0, done
        assert (vault / "vaultfs.json").read_bytes() == (vault / "vaultfs.json.backup").read_bytes()
    finally:
        assert vaultfs("umount", place).code == 0
    assert vaultfs("info", vault).err == ""
