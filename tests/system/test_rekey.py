"""`vaultfs rekey` as a user meets it: mounted and busy, killed in the middle, refused, and what opens afterwards."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, MAIN, PASSWORD, Result, environment
from tests.support.mounting import eventually, needs_fuse
from tests.system.conftest import Vault
from vaultfs.keys.header import unlock
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.context import SealingContext
from vaultfs.store.directory import DirectoryStore
from vaultfs.store.handles import HandleCache
from vaultfs.store.lock import holder
from vaultfs.vault.objects import Objects
from vaultfs.vault.rekeying import outdated_parts

pytestmark = [pytest.mark.mount, needs_fuse]

Run = Callable[..., Result]


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Every path with its mode and what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, hashlib.sha256(data).hexdigest())
    return found


def fill(folder: Path, directories: int, files: int = 3) -> None:
    rng = random.Random(directories)
    for number in range(directories):
        place = folder / f"{number % 10}" / f"folder {number}"
        place.mkdir(parents=True)
        for each in range(files):
            (place / f"file {each}").write_bytes(rng.randbytes(rng.choice((0, 10, 5000))))
    (folder / "large").write_bytes(rng.randbytes(3 << 20))
    os.link(folder / "large", folder / "0" / "hard link")


def master_of(store: Path) -> bytes:
    return unlock((store / "vaultfs.json").read_bytes(), PASSWORD.encode()).master


def old_keys_open_nothing(store: Path, master: bytes) -> None:
    """No root and no journal of the store opens with an older master key; nor does a header with the password."""
    header = unlock((store / "vaultfs.json").read_bytes(), PASSWORD.encode())
    assert header.master != master
    assert header.keys.previous is None
    keys = VaultKeys.from_master(header.header.vault_id, os.urandom(32))
    keys.previous = VaultKeys.from_master(header.header.vault_id, master)
    with DirectoryStore(store, write=True) as opened:
        handles = HandleCache(opened, 4)
        assert outdated_parts(Objects(opened, handles, SealingContext(keys, header.header.chunk_size))) == []


@contextmanager
def writing(folder: Path) -> Iterator[dict[str, bytes]]:
    """A thread that makes, changes, renames and removes files and folders all the time; yields what is to be there."""
    expected: dict[str, bytes] = {}
    stop, failures = threading.Event(), []
    rng = random.Random(9)

    def work() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                place = folder / f"busy {number % 7}"
                place.mkdir(exist_ok=True)
                data = rng.randbytes(rng.choice((0, 100, 70_000)))
                file = place / f"written {number % 50}"
                file.write_bytes(data)
                expected[str(file.relative_to(folder))] = data
                if number % 5 == 0:
                    moved = folder / f"{rng.randrange(10)}" / f"moved {number}"
                    file.rename(moved)
                    expected[str(moved.relative_to(folder))] = expected.pop(str(file.relative_to(folder)))
                if number % 9 == 0:
                    # A whole folder from one place to another, which a look at the tree may miss.
                    source = folder / f"{number % 10}" / f"folder {rng.randrange(30)}"
                    if source.exists():
                        source.rename(folder / f"{rng.randrange(10)}" / f"carried {number}")
                if number % 11 == 0:
                    with open(file if file.exists() else moved, "ab") as stream:
                        os.fsync(stream.fileno())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield expected
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_a_mounted_vault_under_a_writer(vault: Vault, vaultfs: Run) -> None:
    vault.mount()
    fill(vault.mountpoint, 300)
    old_header, old = (vault.store / "vaultfs.json").read_bytes(), master_of(vault.store)
    with writing(vault.mountpoint) as expected:
        for _ in range(2):
            before = len(expected)
            done = vaultfs("rekey", vault.store, *CHEAP, stdin=PASSWORD)
            assert len(expected) > before, "nothing was written meanwhile"
            assert done.code == 0, done
            assert "new master key" in done.out
            assert "still open with the old key" in done.err
    kept = tree(vault.mountpoint)
    for name, data in expected.items():
        assert (vault.mountpoint / name).read_bytes() == data
    vault.umount()
    old_keys_open_nothing(vault.store, old)
    assert vaultfs("check", vault.store, "--data", stdin=PASSWORD).code == 0
    vault.mount()
    assert tree(vault.mountpoint) == kept
    vault.umount()
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (vault.store / name).write_bytes(old_header)
    assert vaultfs("ls", vault.store, "--accept-rollback", stdin=PASSWORD).code == 6
    assert vaultfs("key", "rebuild", vault.store, stdin=PASSWORD).code == 0
    assert vaultfs("ls", vault.store, stdin=PASSWORD).code == 0


@pytest.mark.parametrize(("seed", "mounted"), [(0, True), (1, True), (2, False), (3, False)])
def test_killed_in_the_middle(vault: Vault, vaultfs: Run, seed: int, *, mounted: bool) -> None:
    vault.mount()
    fill(vault.mountpoint, 400)
    kept, old = tree(vault.mountpoint), master_of(vault.store)
    if not mounted:
        vault.umount()
    rng = random.Random(seed)
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "rekey", str(vault.store), *CHEAP],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(PASSWORD.encode())
    process.stdin.close()
    assert eventually(lambda: b'"rekey"' in (vault.store / "vaultfs.json").read_bytes())
    time.sleep(rng.uniform(0, 1.5))
    who = holder(vault.store)
    assert who is not None or not mounted
    if who is not None and who.pid is not None:
        os.kill(who.pid, signal.SIGKILL)
    assert process.stderr is not None
    said = process.stderr.read().decode()
    code = process.wait()
    process.stderr.close()
    if code and mounted:
        assert "is not finished" in said
    subprocess.run(["umount", "--lazy", vault.mountpoint], check=False, capture_output=True)
    assert eventually(lambda: holder(vault.store) is None)
    # Everything is there on the way, and a second attempt, without a mount, goes to the end.
    assert vaultfs("check", vault.store, stdin=PASSWORD).code == 0
    vault.mount()
    assert tree(vault.mountpoint) == kept
    vault.umount()
    done = vaultfs("rekey", vault.store, *CHEAP, stdin=PASSWORD)
    assert done.code == 0, done
    old_keys_open_nothing(vault.store, old)
    vault.mount()
    assert tree(vault.mountpoint) == kept
    vault.umount()
    assert vaultfs("check", vault.store, "--data", stdin=PASSWORD).code == 0


def test_a_mount_without_attributes(vault: Vault, vaultfs: Run) -> None:
    vault.mount("-o", "noxattr")
    fill(vault.mountpoint, 20)
    kept, old = tree(vault.mountpoint), master_of(vault.store)
    done = vaultfs("rekey", vault.store, *CHEAP, stdin=PASSWORD)
    assert done.code == 0, done
    vault.umount()
    old_keys_open_nothing(vault.store, old)
    vault.mount()
    assert tree(vault.mountpoint) == kept
    vault.umount()


def test_a_stranger_s_key_changes_nothing(vault: Vault) -> None:
    vault.mount()
    (vault.mountpoint / "file").write_text("mine")
    for value in (os.urandom(32), b"short", master_of(vault.store)[::-1]):
        with pytest.raises(OSError, match=r"not permitted|Invalid"):
            os.setxattr(vault.mountpoint, "user.vaultfs.rekey", value)
    assert "user.vaultfs.rekey" not in os.listxattr(vault.mountpoint)
    assert (vault.mountpoint / "file").read_text() == "mine"
    vault.umount()


def test_a_read_only_mount_is_in_the_way(vault: Vault, vaultfs: Run) -> None:
    before = (vault.store / "vaultfs.json").read_bytes()
    vault.mount("--read-only")
    assert vaultfs("rekey", vault.store, *CHEAP, stdin=PASSWORD).code == 40
    vault.umount()
    assert (vault.store / "vaultfs.json").read_bytes() == before


def test_a_journal_elsewhere(vault: Vault, vaultfs: Run, tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    journals.mkdir()
    vault.mount("--journal-dir", journals)
    (vault.mountpoint / "file").write_text("mine")
    old = master_of(vault.store)
    assert vaultfs("rekey", vault.store, *CHEAP, stdin=PASSWORD).code == 0
    (vault.mountpoint / "more").write_text("too")
    vault.umount()
    assert vaultfs("rekey", vault.store, "--journal-dir", journals, *CHEAP, stdin=PASSWORD).code == 0
    old_keys_open_nothing(vault.store, old)
    vault.mount("--journal-dir", journals)
    assert (vault.mountpoint / "file").read_text() == "mine"
    assert (vault.mountpoint / "more").read_text() == "too"
    vault.umount()


def test_what_cannot_be_read_is_not_given_up(vault: Vault, vaultfs: Run) -> None:
    """A folder whose object is missing may only be late: nothing of it may need a key that is gone by then."""
    vault.mount()
    for name in ("kept", "late"):
        (vault.mountpoint / name).mkdir()
        (vault.mountpoint / name / "file").write_text(name)
    vault.umount()
    where = vaultfs("where", f"{vault.store}:late", stdin=PASSWORD).out
    (path,) = {word for word in where.split() if word.startswith("objects/")}
    shutil.move(vault.store / path, vault.store.parent / "late")
    done = vaultfs("rekey", vault.store, *CHEAP, stdin=PASSWORD)
    assert done.code == 26, done
    assert "/late" in done.err
    assert "is not finished" in done.err
    shutil.move(vault.store.parent / "late", vault.store / path)
    done = vaultfs("rekey", vault.store, stdin=PASSWORD)
    assert done.code == 0, done
    vault.mount()
    assert (vault.mountpoint / "late" / "file").read_text() == "late"
    vault.umount()
