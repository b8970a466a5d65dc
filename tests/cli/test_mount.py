"""`vaultfs mount`, `umount` and `status`: a vault's life in the background, and every reason not to mount."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.plain import opened
from tests.cli.running import CHEAP, MAIN, PASSWORD, Result, digest, environment, lose_root_copies
from tests.support.mounting import eventually, has_ended
from tests.support.namespaces import needs_mount_namespace, needs_user_namespace

pytestmark = pytest.mark.mount

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts an image")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty folder to mount on; unmounted afterwards if the test has not."""
    folder = tmp_path / "mnt"
    folder.mkdir()
    yield folder
    if os.path.ismount(folder):
        subprocess.run(["umount", folder], check=True)


@contextmanager
def in_the_foreground(vault: Path, place: Path) -> Iterator[subprocess.Popen[str]]:
    """The process of a mount that stays in the foreground, once it is there; it is gone at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "mount", "-f", str(vault), str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(PASSWORD + "\n")
        process.stdin.close()
        assert process.stdout.readline().startswith(f"{vault} is open on {place}.")
        yield process
    assert not os.path.ismount(place)


def another_machine_writes(vault: Path, size: int) -> None:
    """Have another machine put `size` bytes into a copy of a vault that was settled, and a sync client bring it."""
    other = vault.parent / "other"
    shutil.copytree(vault, other)
    with opened(other) as plain:
        plain.put("theirs", b"x" * size)
    shutil.copytree(other, vault, dirs_exist_ok=True)


def without(vaultfs, vault: Path, place: Path, *options: str | Path, stdin: str = PASSWORD, **env: str) -> Result:
    """Try to mount, and check that the attempt changed nothing in the store and mounted nothing."""
    before = digest(vault)
    done: Result = vaultfs("mount", vault, place, *options, stdin=stdin, **env)
    assert not os.path.ismount(place)
    assert digest(vault) == before
    return done


def test_files_outlive_the_mount(vaultfs, vault: Path, place: Path) -> None:
    done = vaultfs("mount", vault, place, stdin=PASSWORD)
    assert done.code == 0, done
    assert done.out == f"{vault} is open on {place}. To close it: vaultfs umount {place}\n"
    assert os.path.ismount(place)
    (place / "letter").write_text("dear diary")
    done = vaultfs("umount", place)
    assert (done.code, done.out) == (0, f"{place} is closed.\n")
    assert list(place.iterdir()) == []
    assert vaultfs("mount", "-q", vault, place, stdin=PASSWORD) == Result(0, "", "")
    assert (place / "letter").read_text() == "dear diary"
    assert vaultfs("umount", "-q", place) == Result(0, "", "")
    assert b"dear diary" not in b"".join(path.read_bytes() for path in vault.rglob("*") if path.is_file())


@pytest.mark.parametrize("options", [("-o", "rw,noauto,x-gvfs-show,fsname=vaultfs@{},subtype=vaultfs"), ("-oro",)])
def test_the_form_mount_uses(vaultfs, vault: Path, place: Path, options: tuple[str, ...]) -> None:
    words = [word.format(vault) for word in options]
    done = vaultfs(vault, place, *words, stdin=PASSWORD)
    assert done.code == 0, done
    (mount,) = [row for row in json.loads(vaultfs("status", "--json").out) if row["mountpoint"] == str(place)]
    assert mount == {
        "mountpoint": str(place),
        "store": str(vault),
        "state": "read-only" if "-oro" in options else "writable",
    }
    assert vaultfs("umount", place).code == 0


def test_the_helper_of_mount(vault: Path, place: Path, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(PASSWORD)
    helper = "import sys; from vaultfs.cli.main import mount_helper; sys.exit(mount_helper())"
    words = [str(vault), str(place), "-n", "-o", f"rw,nosuid,passfile={tmp_path}/pw", "-t", "fuse.vaultfs"]
    for extra, mounted in (("-f", False), ("-s", True)):
        subprocess.run([sys.executable, "-c", helper, *words, extra], env=environment(), check=True, timeout=60)
        assert os.path.ismount(place) is mounted
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel lets only root remount")
def test_remounting_read_only_and_back(vaultfs, refused, vault: Path, place: Path) -> None:
    assert vaultfs(vault, place, stdin=PASSWORD).code == 0
    with (place / "file").open("w") as file:
        refused(vaultfs("mount", vault, place, "-o", "remount,ro"), 10, "mount point is busy")
        file.write("content")
    assert vaultfs("mount", vault, place, "-o", "remount,ro,nodiratime") == Result(0, "", "")
    with pytest.raises(OSError, match="Read-only"):
        (place / "new").touch()
    assert (place / "file").read_text() == "content"
    assert vaultfs("mount", vault, place, "-o", "remount,rw") == Result(0, "", "")
    (place / "new").touch()
    assert vaultfs("umount", place).code == 0
    refused(vaultfs("mount", vault, place, "-o", "remount,ro"), 10, "No vault is mounted on")


def test_status_and_info_tell_of_an_open_vault(vaultfs, vault: Path, place: Path) -> None:
    assert str(place) not in vaultfs("status").out
    assert vaultfs("mount", "--read-only", vault, place, stdin=PASSWORD).code == 0
    (row,) = [line.split() for line in vaultfs("status").out.splitlines() if line.startswith(str(place))]
    assert row == [str(place), str(vault), "read-only"]
    assert json.loads(vaultfs("info", "--json", vault).out)["holder"]["mode"] == "read"
    with pytest.raises(OSError, match="Read-only"):
        (place / "x").write_text("x")
    assert vaultfs("umount", place).code == 0


def test_a_vault_that_another_machine_changed_stops_and_says_why(vaultfs, vault: Path, place: Path) -> None:
    """A sync client brings what the other one wrote, which has to stay; nothing was changed here since."""
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    (place / "ours").write_text("before")
    assert vaultfs("sync-ready", vault).code == 0
    another_machine_writes(vault, 100_000)
    left = digest(vault) | {"lock": ""}  # who has it open
    assert (place / "ours").read_text() == "before"
    with pytest.raises(OSError, match="Read-only"):
        (place / "new").touch()
    reason = "the vault turned read-only because the roots in the store were changed by another program"
    (row,) = [row for row in json.loads(vaultfs("status", "--json").out) if row["mountpoint"] == str(place)]
    assert row == {"mountpoint": str(place), "store": str(vault), "state": "stopped", "reason": reason}
    done = vaultfs("status")
    assert [str(place), str(vault), "stopped"] in [line.split() for line in done.out.splitlines()]
    assert f"{place}: {reason}." in done.err
    done = vaultfs("umount", place)
    assert done.code == 11
    assert f"its last changes may not be in the store: {reason};" in done.err
    assert digest(vault) | {"lock": ""} == left
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"ours": b"before", "theirs": b"x" * 100_000}
    assert vaultfs("umount", place).code == 0


def test_in_the_foreground_until_a_signal(vault: Path, place: Path) -> None:
    with in_the_foreground(vault, place) as process:
        (place / "kept").write_text("kept")
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_a_mount_in_the_foreground_tells_how_it_ended(vaultfs, vault: Path, place: Path) -> None:
    """Whoever watches over it, such as systemd, hears that it was no good end."""
    with in_the_foreground(vault, place) as process:
        assert process.stderr
        assert vaultfs("sync-ready", vault).code == 0
        another_machine_writes(vault, 1)
        with pytest.raises(OSError, match="Read-only"):
            (place / "new").touch()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 11
        (said,) = [line for line in process.stderr.read().splitlines() if "is closed" in line]
        assert said == (
            f"vaultfs: The vault in {vault} is closed, but its last changes may not be in the store: the vault turned "
            "read-only because the roots in the store were changed by another program; see what is there when it is "
            "mounted again."
        )


def test_an_idle_mount_ends_itself(vaultfs, vault: Path, place: Path) -> None:
    assert vaultfs("mount", vault, place, "--idle", "1s", stdin=PASSWORD).code == 0
    deadline = time.monotonic() + 15
    while os.path.ismount(place) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not os.path.ismount(place)


def test_a_busy_mount_says_who_keeps_it(vaultfs, refused, vault: Path, place: Path) -> None:
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    with (place / "open").open("w"):
        refused(vaultfs("umount", place), 10, f"process {os.getpid()}")
    assert vaultfs("umount", place).code == 0


def test_whoever_stands_in_it_alone_can_close_it(vaultfs, vault: Path, place: Path) -> None:
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "umount", "."], cwd=place, capture_output=True, text=True, env=environment(),
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.ismount(place)


def test_a_dead_mount_is_shown_and_cleared(vaultfs, vault: Path, place: Path) -> None:
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    (place / "kept").write_text("kept")
    os.sync()
    os.kill(json.loads(vaultfs("info", "--json", vault).out)["holder"]["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while "dead" not in vaultfs("status").out and time.monotonic() < deadline:
        time.sleep(0.1)
    done = vaultfs("mount", vault, place, stdin=PASSWORD)
    assert done.code == 0, done
    assert (place / "kept").read_text() == "kept"
    assert vaultfs("umount", place).code == 0


def test_a_mounted_vault_is_locked(vaultfs, refused, vault: Path, place: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    for words in (("mount", vault, tmp_path / "other"), ("mount", "-o", "ro", vault, tmp_path / "other")):
        refused(vaultfs(*words, stdin=PASSWORD), 40, "already open by process")
    copy = shutil.copytree(vault, tmp_path / "copy")
    refused(vaultfs("mount", copy, tmp_path / "other", stdin=PASSWORD), 40, "already open by process")
    refused(vaultfs("mount", vault, place, stdin=PASSWORD), 10, "mountpoint already")
    assert vaultfs("umount", place).code == 0


def test_a_restored_older_store_needs_a_word(vaultfs, refused, vault: Path, place: Path, tmp_path: Path) -> None:
    def write(name: str) -> None:
        assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
        (place / name).write_text(name)
        assert vaultfs("umount", place).code == 0

    write("first")
    older = shutil.copytree(vault, tmp_path / "older")
    write("second")
    shutil.rmtree(vault)
    older.rename(vault)
    refused(without(vaultfs, vault, place), 41, "older")
    assert vaultfs("mount", "--accept-rollback", vault, place, stdin=PASSWORD).code == 0
    assert os.listdir(place) == ["first"]
    assert vaultfs("umount", place).code == 0


def test_a_store_without_its_roots_is_partly_synced(vaultfs, refused, vault: Path, place: Path) -> None:
    for slot in ("root.0", "root.1"):
        (vault / slot).unlink()
    refused(without(vaultfs, vault, place), 42, "sync")


def test_the_other_cipher_library_reads_the_same_vault(vaultfs, vault: Path, place: Path) -> None:
    data = os.urandom(300_000)
    assert vaultfs("mount", vault, place, "--cipher-backend", "pycryptodome", stdin=PASSWORD).code == 0
    (place / "data").write_bytes(data)
    assert vaultfs("umount", place).code == 0
    assert vaultfs("mount", vault, place, "-o", "cipher_backend=openssl", stdin=PASSWORD).code == 0
    assert (place / "data").read_bytes() == data
    assert vaultfs("umount", place).code == 0


@pytest.mark.parametrize(
    ("stdin", "code", "says"),
    [("wrong " + PASSWORD, 12, "password is wrong"), ("", 22, "empty"), ("\n", 22, "empty")],
)
def test_passwords_that_open_nothing(vaultfs, refused, vault: Path, place: Path, stdin: str, code: int, says) -> None:
    refused(without(vaultfs, vault, place, stdin=stdin), code, says)


def test_a_wrong_password_on_a_terminal(terminal, vault: Path, place: Path) -> None:
    done = terminal("mount", vault, place, dialogue=[("Password:", "not the right one\n")])
    assert done.code == 12
    assert "not the right one" not in done.out


def test_a_damaged_header_copy_is_said_and_does_not_stop_it(vaultfs, vault: Path, place: Path) -> None:
    (vault / "vaultfs.json").write_bytes(b"\0" * 500)
    done = vaultfs("mount", vault, place, stdin=PASSWORD)
    assert done.code == 0
    assert "backup copy is used" in done.err
    assert vaultfs("umount", place).code == 0


def test_a_damaged_header_is_not_a_wrong_password(vaultfs, refused, vault: Path, place: Path) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault / name).write_bytes(b"\0" * 500)
    lose_root_copies(vault)
    refused(without(vaultfs, vault, place), 8, "damaged")


def test_places_that_will_not_do(vaultfs, refused, vault: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    inside = vault / "objects" / "00"
    for where, says in (
        (tmp_path / "missing", "No such file"),
        (tmp_path / "file", "not a folder"),
        (inside, "inside the store"),
        (vault, "would hide the store"),
        (vault.parent, "would hide the store"),
    ):
        refused(without(vaultfs, vault, where), 10, says)
    refused(vaultfs("mount", tmp_path, tmp_path / "file", stdin=PASSWORD), 10, "not a folder")
    refused(vaultfs("umount", tmp_path), 10, "No vault is mounted")


def test_stores_that_will_not_do(vaultfs, refused, place: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(vaultfs("mount", tmp_path / "missing", place), 6, "There is no folder")
    refused(vaultfs("mount", tmp_path / "empty", place), 6, "is not a vault")


@pytest.mark.parametrize("options", [("-o", "r0"), ("--idle", "soon"), ("--cipher-backend", "rot13"), ("-o", "idle=x")])
def test_options_that_will_not_do(vaultfs, refused, vault: Path, place: Path, options: tuple[str, ...]) -> None:
    refused(without(vaultfs, vault, place, *options), 1, options[1].removeprefix("idle="))


@needs_mount_namespace
def test_a_machine_without_the_device(refused, vault: Path, place: Path) -> None:
    words = [sys.executable, "-c", MAIN, "mount", str(vault), str(place)]
    script = 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *words],
        input=PASSWORD.encode(),
        capture_output=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    refused(Result(done.returncode, done.stdout.decode(), done.stderr.decode()), 19, "/dev/fuse")


@needs_user_namespace
def test_a_user_without_fusermount(refused, vault: Path, place: Path) -> None:
    words = [sys.executable, "-c", MAIN, "mount", str(vault), str(place)]
    done = subprocess.run(
        [shutil.which("unshare") or "", "--user", "--map-user=1000", "--map-group=1000", *words],
        input=PASSWORD.encode(),
        capture_output=True,
        env=environment() | {"PATH": "/nowhere"},
        timeout=60,
        check=False,
    )
    refused(Result(done.returncode, done.stdout.decode(), done.stderr.decode()), 19, "fusermount3")


def test_a_full_life_on_a_terminal(terminal, vaultfs, tmp_path: Path, place: Path) -> None:
    store = tmp_path / "store"
    twice = [("New password:", f"{PASSWORD}\n"), ("same again:", f"{PASSWORD}\n")]
    dialogue = [("Type yes", "yes\n"), *twice, ("recovery key be made", "no\n")]
    assert terminal("init", store, *CHEAP, dialogue=dialogue).code == 0
    done = terminal("mount", store, place, dialogue=[("Password:", f"{PASSWORD}\n")])
    assert done.code == 0, done
    assert "is open on" in done.out
    assert os.path.ismount(place)
    assert vaultfs("umount", place).code == 0


@pytest.mark.parametrize("options", [(), ("-o", "fsname=backup"), ("-o", "noxattr")])
def test_umount_comes_back_when_the_process_has_ended_whatever_the_mount_is_called(
    vaultfs, vault: Path, place: Path, options: tuple[str, ...]
) -> None:
    assert vaultfs("mount", vault, place, *options, stdin=PASSWORD).code == 0
    for number in range(300):
        (place / f"photo {number}").write_bytes(os.urandom(50_000))
    served = json.loads(vaultfs("info", "--json", vault).out)["holder"]["pid"]
    done = vaultfs("umount", place)
    assert (done.code, done.out) == (0, f"{place} is closed.\n")
    assert has_ended(served)
    assert [name for name in os.listdir(vault / "journal") if name != "ballast"] == []


@needs_root
def test_umount_says_so_if_the_disk_failed_before_everything_was_written(vaultfs, tmp_path: Path, place: Path) -> None:
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(100 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    try:
        assert vaultfs("init", *CHEAP, disk / "vault", stdin=f"{PASSWORD}\n{PASSWORD}\n").code == 0
        assert vaultfs("mount", disk / "vault", place, stdin=PASSWORD).code == 0
        (place / "photo").write_bytes(b"P" * 300_000)
        subprocess.run(["mount", "-o", "remount,abort", disk], check=True)  # as a disk that fails
        done = vaultfs("umount", place)
        assert done.code == 11
        assert f"{place} is unmounted, but its last changes may not be in the store" in done.err
        assert not os.path.ismount(place)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_what_a_mount_hides_is_told(vaultfs, vault: Path, place: Path) -> None:
    """A copy made while the vault was closed is in plain, and would look as safe as all else."""
    (place / ".directory").write_text("how a desktop shows the folder")
    done = vaultfs("mount", vault, place, stdin=PASSWORD)
    assert (done.code, done.err) == (0, "")
    assert vaultfs("umount", place).code == 0
    (place / "plain").write_text("not in the vault")
    done = vaultfs("mount", vault, place, stdin=PASSWORD)
    assert done.code == 0
    assert f"{place} is not empty. What is in it is not in the vault" in done.err


def test_lazy_says_no_more_than_it_knows(vaultfs, vault: Path, place: Path) -> None:
    assert vaultfs("mount", vault, place, stdin=PASSWORD).code == 0
    with open(place / "held", "w") as held:
        done = vaultfs("umount", "--lazy", place)
        assert (done.code, done.out) == (
            0, f"{place} is out of sight, and closed once nobody uses it, which `vaultfs info STORE` tells.\n"
        )
        held.write("kept")
    assert eventually(lambda: json.loads(vaultfs("info", "--json", vault).out)["holder"] is None)
    assert vaultfs("cat", f"{vault}:held", stdin=PASSWORD) == Result(0, "kept", "")
