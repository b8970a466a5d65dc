"""Changes that may wait for one another in memory: a mount holds them for milliseconds, a sync leaves none there."""

import errno
import stat
import struct

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, ROOT, differences, open_inline, options, snapshot
from tests.vault.walker import assert_clean
from vaultfs.errors import NoSpace, WriteFailed
from vaultfs.vault.acl import ACCESS, AclEntry, encode_acl
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import Vault

pytestmark = pytest.mark.usefixtures("with_small_limits")


@pytest.fixture
def vault(store: MemoryStore) -> Inline:
    """Holds changes, and has one file that is in the journal."""
    vault = open_inline(store)
    new_file(vault, b"first")
    vault.vault.hold_changes()
    return vault


def new_file(vault: Inline, name: bytes) -> int:
    return vault.create_inode(ROOT, name, stat.S_IFREG | 0o644).id


def names_after_a_kill(store: MemoryStore) -> list[bytes]:
    return sorted(name for name, _ in open_inline(store.copy()).list_directory(ROOT))


def journal_bytes(vault: Inline) -> int:
    return vault.vault._core.journal.size


def test_a_change_is_in_memory_until_it_is_written_out(store: MemoryStore, vault: Inline) -> None:
    new_file(vault, b"held")
    assert vault.lookup(ROOT, b"held").size == 0
    assert names_after_a_kill(store) == [b"first"]
    vault.vault.write_out()
    assert names_after_a_kill(store) == [b"first", b"held"]


@pytest.mark.parametrize("step", ["fsync", "checkpoint", "close"])
def test_what_is_promised_is_never_held(store: MemoryStore, vault: Inline, step: str) -> None:
    file = new_file(vault, b"held")
    vault.write(file, 0, b"content")
    shown = snapshot(vault)
    match step:
        case "fsync":
            vault.fsync(file)
        case "checkpoint":
            assert vault.vault.checkpoint()
        case "close":
            vault.vault.close()
    assert not differences(shown, snapshot(open_inline(store.copy())))


@pytest.mark.parametrize("end", ["unlink", "rename", "link"])
def test_what_programs_take_for_done_is_written_at_once(store: MemoryStore, vault: Inline, end: str) -> None:
    """SQLite deletes its journal after a transaction, others rename: neither syncs that."""
    file = new_file(vault, b"new")
    match end:
        case "unlink":
            vault.unlink(ROOT, b"first")
        case "rename":
            vault.rename(ROOT, b"new", ROOT, b"first")
        case "link":
            vault.link(file, ROOT, b"second")
    assert not differences(snapshot(vault), snapshot(open_inline(store.copy())))


def test_changes_made_while_a_sync_runs_wait_for_the_next_one(store: MemoryStore, vault: Inline) -> None:
    file = new_file(vault, b"a")
    plan = vault.vault.begin_sync(file)
    plan.flush_content()
    new_file(vault, b"b")
    plan.mark()
    plan.flush_journal()
    plan.done()
    assert vault.vault.begin_sync(file).needed
    assert b"a" in names_after_a_kill(store)


def test_no_more_is_held_than_a_little(store: MemoryStore) -> None:
    vault = Inline(Vault.open(store, KEYS, options(settings=Settings(journal_preallocation=0, ballast_size=0))))
    vault.vault.hold_changes()
    for number in range(200):
        new_file(vault, b"%d" % number)
    assert len(names_after_a_kill(store)) >= 200 - 65
    before = journal_bytes(vault)
    file = vault.lookup(ROOT, b"0").id
    for number in range(300):
        vault.write(file, number * 400, bytes(400))
    assert journal_bytes(vault) - before > 300 * 400 - (64 << 10) - 1000


def test_several_changes_of_a_files_attributes_are_one(store: MemoryStore, vault: Inline) -> None:
    """tar sets the owner, the mode and the times of each file, one after the other."""
    file, other = vault.lookup(ROOT, b"first").id, new_file(vault, b"other")
    vault.vault.write_out()

    def size_of(changes: list[tuple[int, SetAttr]]) -> int:
        before = journal_bytes(vault)
        for inode, change in changes:
            vault.setattr(inode, change)
        vault.vault.write_out()
        return journal_bytes(vault) - before

    one = size_of([(file, SetAttr(mode=0o600))])
    assert size_of([(file, SetAttr(uid=5)), (file, SetAttr(mode=0o640)), (file, SetAttr(mtime=77))]) == one
    assert size_of([(file, SetAttr(uid=6)), (other, SetAttr(mode=0o600)), (file, SetAttr(uid=7))]) == 3 * one
    recovered = open_inline(store.copy())
    assert not differences(snapshot(vault), snapshot(recovered))
    inode = recovered.getattr(file)
    assert (inode.uid, inode.mode & 0o777, inode.mtime) == (7, 0o640, 77)


