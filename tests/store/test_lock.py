"""Two writers are kept apart, across processes and paths, and told who is in the way."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vaultfs.errors import LockedElsewhere, StoreUnusable
from vaultfs.store.holder import NOTE_SIZE, Holder, this_host
from vaultfs.store.lock import VaultLock, holder

VAULT = bytes(range(16))
OTHER_VAULT = bytes(16)

Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts a process that holds a lock until its input ends; it says whether it got it."""
    processes: list[subprocess.Popen[str]] = []
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from vaultfs.errors import LockedElsewhere
        from vaultfs.store.lock import VaultLock
        try:
            with VaultLock.acquire(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), write=sys.argv[3] == "write"):
                print("held", flush=True)
                sys.stdin.read()
        except LockedElsewhere as error:
            print(error, flush=True)
    """)

    def start(path: Path, mode: str, vault: bytes = VAULT) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, path, vault.hex(), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.communicate(timeout=10)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def note(store: Path) -> bytes:
    return (store / "lock").read_bytes()


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [("write", "write", False), ("write", "read", False), ("read", "write", False), ("read", "read", True)],
)
def test_only_readers_share(store: Path, spawn: Spawn, first: str, second: str, allowed: bool) -> None:
    (store / "lock").touch()
    one = spawn(store, first)
    assert said(one) == "held"
    answer = said(spawn(store, second))
    if allowed:
        assert answer == "held"
    else:
        reading = " (read-only)" if first == "read" else ""
        assert answer.startswith(f"The vault is already open by process {one.pid} on {this_host()} since 20")
        assert f"Z{reading}: close it there first" in answer


def test_a_store_reached_by_two_paths_is_locked_by_vault(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    with VaultLock.acquire(store, VAULT, write=True):
        with pytest.raises(LockedElsewhere):
            VaultLock.acquire(copy, VAULT, write=True)
        assert not (copy / "lock").exists()
        with VaultLock.acquire(copy, OTHER_VAULT, write=True):
            pass


def test_the_store_is_locked_whatever_its_vault(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two users have different folders for local locks; the one in the store they share."""
    with VaultLock.acquire(store, VAULT, write=True):
        (tmp_path / "other").mkdir()
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "other"))
        for write in (True, False):
            with pytest.raises(LockedElsewhere, match=f"process {os.getpid()} on"):
                VaultLock.acquire(store, VAULT, write=write)


def test_a_failed_attempt_holds_nothing(store: Path, tmp_path: Path) -> None:
    (tmp_path / "store2").mkdir()
    with VaultLock.acquire(store, VAULT, write=True), pytest.raises(LockedElsewhere):
        VaultLock.acquire(store, OTHER_VAULT, write=True)
    VaultLock.acquire(tmp_path / "store2", OTHER_VAULT, write=True).release()


def test_release_empties_the_note_and_unlocks(store: Path) -> None:
    lock = VaultLock.acquire(store, VAULT, write=True)
    told = json.loads(note(store))
    assert (told["host"], told["pid"], told["vault"], told["mode"]) == (this_host(), os.getpid(), VAULT.hex(), "write")
    lock.release()
    lock.release()
    assert note(store) == b""
    with VaultLock.acquire(store, VAULT, write=True) as again:
        assert again.foreign_note is None


@pytest.mark.parametrize("write", [True, False])
def test_a_killed_process_blocks_nobody(store: Path, spawn: Spawn, write: bool) -> None:
    killed = spawn(store, "write")
    assert said(killed) == "held"
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert json.loads(note(store))["pid"] == killed.pid
    with VaultLock.acquire(store, VAULT, write=write) as lock:
        assert lock.foreign_note is None


@pytest.mark.parametrize("write", [True, False])
def test_a_note_from_another_host_is_passed_on_but_does_not_block(store: Path, write: bool) -> None:
    left = Holder("elsewhere", "write", 77, "2025-01-02T03:04:05Z")
    (store / "lock").write_bytes(left.to_note(VAULT))
    with VaultLock.acquire(store, VAULT, write=write) as lock:
        assert lock.foreign_note == left
    assert str(left) == "process 77 on elsewhere since 2025-01-02T03:04:05Z"
    assert note(store) == (b"" if write else left.to_note(VAULT)), "a reader leaves the store as it is"


