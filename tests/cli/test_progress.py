"""Long work says how far it is and how long it will take, on a terminal only, and leaves nothing of that behind."""

import re
import time
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD
from tests.format.goldens import copy_store
from vaultfs.cli.output import Output
from vaultfs.cli.progress import ProgressLine, time_text

EAGER = "import vaultfs.cli.progress; vaultfs.cli.progress._INTERVAL = 0"
GOLDEN_PASSWORD = "correct horse battery staple"
ERASE = "\r\x1b[K"


def answers(password: str = PASSWORD) -> list[tuple[str, str]]:
    return [("Password: ", f"{password}\n")]


def lines_of(shown: str, what: str) -> list[str]:
    """The lines of progress of that name, each as it stood before it was replaced."""
    return [line for line in shown.split(ERASE) if line.startswith(what)]


def assert_shown(shown: str, what: str, ending: str = "") -> None:
    """Some line has a bar, an amount and a speed, and what else is expected; none is left standing."""
    lines = lines_of(shown, what)
    assert any(re.search(rf"\[#*-*\] +\d+% .* at .*/s{ending}", line) for line in lines), shown
    assert shown.rindex(ERASE) > shown.rindex(lines[-1])


def assert_estimated(shown: str, what: str) -> None:
    """A line of progress has the time left, too: here where there is more than one step."""
    assert_shown(shown, what, ", .* left")


def test_import_and_its_verification(terminal, vault: Path, source: Path) -> None:
    done = terminal("import", source, vault, "--verify", dialogue=answers(), first=EAGER)
    assert done.code == 0, done
    assert_estimated(done.out, "Import")
    assert_estimated(done.out, "Verify")


def test_check_and_export_and_salvage(terminal, vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    done = terminal("check", "--data", vault, dialogue=answers(), first=EAGER)
    assert_shown(done.out, "Structure")
    assert_shown(done.out, "Data")
    done = terminal("export", vault, tmp_path / "out", dialogue=answers(), first=EAGER)
    assert_estimated(done.out, "Export")
    done = terminal("export", "--salvage", vault, tmp_path / "saved", dialogue=answers(), first=EAGER)
    assert_shown(done.out, "Scan")
    assert_estimated(done.out, "Salvage")


def test_recovery_after_a_crash(terminal, tmp_path: Path) -> None:
    store = copy_store("v1", "unclean", tmp_path / "store")
    done = terminal("ls", store, dialogue=answers(GOLDEN_PASSWORD), first=EAGER)
    assert done.code == 0, done
    assert_estimated(done.out, "Recovery")
    # What recovery reports stands on a line of its own.
    assert f"{ERASE}vaultfs: Recovered " in done.out


def test_init_says_what_takes_long(terminal, tmp_path: Path) -> None:
    dialogue = [("safe with you?", "yes\n"), ("password: ", f"{PASSWORD}\n"), ("again: ", f"{PASSWORD}\n")]
    done = terminal("init", tmp_path / "new", "--no-recovery", dialogue=dialogue)
    assert done.code == 0, done
    assert "Measuring what this machine can afford for each guess at the password, about 1 s …" in done.out
    assert "Making the keys, about 1 s …" in done.out


def test_nothing_of_it_goes_into_a_pipe_or_under_quiet(terminal, vaultfs, vault: Path, source: Path) -> None:
    done = vaultfs("import", source, vault, "--verify", stdin=PASSWORD)
    assert done.err == ""
    done = terminal("check", "--quiet", "--data", vault, dialogue=answers(), first=EAGER)
    assert "Data" not in done.out


def test_an_unknown_total_and_times(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(Output, "live", lambda self, text: shown.append(text))
    with ProgressLine(Output(), "Salvage") as line:
        line.update(1, 0)
        assert shown == []  # nothing of what is done in a moment
        later = time.monotonic() + 10
        monkeypatch.setattr(time, "monotonic", lambda: later)
        line.update(10 << 20, 0)
        line.update(10 << 20, 0)
    assert shown[1:] == [""]
    assert re.fullmatch(r"Salvage 10 MiB at .* [KM]iB/s", shown[0])
    assert [time_text(seconds) for seconds in (59.9, 200, 7500)] == ["59 s", "3:20 min", "2:05 h"]
