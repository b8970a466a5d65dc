"""`vaultfs init`: what it makes, what it refuses, and that a refusal leaves nothing behind."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, digest, environment, lose_root_copies


def test_a_vault_is_made_in_a_new_folder(vaultfs, tmp_path: Path) -> None:
    store = tmp_path / "store"
    done = vaultfs("init", store, *CHEAP, stdin=f"{PASSWORD}\n")
    assert (done.code, done.out) == (
        0,
        f"The vault in {store} is ready. To open it: vaultfs mount {store} MOUNTPOINT\n",
    )
    assert "vaultfs cannot help recover a forgotten password" in done.err
    assert store.stat().st_mode & 0o7777 == 0o700
    assert (store / "vaultfs.json").read_bytes() == (store / "vaultfs.json.backup").read_bytes()
    assert len(list((store / "objects").iterdir())) == 256
    assert vaultfs("info", store).code == 0


def test_an_empty_folder_becomes_a_vault_and_quiet_is_quiet(vaultfs, tmp_path: Path) -> None:
    done = vaultfs("init", "-q", *CHEAP, tmp_path, stdin=f"{PASSWORD}\n")
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "vaultfs.json").exists()


@pytest.mark.parametrize(
    ("options", "kdf", "chunk_size"),
    [
        ((*CHEAP, "--chunk-size", "128"), {"name": "argon2id", "memory_kib": 65536, "passes": 1, "lanes": 4}, 131072),
        (("--kdf", "scrypt", "--kdf-memory", "64"), {"name": "scrypt", "log_n": 16, "r": 8, "p": 1}, 65536),
    ],
)
def test_costs_and_chunk_size_are_chosen(vaultfs, tmp_path: Path, options, kdf, chunk_size: int) -> None:
    assert vaultfs("init", tmp_path / "s", *options, stdin=PASSWORD).code == 0
    facts = json.loads(vaultfs("info", tmp_path / "s", "--json").out)
    assert facts["slots"][0]["kdf"] == kdf
    assert facts["chunk_size"] == chunk_size


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--kdf-memory", "63"), "memory"),
        (("--kdf-memory", "999999999"), "memory"),
        (("--kdf-memory", "-64"), "memory"),
        (("--kdf-memory", "lots"), "--kdf-memory"),
        (("--kdf-passes", "0"), "passes"),
        (("--kdf-passes", "1000"), "passes"),
        (("--kdf", "md5"), "md5"),
        (("--kdf", "scrypt", "--kdf-memory", "100"), "power of two"),
        (("--kdf", "scrypt", "--kdf-memory", "32"), "between 16"),
        (("--kdf", "scrypt", "--kdf-memory", "0"), "power of two"),
        (("--kdf", "scrypt", "--kdf-memory", "-64"), "power of two"),
        (("--kdf", "scrypt", "--kdf-passes", "2"), "no passes"),
        (("--chunk-size", "48"), "power of two"),
        (("--chunk-size", "16"), "power of two"),
        (("--chunk-size", "2048"), "power of two"),
        (("--extpass", "true", "--passfile", "x"), "not both"),
        (("--pass", "x"), "--pass"),
        (("--frobnicate",), "--frobnicate"),
        (("another",), "another"),
    ],
)
def test_absurd_arguments(vaultfs, refused, tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    refused(vaultfs("init", tmp_path / "s", *options, stdin=PASSWORD), 1, says)
    assert not (tmp_path / "s").exists()


def test_a_folder_that_is_not_empty(vaultfs, refused, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    before = digest(tmp_path)
    refused(vaultfs("init", tmp_path, *CHEAP, stdin=PASSWORD), 7, "is not empty")
    assert digest(tmp_path) == before


@pytest.mark.parametrize("lost", ["vaultfs.json", "vaultfs.json.backup", None])
def test_a_vault_is_never_made_over(vaultfs, refused, vault: Path, lost: str | None) -> None:
    if lost:
        (vault / lost).unlink()
    before = digest(vault)
    refused(vaultfs("init", vault, *CHEAP, stdin=PASSWORD), 7, "is a vault already")
    assert digest(vault) == before


def test_what_an_interrupted_init_left_is_recognised(vaultfs, refused, vault: Path) -> None:
    (vault / "vaultfs.json").unlink()
    (vault / "vaultfs.json.backup").unlink()
    refused(vaultfs("init", vault, *CHEAP, stdin=PASSWORD), 7, "is a vault already")
    lose_root_copies(vault)
    refused(vaultfs("init", vault, *CHEAP, stdin=PASSWORD), 7, "interrupted init")
    refused(vaultfs("info", vault), 6, "is not a vault")


def test_a_file_and_a_missing_parent(vaultfs, refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    refused(vaultfs("init", tmp_path / "file", *CHEAP, stdin=PASSWORD), 7, "is not a folder")
    refused(vaultfs("init", tmp_path / "no" / "store", *CHEAP, stdin=PASSWORD), 7, "does not exist")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    refused(vaultfs("init", tmp_path / "link", *CHEAP, stdin=PASSWORD), 7, "is not a folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_store_without_room_leaves_nothing(vaultfs, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=100", "vaultfs-test", small], check=False).returncode:
        pytest.skip("needs to mount a small tmpfs")
    try:
        done = vaultfs("init", small / "store", *CHEAP, stdin=PASSWORD)
        left = list(small.iterdir())
    finally:
        subprocess.run(["umount", small], check=True)
    assert done.code == 11
    assert "No space left" in done.err
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_init_leaves_nothing(tmp_path: Path, number: int) -> None:
    # A shell may have this test's process ignore the signal, and that is inherited.
    heard = "default_int_handler" if number == signal.SIGINT else "SIG_DFL"
    slow = f"import signal; signal.signal({int(number)}, signal.{heard})" + """
import sys, time
from vaultfs.cli.main import main
from vaultfs.vault.vault import Vault
real = Vault.create
def create(*args, **options):
    real(*args, **options)
    print("made", flush=True)
    time.sleep(30)
Vault.create = create
sys.exit(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", slow, "init", str(tmp_path / "s"), *CHEAP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(PASSWORD.encode() + b"\n")
        process.stdin.close()
        assert process.stdout.readline() == b"made\n"
        assert (tmp_path / "s" / "root.0").exists()
        process.send_signal(number)
        assert process.wait(timeout=10) == 15
        assert process.stderr.read().decode().splitlines()[-1] == "vaultfs: Interrupted."
    assert not (tmp_path / "s").exists()


def test_two_inits_at_once_make_one_vault(tmp_path: Path) -> None:
    store = tmp_path / "s"
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "vaultfs.cli.main", "init", str(store), *CHEAP],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        for _ in range(2)
    ]
    time.sleep(0.3)
    for process in running:
        assert process.stdin
        process.stdin.write(PASSWORD.encode() + b"\n")
        process.stdin.flush()
    codes = []
    for process in running:
        process.communicate(timeout=30)
        codes.append(process.returncode)
    assert 0 in codes
    assert set(codes) <= {0, 7, 40} and codes.count(0) == 1
    assert len(digest(store)) > 256
    assert (store / "vaultfs.json").exists()
