"""`vaultfs key`: several keys of each kind for one vault; each opens it, and the last one stays."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, digest, lose_root_copies
from vaultfs.store.lock import VaultLock

NEW = "something else entirely"


@pytest.fixture
def keys(vaultfs):
    """The keys of a vault: (type, label) of each."""
    return lambda store: [
        (key["type"], key["label"]) for key in json.loads(vaultfs("key", "list", store, "--json").out)
    ]


@pytest.fixture
def opens(vaultfs):
    """Whether `vaultfs key identity`, which needs a key, opens the vault with these options and this on stdin."""

    def check(store: Path, *options: str | Path, stdin: str = "") -> bool:
        done = vaultfs("key", "identity", store, *options, stdin=stdin)
        assert done.code in (0, 12), done
        return bool(done.code == 0)

    return check


def digits(page: str) -> str:
    """The digits on a page, of a recovery key or a share."""
    return " ".join(" ".join(row.split()[1:]) for row in page.splitlines() if re.match(r" +\d+:  \d{6}", row))


def test_a_second_password(vaultfs, refused, opens, keys, vault: Path) -> None:
    done = vaultfs("key", "add", vault, "--label", "Ada", *CHEAP, stdin=f"{PASSWORD}\n{NEW}\n{NEW}\n")
    assert (done.code, done.err) == (0, "")
    assert keys(vault) == [("password", ""), ("password", "Ada")]
    assert opens(vault, stdin=PASSWORD) and opens(vault, stdin=NEW)
    table = vaultfs("key", "list", vault)
    assert "Ada" in table.out and "Argon2id, 64 MiB, 1 passes" in table.out
    refused(vaultfs("key", "remove", vault, "Ada", stdin=NEW), 48, "give one that stays")
    refused(vaultfs("key", "remove", vault, "Ada", stdin="neither of both\n"), 12, "password is wrong")
    assert vaultfs("key", "remove", vault, "Ada", stdin=PASSWORD).code == 0
    assert keys(vault) == [("password", "")]
    assert opens(vault, stdin=PASSWORD) and not opens(vault, stdin=NEW)
    refused(vaultfs("key", "remove", vault, "1", stdin=PASSWORD), 48, "only key of the vault")
    assert json.loads((vault / "vaultfs.json").read_text())["epoch"] == 3


def test_one_password_is_changed_and_the_other_stays(vaultfs, opens, keys, vault: Path) -> None:
    assert vaultfs("key", "add", vault, "--label", "Ada", *CHEAP, stdin=f"{PASSWORD}\n{NEW}\n").code == 0
    third = "a third one, quite long"
    assert vaultfs("key", "change", vault, "Ada", *CHEAP, stdin=f"{PASSWORD}\n{third}\n").code == 0
    assert keys(vault) == [("password", ""), ("password", "Ada")]
    assert opens(vault, stdin=PASSWORD) and opens(vault, stdin=third) and not opens(vault, stdin=NEW)


def test_the_recovery_key_opens_and_resets_the_password(vaultfs, refused, opens, keys, vault: Path, tmp_path) -> None:
    page = tmp_path / "page.txt"
    done = vaultfs("key", "add", vault, "--recovery", "--page", page, *CHEAP, stdin=PASSWORD)
    assert (done.code, done.err) == (0, "")
    assert page.stat().st_mode & 0o777 == 0o600
    assert page.read_text() in done.out
    assert json.loads((vault / "vaultfs.json").read_text())["vault_id"] in page.read_text()
    key = digits(page.read_text())
    assert len(key.split()) == 16
    for stored in vault.rglob("*"):
        assert stored.is_dir() or key.split()[0].encode() not in stored.read_bytes()
    assert vaultfs("passwd", vault, "--recovery-key", stdin=f"{key}\n{NEW}\n{NEW}\n").code == 0
    assert keys(vault) == [("password", ""), ("recovery", "")]
    assert opens(vault, stdin=NEW) and not opens(vault, stdin=PASSWORD)
    assert opens(vault, "--recovery-key", stdin=key.replace(" ", ""))
    fifth = key.split()[4]
    typo = key.replace(fifth, f"{(int(fifth[0]) + 1) % 10}{fifth[1:]}")
    refused(vaultfs("passwd", vault, "--recovery-key", stdin=f"{typo}\n{NEW}\n"), 47, "typing error in group 5")
    refused(vaultfs("key", "add", vault, "--recovery", "--page", page, *CHEAP, stdin=NEW), 1, "there already")
    assert vaultfs("key", "remove", vault, "2", stdin=NEW).code == 0
    refused(vaultfs("key", "identity", vault, "--recovery-key", stdin=key), 12, "no key slot for a recovery key")


def test_any_two_of_three_shares_open(vaultfs, refused, opens, keys, vault: Path, tmp_path: Path) -> None:
    done = vaultfs("key", "add", vault, "--shares", "2/3", "--page", tmp_path / "s.txt", *CHEAP, stdin=PASSWORD)
    assert done.code == 0
    assert keys(vault)[1] == ("shares", "2 of 3 shares")
    shares = [digits((tmp_path / f"s-{number}.txt").read_text()) for number in (1, 2, 3)]
    assert opens(vault, "--from-shares", stdin=f"{shares[2]}\n{shares[0]}\n")
    for number in (1, 2):
        (tmp_path / f"only-{number}").write_text(shares[number])
    files = ("--passfile", tmp_path / "only-1", "--passfile", tmp_path / "only-2")
    assert vaultfs("passwd", vault, "--from-shares", *files, stdin=f"{NEW}\n").code == 0
    assert opens(vault, stdin=NEW)
    refused(vaultfs("key", "identity", vault, "--from-shares", *files[:2]), 47, "2 shares are needed, and 1 were given")
    refused(vaultfs("key", "identity", vault, "--from-shares", stdin=f"{shares[0]}\n" * 2), 47, "given twice")
    refused(vaultfs("key", "add", vault, "--shares", "6", stdin=NEW), 1, "such as 3/5")
    refused(vaultfs("key", "add", vault, "--shares", "1/5", stdin=NEW), 1, "such as 3/5")


def test_a_key_file_alone_and_with_a_password(vaultfs, refused, opens, keys, vault: Path, tmp_path: Path) -> None:
    alone, both = tmp_path / "alone.key", tmp_path / "photo.jpg"
    both.write_bytes(b"JFIF" * 100)
    add = ("key", "add", vault, *CHEAP, "--new-keyfile")
    assert vaultfs(*add, alone, "--generate", stdin=PASSWORD).code == 0
    assert vaultfs(*add, both, "--and-password", stdin=f"{PASSWORD}\n{NEW}\n").code == 0
    assert [kind for kind, _ in keys(vault)] == ["password", "keyfile", "keyfile+password"]
    assert opens(vault, "--keyfile", alone)
    assert opens(vault, "--keyfile", both, stdin=NEW)
    assert not opens(vault, "--keyfile", both, stdin=PASSWORD)
    assert not opens(vault, stdin=NEW)
    third = "a third one, quite long"
    assert vaultfs("passwd", vault, "--keyfile", both, stdin=f"{NEW}\n{third}\n").code == 0
    assert opens(vault, "--keyfile", both, stdin=third)
    both.write_bytes(b"JFIF" * 101)
    refused(vaultfs("key", "identity", vault, "--keyfile", both, stdin=third), 12, "key file is not the right one")
    refused(vaultfs(*add, vault / "k", "--generate", stdin=PASSWORD), 1, "in the store")
    refused(vaultfs(*add, alone, "--generate", stdin=PASSWORD), 1, "there already")
    refused(vaultfs("key", "identity", vault, "--keyfile", tmp_path / "none"), 9, "No such file")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("list", "nowhere"), 6, "no folder"),
        (("remove", "STORE", "7"), 1, "no key slot '7'"),
        (("change", "STORE", "Eve"), 1, "no key slot 'Eve'"),
        (("add", "STORE", "--recovery", "--shares", "2/3"), 1, "not allowed with"),
        (("add", "STORE", "--generate"), 1, "go with --new-keyfile"),
        (("add", "STORE", "--label", "x" * 300), 1, "printable"),
        (("add", "STORE", "--recovery", "--keyfile", "x", "--recovery-key"), 1, "only one of"),
        (("frobnicate", "STORE"), 1, "frobnicate"),
        (("identity", "STORE", "--label", "a\nb"), 1, "printable"),
        (("try", "STORE"), 22, "No password"),
    ],
)
def test_what_makes_no_sense_changes_nothing(vaultfs, refused, vault: Path, words, code: int, says: str) -> None:
    before = digest(vault)
    stdin = "" if words[0] == "try" else PASSWORD
    refused(vaultfs("key", *(vault if word == "STORE" else word for word in words), stdin=stdin), code, says)
    assert digest(vault) == before


def test_weak_passwords_and_consent(vaultfs, refused, vault: Path) -> None:
    add = ("key", "add", vault, *CHEAP)
    refused(vaultfs(*add, stdin=f"{PASSWORD}\npassword123\n"), 44, "most common")
    refused(vaultfs(*add, "--weak-ok", stdin=f"{PASSWORD}\npassword123\n"), 44, "most common")
    refused(vaultfs(*add, stdin=f"{PASSWORD}\nu8#Kz!p2\n"), 44, "--weak-ok")
    assert vaultfs(*add, "--weak-ok", stdin=f"{PASSWORD}\nu8#Kz!p2\n").code == 0


def test_tune_raises_the_costs_and_keeps_the_password(vaultfs, opens, vault: Path) -> None:
    done = vaultfs("key", "tune", vault, "--kdf-memory", "64", "--kdf-passes", "4", stdin=PASSWORD)
    assert done.code == 0
    assert "64 MiB, 4 passes" in vaultfs("key", "list", vault).out
    assert opens(vault, stdin=PASSWORD)
    assert vaultfs("key", "tune", vault, stdin=PASSWORD).code == 0
    assert "1 passes" not in vaultfs("key", "list", vault).out


def test_try_says_which_line(vaultfs, refused, vault: Path) -> None:
    before = digest(vault)
    done = vaultfs("key", "try", vault, stdin=f"one guess\n\none guess\n{PASSWORD}\nmore\n")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Line 4 opens the vault")
    assert PASSWORD not in done.out
    refused(vaultfs("key", "try", vault, stdin="one\ntwo\n\xe4\n"), 12, "None of the 3 passwords")
    assert digest(vault) == before


def test_a_vault_in_use_by_another_keeps_its_roots(vaultfs, opens, vault: Path) -> None:
    vault_id = bytes.fromhex(json.loads((vault / "vaultfs.json").read_text())["vault_id"])
    with VaultLock.acquire(vault, vault_id, write=True):
        before = digest(vault)
        done = vaultfs("key", "add", vault, *CHEAP, stdin=f"{PASSWORD}\n{NEW}\n")
        assert done.code == 0 and "The vault is open" in done.err
        changed = {name for name, content in digest(vault).items() if before[name] != content}
        assert changed == {"vaultfs.json", "vaultfs.json.backup"}
    assert opens(vault, stdin=NEW)


@pytest.mark.parametrize("damage", [None, b"", b"\0" * 500])
def test_two_lost_header_files_are_rebuilt(vaultfs, refused, vault: Path, damage: bytes | None) -> None:
    whole = (vault / "vaultfs.json").read_bytes()
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).unlink() if damage is None else (vault / name).write_bytes(damage)
    refused(vaultfs("key", "rebuild", vault, stdin="not the password\n"), 12, "wrong")
    done = vaultfs("key", "rebuild", vault, stdin=PASSWORD)
    assert done.code == 0
    assert (vault / "vaultfs.json").read_bytes() == (vault / "vaultfs.json.backup").read_bytes() == whole
    assert "nothing to rebuild" in vaultfs("key", "rebuild", vault, stdin=PASSWORD).out


def test_an_outdated_header_is_rebuilt_from_newer_roots(vaultfs, refused, opens, vault: Path) -> None:
    old = {name: (vault / name).read_bytes() for name in ("vaultfs.json", "vaultfs.json.backup")}
    assert vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n").code == 0
    new = (vault / "vaultfs.json").read_bytes()
    for name, content in old.items():
        (vault / name).write_bytes(content)
    refused(vaultfs("key", "rebuild", vault, stdin=PASSWORD), 12, "password is wrong")
    assert vaultfs("key", "rebuild", vault, stdin=NEW).code == 0
    assert all((vault / name).read_bytes() == new for name in old)


def test_a_lost_header_does_not_keep_the_password_from_being_changed(vaultfs, opens, vault: Path) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).unlink()
    assert vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n").code == 0
    assert vaultfs("info", vault).err == ""
    assert opens(vault, stdin=NEW)


def test_nothing_left_to_rebuild_from(vaultfs, refused, vault: Path) -> None:
    lose_root_copies(vault)
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).write_bytes(b"{}")
    refused(vaultfs("key", "rebuild", vault, stdin=PASSWORD), 8, "No other copy of it is whole")


def test_the_header_of_another_vault(vaultfs, refused, vault: Path, tmp_path: Path) -> None:
    assert vaultfs("init", tmp_path / "other", *CHEAP, stdin=NEW).code == 0
    whole = (vault / "vaultfs.json").read_bytes()
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).write_bytes((tmp_path / "other" / name).read_bytes())
    refused(vaultfs("info", vault), 46, "header of another vault")
    refused(vaultfs("passwd", vault, stdin=f"{NEW}\n{NEW}\n"), 46, "header of another vault")
    assert vaultfs("key", "rebuild", vault, stdin=PASSWORD).code == 0
    assert (vault / "vaultfs.json").read_bytes() == whole


def test_label_and_owner_are_kept_and_hidden(vaultfs, tmp_path: Path) -> None:
    store = tmp_path / "s"
    who = ("--owner", "+49 170 1234567", "--label", "Family photos")
    assert vaultfs("init", store, *CHEAP, *who, stdin=PASSWORD).code == 0
    for stored in store.rglob("*"):
        if stored.is_file():
            assert b"1234567" not in stored.read_bytes()
            assert b"Family" not in stored.read_bytes()
    assert "+49 170 1234567" in vaultfs("key", "identity", store, stdin=PASSWORD).out
    assert vaultfs("key", "identity", store, "--owner", "Ada", stdin=PASSWORD).code == 0
    shown = vaultfs("key", "identity", store, stdin=PASSWORD).out
    assert "Ada" in shown and "Family photos" in shown and "1234567" not in shown


def test_init_with_a_recovery_key(vaultfs, opens, keys, tmp_path: Path) -> None:
    done = vaultfs("init", tmp_path / "s", "--recovery", *CHEAP, stdin=PASSWORD)
    assert done.code == 0
    assert "RECOVERY KEY" in done.out
    assert keys(tmp_path / "s") == [("password", ""), ("recovery", "")]
    assert opens(tmp_path / "s", "--recovery-key", stdin=digits(done.out))


UNWRITABLE = """
import os
access = os.access
os.access = lambda path, mode, **more: mode != os.W_OK and access(path, mode, **more)
"""
FULL = """
from vaultfs.keys import headerfile
def save(*args, **more):
    raise OSError(28, "No space left on device")
