"""Whatever is changed first in a session begins it as it should, and nothing can be changed where nothing may be."""

import logging
import stat
from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, differences, open_inline, options, put_file, snapshot
from vaultfs.errors import ReadOnly
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
