"""What is left in memory from before the journals went does not count any more."""

import errno
import stat

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, open_inline, put_file, settle
from vaultfs.errors import NoSpace


def test_a_change_that_found_no_room_leaves_the_next_journal_whole(store: MemoryStore) -> None:
    """The record of where its folder is went with the old journal, so the next change has to say it again."""
    fault = Fault(errno.ENOSPC, at=1 << 30, kinds=frozenset({"write", "create", "allocate"}), below="journal")
    vault = open_inline(FaultyStore(store, fault))
    folder = vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o700).id
    vault.vault.remember(folder)
    assert vault.vault.checkpoint()
    fault.at, fault.lasting = fault.seen + 1, True  # behind the record that says where the folder is
    with pytest.raises(NoSpace):
        vault.create_inode(folder, b"refused", stat.S_IFREG | 0o600)
    fault.at = 1 << 30
    settle(vault)
    inode = vault.create_inode(folder, b"accepted", stat.S_IFREG | 0o600).id
    vault.write(inode, 0, b"precious")
    vault.fsync(inode)
    again = open_inline(store.copy())
    assert again.read(again.walk(b"folder/accepted").id, 0, 100) == b"precious"


def test_a_sync_needs_nothing_of_a_file_renamed_over_another_and_deleted(store: MemoryStore) -> None:
    vault = open_inline(store)
    other = put_file(vault, b"other", b"x")
    put_file(vault, b"new", b"n" * 4096)
    put_file(vault, b"old", b"o")
    vault.rename(ROOT, b"new", ROOT, b"old")
    vault.unlink(ROOT, b"old")
    settle(vault)
    vault.fsync(other)
    vault.write(other, 0, b"y")
    vault.fsync(other)
    again = open_inline(store.copy())
    assert again.read(again.walk(b"other").id, 0, 9) == b"y"


def test_a_sync_needs_nothing_of_a_write_that_found_no_room(store: MemoryStore) -> None:
    fault = Fault(errno.ENOSPC, at=1 << 30, kinds=frozenset({"write"}), below="journal")
    vault = open_inline(FaultyStore(store, fault))
    inode = put_file(vault, b"file", b"x" * 3000)
    assert vault.vault.checkpoint()
    put_file(vault, b"another")
    fault.at, fault.lasting = fault.seen, True
    with pytest.raises(NoSpace):
        vault.write(inode, 0, b"y" * 1024)
    fault.at = 1 << 30
    settle(vault)
    assert not vault.vault._state.contents[inode].unsynced
    vault.fsync(inode)
    vault.fsync()
    assert vault.read(inode, 0, 3000) == b"x" * 3000
