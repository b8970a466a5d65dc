"""`vaultfs rekey` on the command line: what is asked and refused, which keys go over, and how it goes on."""

import io
import json
import random
import re
import signal
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, signals_itself
from tests.cli.trees import facts_of
from vaultfs.check.rekeying import HEADERS, NAMES
from vaultfs.cli import progress
from vaultfs.cli.check import _refuse_if_rekeyed
from vaultfs.cli.output import Output
from vaultfs.cli.rekey import _Phases
from vaultfs.errors import VaultfsError
from vaultfs.keys.header import serialise, unlock
from vaultfs.keys.headerfile import load, save
from vaultfs.keys.rekey import begin, carry_over
from vaultfs.keys.rootcopies import read_copies
from vaultfs.store.directory import DirectoryStore

SECOND = "a second password entirely"


def master(vault: Path, password: str = PASSWORD) -> bytes:
    return unlock((vault / "vaultfs.json").read_bytes(), password.encode()).master


def slots(vault: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((vault / "vaultfs.json").read_bytes())["slots"]
    return found


def begin_only(vault: Path) -> None:
    """Leave the vault as a change of the master key does that was interrupted at once."""
    with DirectoryStore(vault, write=True) as store:
        unlocked = unlock(load(store).raw, PASSWORD.encode())
        begun = begin(unlocked)
        slot = carry_over(unlocked.slot, PASSWORD.encode(), begun, unlocked.slot.kdf)
        header = begun.header.__class__(
            begun.header.vault_id, begun.header.epoch, begun.header.chunk_size, (slot,),
            begun.header.identity, begun.header.previous,
        )  # fmt: skip
        save(store, serialise(header, begun.keys.header_mac_key))


def test_the_password_stays_and_the_master_key_is_another(vaultfs, vault: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "note").write_text("mine")
    assert vaultfs("import", tmp_path / "plain", vault, stdin=PASSWORD).code == 0
    old, header = master(vault), (vault / "vaultfs.json").read_bytes()
    done = vaultfs("rekey", vault, *CHEAP, stdin=PASSWORD)
    assert done.code == 0, done
    assert "The vault has a new master key" in done.out
    assert "Copies of the store made before still open with the old key" in done.err
    assert master(vault) != old
    assert vaultfs("cat", f"{vault}:note", stdin=PASSWORD).out == "mine"
    assert vaultfs("check", vault, "--data", stdin=PASSWORD).code == 0
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).write_bytes(header)
    done = vaultfs("cat", f"{vault}:note", "--accept-rollback", stdin=PASSWORD)
    assert (done.code, done.out) == (6, "")
    assert "key rebuild" in done.err


def test_a_wrong_password_changes_nothing(vaultfs, refused, vault: Path) -> None:
    before = (vault / "vaultfs.json").read_bytes()
    refused(vaultfs("rekey", vault, *CHEAP, stdin="something else"), 12, "password is wrong")
    assert (vault / "vaultfs.json").read_bytes() == before


def test_keys_are_not_dropped_without_a_word(vaultfs, refused, vault: Path) -> None:
    done = vaultfs("key", "add", vault, "--label", "spare", *CHEAP, stdin=f"{PASSWORD}\n{SECOND}\n")
    assert done.code == 0, done
    before = (vault / "vaultfs.json").read_bytes()
    refused(vaultfs("rekey", vault, *CHEAP, stdin=PASSWORD), 1, "--drop-other-keys")
    assert (vault / "vaultfs.json").read_bytes() == before
    done = vaultfs("rekey", vault, "--drop-other-keys", *CHEAP, stdin=SECOND)
    assert done.code == 0, done
    assert "key 1, password" in done.err
    (slot,) = slots(vault)
    assert slot["label"] == "spare"
    assert vaultfs("ls", vault, stdin=PASSWORD).code == 12
    assert vaultfs("ls", vault, stdin=SECOND).code == 0


