"""An import that is interrupted, fails, or has much to keep in mind: what it said is true, and nothing is lost."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.running import MAIN, PASSWORD, environment
from tests.support.faultystore import Fault, FaultyStore
from tests.vault.harness import KEYS, ROOT, TINY, new_store, open_inline, options, small_limits
from vaultfs.cli import importing
from vaultfs.cli.importing import Importer
from vaultfs.errors import NoSpace, WriteFailed
from vaultfs.vault.vault import Vault

FILES = 1500


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree that takes a second or so to import."""
    top = tmp_path_factory.mktemp("many")
    rng = random.Random(3)
    for number in range(FILES):
        folder = top / f"folder {number % 12}"
        folder.mkdir(exist_ok=True)
        (folder / f"file {number}").write_bytes(rng.randbytes(rng.choice([100, 5000, 40_000, 90_000])))
    return top


def interrupted(source: Path, vault: Path, number: int, moments: list[float]) -> tuple[int, str, str]:
    """Import, and send a signal at these seconds after the start; how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "import", source, vault],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(PASSWORD + "\n")
    process.stdin.close()
    process.stdin = None
    start = time.monotonic()
    for moment in moments:
        time.sleep(max(start + moment - time.monotonic(), 0))
        if process.poll() is None:
            process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def content_differs(source: Path, copy: Path) -> list[str]:
    """The files of a copy that are not the beginning of the source's."""
    wrong = []
    for path in copy.rglob("*"):
        original = source / path.relative_to(copy)
        if path.is_file() and not original.read_bytes().startswith(path.read_bytes()):
            wrong.append(str(path))
    return wrong


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_import_may_be_interrupted_again_and_again(
    vaultfs, vault: Path, many: Path, tmp_path: Path, number: int
) -> None:
    """The first one ends it where nothing is half done; those that follow do not disturb the commit."""
    begins = time.monotonic()
    assert interrupted(many, vault, number, [])[0] == 0
    whole = time.monotonic() - begins
    rng = random.Random(number)
    interrupts = 0
    for attempt in range(4):
        first = rng.uniform(0.3, 0.7) * whole
        moments = [first + 0.007 * late for late in range(1 + attempt % 3 * 3)]
        code, _, err = interrupted(many, Path(f"{vault}:/again {attempt}"), number, moments)
        assert code in (0, 15), err
        assert "Traceback" not in err
        interrupts += code == 15
        assert vaultfs("check", vault, "--data", stdin=PASSWORD).code == 0
        out = tmp_path / f"out {attempt}"
        if vaultfs("export", f"{vault}:/again {attempt}", out, stdin=PASSWORD).code == 0:
            assert content_differs(many, out) == []
    assert interrupts


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.expects_log("full")
def test_what_is_said_to_be_in_the_journal_is_there(tmp_path: Path, code: int) -> None:
    """A quota on what the store's folder shows: no room for objects, while the disk says it has plenty."""
    for name in range(100):
        (tmp_path / f"{name:03}").write_bytes(random.Random(name).randbytes(200))
    with small_limits():
        inner = new_store()
        store = FaultyStore(inner)
        settings = replace(TINY, inodes_hard=400, overlay_hard=1 << 24, direct_hard=1 << 24, journal_hard=1 << 24)
        vault = Vault.open(store, KEYS, options(settings=settings))

        def fail_after_thirty() -> None:
            if importer.files == 30 and not store.faults:
                kinds = frozenset({"write", "allocate", "create"})
                store.faults.append(Fault(code, kinds=kinds, below="objects", lasting=True))

        importer = Importer(vault, lambda done: None, fail_after_thirty)
        with pytest.raises((WriteFailed, NoSpace)):
            importer.run(str(tmp_path), vault.getattr(ROOT))
        with pytest.raises(WriteFailed, match="safe, but only in the journal"):
            vault.close()
        store.faults.clear()
        again = open_inline(inner)
        assert len(again.list_directory(ROOT)) == importer.files - 1 > 30  # the top directory is one of them


def test_a_hard_link_is_found_however_long_ago_its_file_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said that there is no such inode, in a tree of more inodes than are kept in memory."""
    monkeypatch.setattr(importing, "_EVICT_EVERY", 3)
    first = tmp_path / "a" / "b" / "first"
    first.parent.mkdir(parents=True)
    first.write_bytes(b"content")
    for number in range(80):
        folder = tmp_path / f"folder {number % 8}"
        folder.mkdir(exist_ok=True)
        (folder / f"file {number}").write_bytes(b"x")
    (tmp_path / "z").mkdir()
    os.link(first, tmp_path / "z" / "last")
    with small_limits():
        inner = new_store()
        vault = Vault.open(inner, KEYS, options())
        Importer(vault, lambda done: None, lambda: None).run(str(tmp_path), vault.getattr(ROOT))
        vault.close()
        again = open_inline(inner)
        assert again.walk(b"z/last").id == again.walk(b"a/b/first").id
        assert again.read(again.walk(b"z/last").id, 0, 100) == b"content"


def test_what_is_ignored_stays_ignored(vault: Path, many: Path) -> None:
    """As under nohup(1): it goes on when the terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code, out, err = interrupted(many, vault, signal.SIGHUP, [0.5, 0.8, 1.1, 1.4])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (code, err) == (0, "")
    assert f"{FILES + 13} entries" in out
