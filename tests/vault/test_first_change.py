"""Whatever is changed first in a session begins it as it should, and nothing can be changed where nothing may be."""

import errno
import logging
import stat
from collections.abc import Callable

import pytest

from tests.support import faultystore
from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, differences, open_inline, options, put_file, settle, snapshot
from tests.vault.walker import assert_clean
from vaultfs.errors import NotFound, ReadOnly
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr

Change = Callable[[Inline], object]
CHANGES: dict[str, Change] = {
    "create": lambda vault: vault.create_inode(ROOT, b"new", stat.S_IFREG | 0o644),
    "link": lambda vault: vault.link(vault.walk(b"file").id, ROOT, b"linked"),
    "unlink": lambda vault: vault.unlink(ROOT, b"file"),
    "rmdir": lambda vault: vault.rmdir(ROOT, b"folder"),
    "rename": lambda vault: vault.rename(ROOT, b"file", ROOT, b"renamed"),
    "rename over": lambda vault: vault.rename(ROOT, b"file", ROOT, b"other"),
    "exchange": lambda vault: vault.rename(ROOT, b"file", ROOT, b"folder", 2),
    "write": lambda vault: vault.write(vault.walk(b"file").id, 100, b"changed"),
    "write a chunk": lambda vault: vault.write(vault.walk(b"file").id, 0, b"c" * 1024),
    "cut": lambda vault: vault.setattr(vault.walk(b"file").id, SetAttr(size=10)),
    "lengthen": lambda vault: vault.setattr(vault.walk(b"file").id, SetAttr(size=100_000)),
    "change the mode": lambda vault: vault.setattr(vault.walk(b"file").id, SetAttr(mode=0o600)),
    "change the time": lambda vault: vault.setattr(vault.walk(b"folder").id, SetAttr(mtime=1)),
    "set an attribute": lambda vault: vault.setxattr(vault.walk(b"other").id, b"user.new", b"value"),
    "remove an attribute": lambda vault: vault.removexattr(vault.walk(b"file").id, b"user.old"),
}


@pytest.fixture(autouse=True)
def _quiet(with_small_limits: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs")


@pytest.fixture
def store(store: MemoryStore) -> MemoryStore:
    """With two files and a folder."""
    vault = open_inline(store)
    for name in (b"file", b"other"):
        vault.setxattr(put_file(vault, name, name * 1000), b"user.old", b"value")
    vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o755)
    vault.vault.close()
    return store


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_change_of_a_session_survives_a_kill(store: MemoryStore, name: str) -> None:
    vault = open_inline(store)
    before = snapshot(vault)
    CHANGES[name](vault)
    changed = snapshot(vault)
    assert differences(before, changed), "nothing changed"
    core = vault.vault._core
    assert core.roots.latest is not None
    assert core.objects.generation == core.roots.latest.root.generation + 1, "what is sealed looks old"
    vault.vault.write_out()
    assert not differences(changed, snapshot(open_inline(store.copy())))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("why", ["opened so", "stopped"])
def test_nothing_changes_in_a_vault_that_is_read_only(store: MemoryStore, name: str, why: str) -> None:
    vault = open_inline(store, options(read_only=why == "opened so"))
    if why == "stopped":
        vault.write(vault.walk(b"other").id, 0, b"before")
        vault.vault._core.stop_writing("the disk failed")
    before, stored = snapshot(vault), snapshot(open_inline(store.copy()))
    with pytest.raises(ReadOnly):
        CHANGES[name](vault)
    assert not differences(before, snapshot(vault))
    vault.vault.close()
    assert not differences(stored, snapshot(open_inline(store.copy())))


@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFDIR])
@pytest.mark.parametrize("holding", [False, True])
def test_the_end_of_a_deleted_file_can_be_the_first_change_after_a_clean_root(
    store: MemoryStore, kind: int, holding: bool
) -> None:
    """A program closes its temporary file, or leaves a folder that is gone, when the store has just been settled."""
    vault = open_inline(store)
    if holding:
        vault.vault.hold_changes()
    made = vault.create_inode(ROOT, b"temporary", kind | 0o700).id
    vault.vault.remember(made)
    if kind == stat.S_IFREG:
        vault.open_inode(made)
        vault.unlink(ROOT, b"temporary")
    else:
        vault.rmdir(ROOT, b"temporary")
    settle(vault)
    if kind == stat.S_IFREG:
        vault.call(lambda: vault.vault.release(made))
    vault.call(lambda: vault.vault.forget(made, 1))
    vault.vault.write_out()
    with pytest.raises(NotFound):
        vault.getattr(made)
    assert vault.create_inode(ROOT, b"next", stat.S_IFREG | 0o600)
    expected = snapshot(vault)
    vault.fsync()
    assert not differences(expected, snapshot(open_inline(store.copy())))
    vault.vault.close()
    assert_clean(store)


def test_a_deleted_file_that_cannot_be_removed_is_closed_all_the_same(store: MemoryStore) -> None:
    """It stays for the next opening, and nothing of it in memory."""
    faulty = FaultyStore(store)
    vault = open_inline(faulty)
    made = put_file(vault, b"temporary", b"x" * 5000)
    vault.open_inode(made)
    vault.unlink(ROOT, b"temporary")
    settle(vault)
    faulty.faults.append(Fault(errno.EIO, kinds=faultystore.CHANGES, lasting=True))
    vault.call(lambda: vault.vault.release(made))
    assert vault.vault.read_only
    assert not vault.vault._state.opens
    vault.vault.close()
    again = open_inline(store)
    assert not {name for name, _ in again.list_directory(ROOT)} & {b"temporary"}
    again.vault.checkpoint()
    again.vault.close()
    assert_clean(store)


def test_a_sync_after_a_clean_root_finds_nothing_to_do(store: MemoryStore) -> None:
    vault = open_inline(store)
    file = put_file(vault, b"large", b"c" * 20_000)
    replacing = put_file(vault, b"new", b"d" * 20_000)
    vault.rename(ROOT, b"new", ROOT, b"file")
    settle(vault)
    for inode in (file, replacing, None):
        assert not vault.vault.begin_sync(inode).needed
        vault.fsync(inode)
    vault.vault.close()
    assert_clean(store)