def test_journals_that_were_put_away_are_not_dropped_without_a_word(vaultfs, refused, vault: Path) -> None:
    (vault / "quarantine").mkdir()
    (vault / "quarantine/20261130-120000").mkdir()
    (vault / "quarantine/journal-0000000a").write_bytes(b"changes")
    before = (vault / "vaultfs.json").read_bytes()
    for options in ((), ("--yes",)):
        done = vaultfs("rekey", vault, *options, *CHEAP, stdin=PASSWORD)
        refused(done, 1, "1 journals in quarantine (journal-0000000a is one) will open no more")
    assert (vault / "vaultfs.json").read_bytes() == before
    done = vaultfs("rekey", vault, "--drop-kept-journals", *CHEAP, stdin=PASSWORD)
    assert done.code == 0, done
    assert "export --salvage" in done.err


def test_on_a_terminal_each_key_is_asked_for(terminal, vaultfs, vault: Path, tmp_path: Path) -> None:
    """One is kept, one is mistyped and then kept, one is let go, and a new recovery key is made."""
    keyfile = tmp_path / "key.file"
    keyfile.write_bytes(bytes(range(64)))
    for arguments, stdin in (
        (("--label", "spare"), f"{PASSWORD}\n{SECOND}\n"),
        (("--new-keyfile", keyfile, "--label", "stick"), f"{PASSWORD}\n"),
        (("--recovery", "--label", "paper"), f"{PASSWORD}\n"),
    ):
        done = vaultfs("key", "add", vault, *arguments, *CHEAP, stdin=stdin)
        assert done.code == 0, done
    old = master(vault)

    def group(shown: str) -> str:
        groups = [g for row in re.findall(r"^ +\d+:  ([\d ]+)\r?$", shown, re.MULTILINE) for g in row.split()]
        asked = re.findall(r"group (\d+) of the recovery key: ", shown)
        return str(groups[int(asked[-1]) - 1]) + "\n"

    done = terminal(
        *("rekey", vault, *CHEAP),
        dialogue=[
            ("Password:", f"{PASSWORD}\n"),
            ("a new master key? Type yes", "yes\n"),
            ("Password of key 2, password 'spare':", "not this one\n"),
            ("Try again", ""),
            ("Password of key 2, password 'spare':", f"{SECOND}\n"),
            ("Path of the key file of key 3, keyfile 'stick':", f"{keyfile}\n"),
            ("Recovery key, row 1 of 4:", "\n"),
            ("will not open the vault any more: key 4, recovery 'paper'. Type yes", "yes\n"),
            ("recovery key be made as well", "yes\n"),
            ("of the recovery key: ", group),
            ("of the recovery key: ", group),
        ],
    )
    assert done.code == 0, done
    assert PASSWORD not in done.out
    assert "Copies of the store made before" in done.out
    assert master(vault) == master(vault, SECOND) != old
    assert [slot["type"] for slot in slots(vault)] == ["password", "password", "keyfile", "recovery"]
    assert vaultfs("ls", vault, "--keyfile", keyfile).code == 0


@pytest.mark.parametrize("stage", ["asked", "keys"])
def test_who_thinks_again_changes_nothing(terminal, vaultfs, vault: Path, stage: str) -> None:
    vaultfs("key", "add", vault, *CHEAP, stdin=f"{PASSWORD}\n{SECOND}\n")
    before = {path.name: path.read_bytes() for path in vault.iterdir() if path.is_file()}
    dialogue = [("Password:", f"{PASSWORD}\n"), ("a new master key? Type yes", "no\n")]
    if stage == "keys":
        dialogue[-1] = ("a new master key? Type yes", "yes\n")
        dialogue += [("Password of key 2, password:", "\n"), ("any more: key 2, password. Type yes", "no\n")]
    done = terminal("rekey", vault, *CHEAP, dialogue=dialogue)
    assert done.code == 15, done
    assert "Nothing was changed" in done.out
    assert {path.name: path.read_bytes() for path in vault.iterdir() if path.is_file()} == before