@pytest.mark.parametrize(
    "content",
    [
        b"garbage",
        b"{}",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"[" * 5000,
        b'{"host":"h","pid":"1","since":"","mode":"write"}',
        b'{"host":"h","pid":true,"since":"","mode":"write"}',
        b'{"host":"h","pid":1,"since":"","mode":[]}',
        b'{"host":"h","pid":1' + b"1" * NOTE_SIZE,
    ],
)
def test_a_note_without_sense_is_ignored(store: Path, content: bytes) -> None:
    (store / "lock").write_bytes(content)
    with VaultLock.acquire(store, VAULT, write=True) as lock:
        assert lock.foreign_note is None
        assert json.loads(note(store))["pid"] == os.getpid()


def test_a_hostile_note_cannot_drive_a_terminal(store: Path) -> None:
    said = {"host": "\x1b[2Jevil\n" + "x" * 100, "pid": 1, "since": "\x07", "mode": "write"}
    (store / "lock").write_bytes(json.dumps(said).encode())
    with VaultLock.acquire(store, VAULT, write=True) as lock:
        assert str(lock.foreign_note) == "process 1 on ?[2Jevil?" + "x" * 55 + " since ?"


def test_holder_sees_writers_readers_and_nobody(store: Path) -> None:
    assert holder(store) is None
    with VaultLock.acquire(store, VAULT, write=True):
        seen = holder(store)
        assert seen is not None
        assert (seen.pid, seen.mode, seen.host) == (os.getpid(), "write", this_host())
    assert holder(store) is None
    with VaultLock.acquire(store, VAULT, write=False):
        assert holder(store) == Holder(this_host(), "read")
    (store / "lock").write_bytes(Holder("elsewhere", "write", 1, "now").to_note(VAULT))
    assert holder(store) is None, "a note without a lock is nobody this machine can see"


def test_several_readers_may_come_and_go(store: Path) -> None:
    (store / "lock").touch()
    first = VaultLock.acquire(store, VAULT, write=False)
    second = VaultLock.acquire(store, VAULT, write=False)
    first.release()
    with pytest.raises(LockedElsewhere, match=f"another process on {this_host()}"):
        VaultLock.acquire(store, VAULT, write=True)
    second.release()
    VaultLock.acquire(store, VAULT, write=True).release()


def test_a_reader_needs_nothing_in_the_store(store: Path) -> None:
    with VaultLock.acquire(store, VAULT, write=False) as lock:
        assert lock.foreign_note is None
        assert list(store.iterdir()) == []


@pytest.mark.timeout(10)
@pytest.mark.parametrize("plant", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, os.mkdir])
@pytest.mark.parametrize("write", [True, False])
def test_a_planted_lock_file_is_refused(store: Path, plant, write: bool) -> None:
    plant(store / "lock")
    with pytest.raises(StoreUnusable, match="not a regular file"):
        VaultLock.acquire(store, VAULT, write=write)
    (store / "lock").rmdir() if (store / "lock").is_dir() else (store / "lock").unlink()
    VaultLock.acquire(store, VAULT, write=True).release()


def test_local_locks_are_private(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with VaultLock.acquire(store, VAULT, write=True):
        assert (tmp_path / "run/vaultfs").stat().st_mode & 0o777 == 0o700
        assert (tmp_path / f"run/vaultfs/{VAULT.hex()}.lock").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder away")
@pytest.mark.parametrize("spoil", ["owner", "mode", "link"])
def test_a_local_folder_that_others_control_is_not_used(store: Path, tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "run/vaultfs"
    vault = os.urandom(16)
    if spoil == "link":
        (tmp_path / "target").mkdir()
        folder.symlink_to(tmp_path / "target")
    else:
        folder.mkdir()
        if spoil == "owner":
            os.chown(folder, 12345, 12345)
        else:
            folder.chmod(0o777)
    with VaultLock.acquire(store, vault, write=True):
        fallback = Path("/run/vaultfs", f"{vault.hex()}.lock")
        assert fallback.exists(), "the next place is used"
    fallback.unlink()
    assert list(folder.iterdir()) == []


def test_no_place_for_a_local_lock_is_said(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("vaultfs.store.lock._local_folders", lambda: [tmp_path / "file", tmp_path / "no/such"])
    with pytest.raises(StoreUnusable, match=r"file: not a folder; .*No such file or directory"):
        VaultLock.acquire(store, VAULT, write=True)