def test_an_acl_that_is_all_in_the_mode_is_one_with_them(store: MemoryStore, vault: Inline) -> None:
    """`cp -a` sets one for every file, among the owner, the mode and the times."""
    file = vault.lookup(ROOT, b"first").id
    vault.vault.write_out()
    before = journal_bytes(vault)
    vault.setattr(file, SetAttr(mtime=77, ctime=78))
    vault.setxattr(file, ACCESS, encode_acl([AclEntry(1, 6, 0), AclEntry(4, 4, 0), AclEntry(32, 0, 0)]))
    vault.setattr(file, SetAttr(uid=5))
    assert journal_bytes(vault) == before, "held"
    assert vault.getattr(file).mode & 0o777 == 0o640
    assert vault.getattr(file).ctime > 78
    vault.vault.write_out()
    recovered = open_inline(store.copy())
    assert not differences(snapshot(vault), snapshot(recovered))
    assert recovered.listxattr(file) == []


def test_an_acl_that_is_all_in_the_mode_takes_another_away(store: MemoryStore, vault: Inline) -> None:
    file = vault.lookup(ROOT, b"first").id
    minimal = [AclEntry(1, 6, 0), AclEntry(4, 4, 0), AclEntry(32, 0, 0)]
    extended = [minimal[0], AclEntry(2, 7, 9), minimal[1], AclEntry(16, 7, 0), minimal[2]]
    vault.setxattr(file, ACCESS, encode_acl(extended))
    assert vault.listxattr(file) == [ACCESS]
    vault.setxattr(file, ACCESS, encode_acl(minimal))
    assert vault.listxattr(file) == []
    vault.vault.write_out()
    recovered = open_inline(store.copy())
    assert recovered.listxattr(file) == []
    assert recovered.getattr(file).mode & 0o777 == 0o640


def test_a_store_that_is_almost_full_is_asked_each_time(store: MemoryStore) -> None:
    tight = MemoryStore(store.tree, capacity=200 << 20)
    vault = open_inline(tight)
    vault.vault.hold_changes()
    new_file(vault, b"a")
    assert names_after_a_kill(tight) == [b"a"]


@pytest.mark.expects_log("the journal could not be written: Input/output error")
def test_what_a_failing_disk_did_not_take_is_tried_again_once_at_the_end(store: MemoryStore) -> None:
    faulty = FaultyStore(store)
    vault = open_inline(faulty)
    new_file(vault, b"first")
    vault.vault.hold_changes()
    new_file(vault, b"held")
    faulty.faults.append(Fault(errno.EIO, kinds=frozenset({"write", "create"}), below="journal", lasting=True))
    for _ in range(3):
        with pytest.raises(WriteFailed):
            vault.vault.write_out()
    assert vault.vault.read_only
    assert vault.lookup(ROOT, b"held").size == 0
    with pytest.raises(WriteFailed):
        vault.fsync()
    asked = faulty.faults[0].fired
    with pytest.raises(WriteFailed):
        vault.vault.write_out()
    assert faulty.faults[0].fired == asked, "a disk that fails is not asked at every turn"
    faulty.faults.clear()
    vault.vault.close()
    assert names_after_a_kill(store) == [b"first", b"held"]


def test_where_an_inode_is_may_be_all_that_was_held_when_the_vault_is_settled(store: MemoryStore) -> None:
    """A deletion finds no room after its inode's place was held: nothing has changed, and the vault goes on."""
    faulty = FaultyStore(store)
    vault = open_inline(faulty)
    folder = vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o755).id
    vault.create_inode(folder, b"file", stat.S_IFREG | 0o644)
    vault.setattr(ROOT, SetAttr(mtime=5))
    assert vault.vault.checkpoint()
    vault.vault.hold_changes()
    faulty.faults.append(Fault(errno.ENOSPC, kinds=frozenset({"write", "create"}), below="journal", lasting=True))
    with pytest.raises(NoSpace):
        vault.unlink(folder, b"file")
    faulty.faults.clear()
    assert vault.vault.settle()
    vault.unlink(folder, b"file")
    assert vault.list_directory(folder) == []
    vault.vault.close()
    assert_clean(store)


def test_a_change_that_cannot_be_written_is_refused_before_it_is_made(store: MemoryStore, vault: Inline) -> None:
    file = vault.lookup(ROOT, b"first").id
    new_file(vault, b"held")
    before = snapshot(vault)
    with pytest.raises(struct.error):
        vault.setattr(file, SetAttr(uid=1 << 40))
    assert not differences(snapshot(vault), before)
    vault.vault.write_out()
    assert not differences(snapshot(open_inline(store.copy())), before)