def test_an_interrupted_change_is_mentioned_and_gone_on_with(vaultfs, vault: Path) -> None:
    old = master(vault)
    begin_only(vault)
    done = vaultfs("info", vault)
    assert "features: rekey" in done.out
    assert "`vaultfs rekey STORE` finishes it" in done.err
    for command in ("ls", "check"):
        done = vaultfs(command, vault, stdin=PASSWORD)
        assert done.code == 0, done
        assert "is not finished" in done.err
    # Keys can be changed on the way, and the change then goes on with them.
    done = vaultfs("passwd", vault, *CHEAP, stdin=f"{PASSWORD}\n{SECOND}\n{SECOND}\n")
    assert done.code == 0, done
    assert "features: rekey" in vaultfs("info", vault).out
    done = vaultfs("rekey", vault, stdin=SECOND)
    assert done.code == 0, done
    assert "features: none" in vaultfs("info", vault).out
    assert master(vault, SECOND) != old
    done = vaultfs("ls", vault, stdin=SECOND)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_may_be_interrupted_again_and_again(vaultfs, vault: Path, tmp_path: Path, number: int) -> None:
    """The first signal ends it between two steps; those that follow do not disturb the commit."""
    for name in range(120):
        folder = tmp_path / "plain" / f"folder {name % 60}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {name}").write_bytes(random.Random(name).randbytes(name % 7 * 3000))
    assert vaultfs("import", tmp_path / "plain", vault, stdin=PASSWORD).code == 0
    old = master(vault)
    for after in (40, 2):
        done = vaultfs("rekey", vault, *CHEAP, stdin=PASSWORD, first=signals_itself(number, after))
        assert done.code == 15, done
        assert "run `vaultfs rekey` again" in done.err
        assert done.err.endswith("vaultfs: Interrupted.\n")
        assert vaultfs("check", vault, "--data", stdin=PASSWORD).code == 0
    assert vaultfs("rekey", vault, *CHEAP, stdin=PASSWORD).code == 0
    assert master(vault) != old
    assert vaultfs("export", vault, tmp_path / "out", stdin=PASSWORD).code == 0
    assert facts_of(tmp_path / "out") == facts_of(tmp_path / "plain")


def test_a_check_that_is_overtaken_finds_nothing(vault: Path) -> None:
    unlocked = unlock((vault / "vaultfs.json").read_bytes(), PASSWORD.encode())
    _refuse_if_rekeyed(vault, unlocked)
    begin_only(vault)
    with pytest.raises(VaultfsError, match="during the check"):
        _refuse_if_rekeyed(vault, unlocked)


def test_lost_headers_on_the_way_are_rebuilt(vaultfs, vault: Path) -> None:
    begin_only(vault)
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).unlink()
    assert vaultfs("key", "rebuild", vault, stdin=PASSWORD).code == 0
    assert vaultfs("rekey", vault, stdin=PASSWORD).code == 0
    assert vaultfs("ls", vault, stdin=PASSWORD).code == 0


def test_an_old_header_is_not_written_over_the_new_one(vaultfs, refused, vault: Path) -> None:
    old = (vault / "vaultfs.json").read_bytes()
    assert vaultfs("rekey", vault, *CHEAP, stdin=PASSWORD).code == 0
    new = (vault / "vaultfs.json").read_bytes()
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).write_bytes(old)
    for command in (("passwd",), ("key", "add"), ("rekey",)):
        for options in ((), ("--accept-rollback",)):
            done = vaultfs(*command, vault, *options, *CHEAP, stdin=f"{PASSWORD}\n{SECOND}\n")
            refused(done, 41, "key rebuild")
    with DirectoryStore(vault, write=False) as store:
        assert {raw for _, raw in read_copies(store)} == {new}
    assert vaultfs("key", "rebuild", vault, stdin=PASSWORD).code == 0
    assert (vault / "vaultfs.json").read_bytes() == new
    assert vaultfs("ls", vault, stdin=PASSWORD).code == 0


class Terminal(io.StringIO):
    """Something to write to that passes for a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_for_each_thing_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_INTERVAL", 0)
    shown = Terminal()
    with _Phases(Output(stderr=shown)) as phases:
        phases.update("", 0, 0)
        for done in (1, 50):
            phases.update(NAMES, done, 100)
        phases.update(HEADERS, 64, 256)
    text = shown.getvalue()
    assert re.search(r"Wrapping keys \[#+-+\]  50% 50 entries at \d+ entries/s, \d+ s left", text)
    assert re.search(r"Sealing headers \[#+-+\]  25% 64 folders at ", text)
