"""Where passwords come from: a terminal, stdin, files, commands, systemd; and what is wrong with some."""

from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD

OTHER = "another good one"


@pytest.fixture
def opens(vaultfs, tmp_path: Path):
    """Whether `password` opens the vault: passwd checks it before it asks for anything else."""

    def check(store: Path, password: str) -> bool:
        done = vaultfs("passwd", store, stdin=f"{password}\n")
        assert done.code in (12, 22), done
        return bool(done.code == 22)  # the old one was right; there was no new one

    return check


@pytest.mark.parametrize("stdin", [f"{OTHER}", f"{OTHER}\n", f"{OTHER}\r\n", f"{OTHER}\n{OTHER}\n"])
def test_init_takes_one_line_or_the_same_twice(vaultfs, opens, tmp_path: Path, stdin: str) -> None:
    assert vaultfs("init", tmp_path / "s", *CHEAP, stdin=stdin).code == 0
    assert opens(tmp_path / "s", OTHER)
    assert not opens(tmp_path / "s", OTHER + "x")


def test_init_refuses_two_lines_that_differ(vaultfs, refused, tmp_path: Path) -> None:
    refused(vaultfs("init", tmp_path / "s", *CHEAP, stdin=f"{OTHER}\n{PASSWORD}\n"), 9, "differ")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("stdin", "code", "says"),
    [
        ("", 22, "empty"),
        ("\n", 22, "empty"),
        ("short\n", 44, "at least 8"),
        ("\udcff\udcfe rest of it\n", 9, "not UTF-8"),
        ("x" * 5000 + "\n", 9, "longer than"),
    ],
)
def test_passwords_init_refuses(vaultfs, refused, tmp_path: Path, stdin: str, code: int, says: str) -> None:
    refused(vaultfs("init", tmp_path / "s", *CHEAP, stdin=stdin), code, says)
    assert not (tmp_path / "s").exists()


def test_the_same_letters_composed_otherwise_are_the_same_password(vaultfs, opens, tmp_path: Path) -> None:
    assert vaultfs("init", tmp_path / "s", *CHEAP, stdin="Gr\u00fc\u00dfe aus K\u00f6ln").code == 0
    assert opens(tmp_path / "s", "Gru\u0308\u00dfe aus Ko\u0308ln")


def test_passfiles_are_joined_by_their_first_lines(vaultfs, opens, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("first half, \nnot this\n")
    (tmp_path / "b").write_text("second half\r\n")
    files = ("--passfile", tmp_path / "a", "--passfile", tmp_path / "b")
    assert vaultfs("init", tmp_path / "s", *files, *CHEAP).code == 0
    assert opens(tmp_path / "s", "first half, second half")


def test_passfiles_that_are_no_use(vaultfs, refused, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\npassword\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01\n")
    for name, code, says in (
        ("missing", 9, "No such file"),
        (".", 9, "directory"),
        ("empty", 22, "empty"),
        ("binary", 9, "not UTF-8"),
    ):
        refused(vaultfs("init", tmp_path / "s", "--passfile", tmp_path / name, *CHEAP), code, says)
    assert not (tmp_path / "s").exists()


def test_extpass_is_split_like_a_shell_does(vaultfs, opens, tmp_path: Path) -> None:
    command = f"printf '%s\\n' '{OTHER}' 'second line'"
    assert vaultfs("init", tmp_path / "s", "--extpass", command, *CHEAP).code == 0
    assert opens(tmp_path / "s", OTHER)


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("false", 9, "failed with status 1"),
        ("sh -c 'echo secret words; exit 3'", 9, "failed with status 3"),
        ("/no/such/command", 9, "No such file"),
        ("true", 22, "empty"),
        ("", 1, "empty"),
        ("echo 'unbalanced", 1, "cannot be split"),
    ],
)
def test_extpass_that_fails(vaultfs, refused, tmp_path: Path, command: str, code: int, says: str) -> None:
    refused(vaultfs("init", tmp_path / "s", "--extpass", command, *CHEAP), code, says)
    assert not (tmp_path / "s").exists()


def test_systemd_credentials(vaultfs, opens, tmp_path: Path) -> None:
    (tmp_path / "vaultfs.password").write_text(OTHER)
    assert vaultfs("init", tmp_path / "s", *CHEAP, CREDENTIALS_DIRECTORY=str(tmp_path)).code == 0
    assert opens(tmp_path / "s", OTHER)


def test_a_credentials_folder_without_ours_is_no_source(vaultfs, opens, tmp_path: Path) -> None:
    done = vaultfs("init", tmp_path / "s", *CHEAP, stdin=OTHER, CREDENTIALS_DIRECTORY=str(tmp_path))
    assert done.code == 0
    assert opens(tmp_path / "s", OTHER)


def test_no_password_is_taken_from_the_environment(vaultfs, refused, tmp_path: Path) -> None:
    names = ("VAULTFS_PASSWORD", "PASSWORD", "VAULTFS_PASS")
    refused(vaultfs("init", tmp_path / "s", *CHEAP, **dict.fromkeys(names, OTHER)), 22, "empty")


def test_a_terminal_is_asked_without_echo(terminal, opens, tmp_path: Path) -> None:
    done = terminal(
        *("init", tmp_path / "s", *CHEAP),
        dialogue=[
            ("Type yes", "yes\n"),
            ("New password:", f"{OTHER}\n"),
            ("same again:", f"{OTHER}\n"),
            ("recovery key be made", "no\n"),
        ],
    )
    assert done.code == 0, done
    assert "cannot help recover a forgotten password" in done.out
    assert OTHER not in done.out
    assert opens(tmp_path / "s", OTHER)


def test_a_mismatch_and_a_weak_password_are_asked_again(terminal, opens, tmp_path: Path) -> None:
    done = terminal(
        *("init", "--yes", tmp_path / "s", *CHEAP),
        dialogue=[
            ("New password:", f"{OTHER}\n"),
            ("same again:", f"{PASSWORD}\n"),
            ("differ", ""),
            ("New password:", "short\n"),
            ("at least 8", ""),
            ("New password:", f"{OTHER}\n"),
            ("same again:", f"{OTHER}\n"),
        ],
    )
    assert done.code == 0, done
    assert opens(tmp_path / "s", OTHER)


def test_three_mismatches_end_it(terminal, tmp_path: Path) -> None:
    twice = [("New password:", f"{OTHER}\n"), ("same again:", f"{PASSWORD}\n")]
    done = terminal("init", "--yes", tmp_path / "s", *CHEAP, dialogue=twice * 3)
    assert done.code == 9
    assert "differ" in done.out
    assert not (tmp_path / "s").exists()


def test_three_weak_ones_end_it(terminal, tmp_path: Path) -> None:
    done = terminal("init", "--yes", tmp_path / "s", *CHEAP, dialogue=[("New password:", "short\n")] * 3)
    assert done.code == 44
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("answer", ["no\n", "\n", "y\n", "\x04"])
def test_no_confirmation_no_vault(terminal, tmp_path: Path, answer: str) -> None:
    done = terminal("init", tmp_path / "s", *CHEAP, dialogue=[("Type yes", answer)])
    assert done.code == 15
    assert "No vault was made." in done.out
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("keys", "code"), [("\x03", 15), ("\x04", 22), ("\n", 22)])
def test_leaving_at_the_password_prompt(terminal, tmp_path: Path, keys: str, code: int) -> None:
    done = terminal("init", "--yes", tmp_path / "s", *CHEAP, dialogue=[("New password:", keys)])
    assert done.code == code
    assert "Traceback" not in done.out
    assert not (tmp_path / "s").exists()
