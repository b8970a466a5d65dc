"""What `install-helpers` puts in place, tried by the programs that it is for: man, mount, and three shells."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD, Result
from tests.support.mounting import needs_fuse
from tests.support.namespaces import needs_mount_namespace
from tests.system.conftest import Program, Vault
from vaultfs.cli import grammar, main


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"not installed: {name}")


@pytest.fixture
def system(program: Path, tmp_path: Path, vaultfs: Callable[..., Result]) -> Path:
    """A folder with everything below usr."""
    root = tmp_path / "root"
    done = vaultfs("install-helpers", "--system", "--root", root, "--prefix", "/usr", "--program", program)
    assert done.code == 0, done
    return root


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def test_everything_goes_where_programs_look_and_goes_again(
    system: Path, program: Path, vaultfs: Callable[..., Result]
) -> None:
    assert files_of(system) == [
        "usr/lib/systemd/system/vaultfs@.service",
        "usr/lib/systemd/user/vaultfs@.service",
        "usr/sbin/mount.fuse.vaultfs",
        "usr/share/SiriKali/backends/vaultfs.json",
        "usr/share/bash-completion/completions/vaultfs",
        "usr/share/fish/vendor_completions.d/vaultfs.fish",
        "usr/share/man/man1/vaultfs.1",
        "usr/share/zsh/site-functions/_vaultfs",
    ]
    again = ("install-helpers", "--system", "--root", system, "--prefix", "/usr", "--program", program)
    assert vaultfs(*again).code == 0
    assert vaultfs(*again, "--remove").code == 0
    assert files_of(system) == []


def test_a_user_gets_them_below_home(home: Path, program: Path, vaultfs: Callable[..., Result]) -> None:
    before = files_of(home)
    assert vaultfs("install-helpers", "--program", program).code == 0
    assert ".config/systemd/user/vaultfs@.service" in files_of(home)
    assert ".local/share/man/man1/vaultfs.1" in files_of(home)
    assert vaultfs("install-helpers", "--remove", "--program", program).code == 0
    assert files_of(home) == before


def test_what_somebody_else_made_stays(home: Path, program: Path, vaultfs: Callable[..., Result]) -> None:
    unit = home / ".config/systemd/user/vaultfs@.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    done = vaultfs("install-helpers", "--program", program)
    assert done.code == 11
    assert "nothing was changed" in done.err
    assert files_of(home / ".local/share") == []
    assert vaultfs("install-helpers", "--remove", "--program", program).code == 0
    assert unit.read_text() == "[Service]\n"


@installed("man")
def test_man_shows_the_page_without_a_complaint(system: Path) -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", system / "usr/share/man/man1/vaultfs.1"],
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MANPAGER": "cat"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    for command in grammar.read(main.parser()).all():
        assert " ".join(("vaultfs", *command.words)) in done.stdout
        for option in command.options:
            assert option.flags[-1] in done.stdout
    for code, meaning in main.exit_codes().items():
        assert f"{code} " in done.stdout
        assert meaning.split()[0] in done.stdout


def complete_in_bash(script: Path, *words: str) -> list[str]:
    line = f"source {script}; COMP_WORDS=(vaultfs \"$@\"); COMP_CWORD=$#; _vaultfs; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", line, "bash", *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def complete_in_fish(script: Path, *words: str) -> list[str]:
    line = f"source {script}; complete -C 'vaultfs {' '.join(words)}'"
    done = subprocess.run(["fish", "--no-config", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def complete_in_zsh(script: Path, *words: str) -> list[str]:
    """zsh completes on a terminal only: type the words into one, and have it list what there is."""
    line = f"""
        zmodload zsh/zpty
        zpty terminal zsh -f -i
        zpty -w terminal "stty -echo; PROMPT=; fpath=({script.parent} \\$fpath); autoload -Uz compinit; compinit -u -D"
        zpty -w terminal "zstyle ':completion:*' list-separator '|'; LISTMAX=1000; bindkey '^I' list-choices; print READY"
        zpty -r -m terminal shown '*READY*'
        zpty -w -n terminal "vaultfs $*"$'\\t'
        sleep 1
        zpty -r -t terminal shown; print -r -- "$shown"
        while zpty -r -t terminal shown; do print -r -- "$shown"; done
        zpty -d terminal
    """
    command = ["zsh", "-f", "-c", line, "zsh", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", done.stdout).split()


SHELLS = {
    "bash": (complete_in_bash, "usr/share/bash-completion/completions/vaultfs"),
    "fish": (complete_in_fish, "usr/share/fish/vendor_completions.d/vaultfs.fish"),
    "zsh": (complete_in_zsh, "usr/share/zsh/site-functions/_vaultfs"),
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("",), {"mount", "umount", "init", "sync-ready"}),
        (("mount", "--"), {"--idle", "--read-only", "--journal-dir"}),
        (("mount", "--cipher-backend", ""), {"openssl", "pycryptodome"}),
        (("key", ""), {"add", "remove", "list"}),
        (("key", "list", "--"), {"--json"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_shells_complete(shell: str, words: tuple[str, ...], some: set[str], system: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"not installed: {shell}")
    complete, path = SHELLS[shell]
    found = complete(system / path, *words)
    assert some <= set(found)
    assert not set(found) & {"--extpass", "--purge-thumbnails"} or words[-1] == "--"


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_shells_complete_files(shell: str, system: Path, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"not installed: {shell}")
    complete, path = SHELLS[shell]
    (tmp_path / "Backup.vault").mkdir()
    for words in (("mount", f"{tmp_path}/Back"), ("mount", "--passfile", f"{tmp_path}/Back")):
        assert [word.rstrip("/") for word in complete(system / path, *words)] == [f"{tmp_path}/Backup.vault"]


@pytest.mark.mount
@needs_fuse
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount by mount(8)")
@needs_mount_namespace
def test_mount_and_fstab_find_the_helper(vault: Vault, system: Path, program: Program, tmp_path: Path) -> None:
    """In a namespace of its own, where /usr/sbin has the helper and /etc/fstab the line of the README."""
    passfile, table, helper = tmp_path / "password", tmp_path / "fstab", tmp_path / "sbin"
    passfile.write_text(PASSWORD)
    shutil.copytree("/usr/sbin", helper, symlinks=True, ignore=lambda folder, names: [n for n in names if "mount" in n])
    shutil.copy(system / "usr/sbin/mount.fuse.vaultfs", helper, follow_symlinks=False)
    options = f"noauto,user,nofail,x-systemd.automount,passfile={passfile}"
    table.write_text(f"{vault.store} {vault.mountpoint} fuse.vaultfs {options} 0 0\n")
    script = """
        set -e
        mount --bind "$1" /usr/sbin; mount --bind "$2" /etc/fstab
        mount "$3"; findmnt -no FSTYPE,OPTIONS "$3"; echo by fstab >"$3/note"; umount "$3"
        mount -t fuse.vaultfs "$4" "$3" -o "ro,passfile=$5"; cat "$3/note"; findmnt -no OPTIONS "$3"; umount "$3"
    """
    words: list[str | Path] = [script, "sh", helper, table, vault.mountpoint, vault.store, passfile]
    done = subprocess.run(["unshare", "--mount", "sh", "-c", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, note, second = done.stdout.splitlines()
    assert first.startswith("fuse.vaultfs rw,nosuid,nodev,noexec")
    assert note == "by fstab"
    assert second.startswith("ro,")