headerfile.save = save
"""


@pytest.mark.parametrize("kind", [("--recovery",), ("--shares", "2/3")])
def test_no_key_is_shown_that_cannot_be_put_in_force(vaultfs, refused, vault: Path, kind: tuple[str, ...]) -> None:
    done = vaultfs("key", "add", vault, *kind, stdin=PASSWORD, first=UNWRITABLE)
    refused(done, 6, "cannot be written to")
    assert done.out == ""
    done = vaultfs("key", "add", vault, *kind, stdin=PASSWORD, first=FULL)
    assert done.code == 11, done
    assert "The key shown above is not in force" in done.err


def test_init_shows_no_key_where_no_vault_can_be_made(vaultfs, refused, tmp_path: Path) -> None:
    done = vaultfs("init", tmp_path / "store", *CHEAP, "--recovery", stdin=PASSWORD, first=UNWRITABLE)
    refused(done, 7, f"The folder {tmp_path} cannot be written to")
    done = vaultfs("init", tmp_path / "store", *CHEAP, "--recovery", stdin=PASSWORD, first=FULL)
    assert done.code == 11, done
    assert "The key shown above is not in force" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.mount
def test_keys_of_a_mounted_vault(vaultfs, refused, opens, vault: Path, tmp_path: Path) -> None:
    place = tmp_path / "m"
    place.mkdir()
    old = {name: (vault / name).read_bytes() for name in ("vaultfs.json", "vaultfs.json.backup")}
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    try:
        (place / "file").write_text("content")
        done = vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n")
        assert done.code == 0 and "The vault is open" in done.err
        assert (place / "file").read_text() == "content"
    finally:
        assert vaultfs("umount", place).code == 0
    assert opens(vault, stdin=NEW) and not opens(vault, stdin=PASSWORD)
    # The roots have learnt of the change: the header of before is refused, with its password, until that is accepted.
    for name, content in old.items():
        (vault / name).write_bytes(content)
    refused(vaultfs("mount", vault, place, stdin=PASSWORD), 41, "header is older")
    refused(vaultfs("passwd", vault, stdin=f"{PASSWORD}\n{NEW}\n"), 41, "header is older")
    for name in old:
        (vault / name).unlink()
    assert opens(vault, stdin=NEW) and not opens(vault, stdin=PASSWORD)
    for name, content in old.items():
        (vault / name).write_bytes(content)
    accepted = vaultfs("passwd", vault, "--accept-rollback", stdin=f"{PASSWORD}\nyet another good one\n")
    assert accepted.code == 0
    assert opens(vault, stdin="yet another good one")


def test_qr_codes_need_their_package_and_are_drawn_with_it(vaultfs, refused, vault: Path, tmp_path: Path) -> None:
    add = ("key", "add", vault, "--recovery", "--qr", "--qr-png", tmp_path / "qr.png", *CHEAP)
    done = vaultfs(*add, stdin=PASSWORD)
    if find_spec("segno") is None:
        refused(done, 1, "need the package segno")
        assert not (tmp_path / "qr.png").exists()
        return
    assert done.code == 0
    assert done.out.count("█") > 300
    assert (tmp_path / "qr.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "qr.png").stat().st_mode & 0o777 == 0o600
