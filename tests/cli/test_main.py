"""The command line as a whole: finding commands, quickness, exit codes, failures nobody foresaw."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import environment
from vaultfs import __version__
from vaultfs.cli.main import COMMANDS, exit_codes

PROJECT = Path(__file__).parents[2]
HEAVY = ("pyfuse3", "trio", "cryptography", "argon2", "Crypto")


def test_version(vaultfs) -> None:
    assert vaultfs("--version").out == f"vaultfs {__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_help_names_the_commands_and_the_exit_codes(vaultfs) -> None:
    done = vaultfs("--help")
    assert done.code == 0
    for name in COMMANDS:
        assert re.search(rf"^    {name}(?: |$)", done.out, re.MULTILINE)
    for code, meaning in exit_codes().items():
        assert f"{code:>5}  {meaning}" in done.out


def test_every_exit_code_is_in_the_readme() -> None:
    table = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", (PROJECT / "README.md").read_text(), re.MULTILINE))
    assert {int(code): meaning for code, meaning in table.items()} == exit_codes()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(vaultfs, name: str) -> None:
    done = vaultfs(name, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"usage: vaultfs {name}" in done.out


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("info", "STORE"), ("status",), ("mount", "--help")])
def test_quick_commands_load_nothing_heavy(vault: Path, words: tuple[str, ...]) -> None:
    look = (
        "import sys\nfrom vaultfs.cli.main import main\ntry:\n    code = main()\nexcept SystemExit as end:\n"
        f"    code = end.code\nprint(sorted(set({HEAVY!r}) & set(sys.modules)), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, *(str(vault) if word == "STORE" else word for word in words)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=30,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[] 0"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "COMMAND"),
        (("inti", "store"), "no command 'inti'"),
        (("info",), "STORE"),
        (("info", ".", "extra"), "extra"),
        (("--nonsense",), "no option without a command; the commands are init, mount,"),
        (("-q", "--read-only"), "--read-only is no option without a command"),
        (("mount", "."), "MOUNTPOINT"),
    ],
)
def test_nonsense(vaultfs, refused, words: tuple[str, ...], says: str) -> None:
    refused(vaultfs(*words), 1, says)


def test_flags_of_all_commands_go_before_or_after(vaultfs, tmp_path: Path) -> None:
    for words in (("-q", "--debug", "info", tmp_path), ("info", tmp_path, "--quiet", "--debug")):
        done = vaultfs(*words)
        assert done.code == 6
        assert "Traceback" in done.err


def test_control_characters_never_reach_the_terminal(vaultfs, tmp_path: Path) -> None:
    done = vaultfs("info", tmp_path / "\x1b[2J\nx")
    assert done.code == 6
    assert "\x1b" not in done.err
    assert len(done.err.splitlines()) == 1


def test_a_failure_nobody_foresaw_is_one_sentence(vault: Path) -> None:
    broken = (
        "import sys\nfrom vaultfs.cli import main\nfrom vaultfs.store import lock\n"
        "def holder(path): raise RuntimeError('the moon')\nlock.holder = holder\nsys.exit(main.main())"
    )
    for words, traceback in ((("info", str(vault)), False), (("info", str(vault), "--debug"), True)):
        done = subprocess.run(
            [sys.executable, "-c", broken, *words], capture_output=True, text=True, env=environment(), check=False
        )
        assert done.returncode == 11
        assert "RuntimeError: the moon" in done.stderr.splitlines()[-1]
        assert ("Traceback" in done.stderr) is traceback


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_is_for_terminals_that_want_it(terminal, tmp_path: Path, extra: dict[str, str], coloured: bool) -> None:
    done = terminal("info", tmp_path, **extra)
    assert done.code == 6
    assert ("\x1b[31m" in done.out) is coloured
