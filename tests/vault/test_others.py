"""Another machine changes the store while the vault is open here, or was left here: neither one's changes are lost."""

import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, ROOT, open_inline, options
from tests.vault.harness import put_file as put
from tests.vault.walker import assert_clean
from vaultfs.errors import JournalDamaged, PartlySynced, ReadOnly, RollbackRefused, WriteFailed
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.memory import GenerationMemory
from vaultfs.vault.vault import Vault

OURS, THEIRS = random.Random(1).randbytes(3000), random.Random(2).randbytes(5000)
CHANGED = "the roots in the store were changed by another program"
STRANGERS = "the store has a journal, as of a session on another machine, whose changes may be missing here"

pytestmark = pytest.mark.usefixtures("with_small_limits")


@pytest.fixture
def store(store: MemoryStore) -> MemoryStore:
    """With a file that both machines know."""
    vault = open_inline(store)
    put(vault, b"first", b"1" * 3000)
    vault.vault.close()
    return store


def contents(vault: Inline) -> dict[bytes, bytes]:
    return {name: vault.read(vault.walk(name).id, 0, 1 << 20) for name, _ in vault.list_directory(ROOT)}


def bring(store: MemoryStore, other: MemoryStore) -> None:
    """What a sync client does: everything is as in the other store, but for journals that are only here."""
    ours = store.tree["journal"]
    store.tree = other.copy().tree
    store.tree["journal"] = {**ours, **store.tree["journal"]}


def change_elsewhere(store: MemoryStore, times: int = 1) -> MemoryStore:
    """The store as another machine leaves it, which has what was synced here until now."""
    other = store.copy()
    for number in range(times):
        vault = open_inline(other)
        put(vault, b"theirs %d" % number, THEIRS)
        vault.unlink(ROOT, b"first" if number == 0 else b"theirs %d" % (number - 1))
        vault.vault.close()
    return other


def nothing(vault: Inline) -> None:
    pass


def commit(vault: Inline) -> None:
    put(vault, b"committed", OURS)
    assert vault.vault.checkpoint()


def settle(vault: Inline) -> None:
    commit(vault)
    assert vault.vault.settle()


@pytest.mark.parametrize("before", [nothing, settle])
@pytest.mark.expects_log(CHANGED)
def test_the_first_change_after_them_is_refused(store: MemoryStore, before: Callable[[Inline], None]) -> None:
    vault = open_inline(store)
    before(vault)
    other = change_elsewhere(store)
    bring(store, other)
    for refused in (lambda: put(vault, b"ours", OURS), vault.vault.settle):
        with pytest.raises(ReadOnly, match=CHANGED):
            refused()
    vault.vault.close()
    assert store.tree.keys() == other.tree.keys()
    assert contents(open_inline(store)) == contents(open_inline(other))
    assert_clean(other)


@pytest.mark.expects_log(CHANGED)
def test_closing_leaves_what_they_wrote(store: MemoryStore) -> None:
    vault = open_inline(store)
    commit(vault)
    other = change_elsewhere(store)
    bring(store, other)
    with pytest.raises(ReadOnly, match=CHANGED):
        vault.vault.close()
    assert contents(open_inline(store)) == contents(open_inline(other))


@pytest.mark.expects_log(CHANGED, "the last changes are kept in quarantine/journal-0*4: ")
def test_changes_here_and_there_are_both_kept(store: MemoryStore) -> None:
    """What was synced here stays, for salvage; what they wrote is not touched, their folders least of all."""
    vault = open_inline(store)
    commit(vault)
    other = change_elsewhere(store)
    bring(store, other)
    file = put(vault, b"ours", OURS)
    vault.fsync(file)
    assert not vault.vault.checkpoint()
    assert store.names("quarantine") == ["journal-00000004"]
    vault.vault.close()
    again = open_inline(store)
    assert contents(again) == {b"committed": OURS, b"theirs 0": THEIRS}
    again.vault.close()
    assert store.names("quarantine") == ["journal-00000004"]
    assert contents(open_inline(store)) == {b"committed": OURS, b"theirs 0": THEIRS}


@pytest.mark.expects_log(CHANGED, "the last changes are kept")
def test_a_journal_they_took_away_is_kept(store: MemoryStore) -> None:
    """They recovered what was in it at the time, and the sync client deleted it here as they did there."""
    vault = open_inline(store)
    commit(vault)
    other = change_elsewhere(store)
    vault.fsync(put(vault, b"ours", OURS))
    bring(store, other)
    store.tree["journal"] = other.copy().tree["journal"]
    assert not vault.vault.checkpoint()
    assert store.names("quarantine") == ["journal-00000004"]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.expects_log(STRANGERS)
def test_changes_that_were_left_here_are_kept(store: MemoryStore, tmp_path: Path, times: int, looked: bool) -> None:
    """The process was killed, so that nobody noticed; next time, theirs is the newer root, however far it went on."""
    opening = options()._replace(memory=GenerationMemory(tmp_path, b"id"))
    vault = open_inline(store, opening)
    commit(vault)
    vault.fsync(put(vault, b"ours", OURS))
    other = change_elsewhere(store, times)
    file = put(vault, b"more", OURS)
    vault.fsync(file)
    bring(store, other)
    if looked:
        assert b"theirs %d" % (times - 1) in contents(open_inline(store, opening._replace(read_only=True)))
    again = Inline(Vault.open(store, KEYS, opening))
    assert contents(again) == {b"committed": OURS, b"ours": OURS, b"theirs %d" % (times - 1): THEIRS}
    again.vault.close()
    (kept,) = store.names("quarantine")
    assert kept.startswith("journal-")
    assert contents(open_inline(store, opening)).keys() == {b"committed", b"ours", b"theirs %d" % (times - 1)}
    assert store.names("quarantine") == [kept]


def test_what_a_kill_left_of_ones_own_is_none_of_theirs(store: MemoryStore, tmp_path: Path) -> None:
    opening = options()._replace(memory=GenerationMemory(tmp_path, b"id"))
    for _ in range(3):
        vault = open_inline(store, opening)
        put(vault, b"ours", OURS)
        assert vault.vault.checkpoint()
        vault.unlink(ROOT, b"ours")
        vault.fsync()
        store = store.copy()
    assert contents(open_inline(store, opening)) == {b"first": b"1" * 3000}
    assert "quarantine" not in store.tree


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 60), (3, 20), (12, 75), (70, 200)])
def test_two_ways_that_a_vault_went_are_told_apart(store: MemoryStore, tmp_path: Path, ours: int, theirs: int) -> None:
    """Both machines went on from the same state, and the sync client kept the one that is ahead."""
    opening = options()._replace(memory=GenerationMemory(tmp_path, b"id"))
    other = store.copy()
    for copy, checkpoints, how in ((store, ours, opening), (other, theirs, options())):
        vault = open_inline(copy, how)
        for number in range(checkpoints):
            put(vault, b"%d" % number, b"x")
            assert vault.vault.checkpoint()
        vault.vault.close()
    bring(store, other)
    with pytest.raises(RollbackRefused, match="went another way"):
        Vault.open(store, KEYS, opening)
    assert len(contents(open_inline(store, opening._replace(accept_rollback=True)))) == theirs + 1


@pytest.mark.parametrize("number", range(8))
def test_a_short_session_is_missed_although_the_other_machine_had_many(
    store: MemoryStore, tmp_path: Path, number: int
) -> None:
    """A session is three generations; how they are numbered must not matter."""
    opening = options()._replace(memory=GenerationMemory(tmp_path, b"id"))
    for _ in range(number):
        vault = open_inline(store)
        vault.setattr(ROOT, SetAttr(mtime=1))
        assert vault.vault.checkpoint()
        vault.vault.close()
    other = store.copy()
    vault = open_inline(store, opening)
    put(vault, b"ours", OURS)
    vault.vault.close()
    for count in range(20):
        vault = open_inline(other)
        put(vault, b"theirs %d" % count, THEIRS)
        vault.vault.close()
    bring(store, other)
    with pytest.raises(RollbackRefused, match="went another way"):
        Vault.open(store, KEYS, opening)


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.parametrize("ahead", [0, 9], ids=["lower number", "higher number"])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_journal_that_comes_late_is_kept(
    store: MemoryStore, tmp_path: Path, count: int, ahead: int, is_killed: bool, expect_log: Callable[[str], None]
) -> None:
    """To the machine whose root is in force, from one that was killed: nothing tells which of them lacks changes."""
    opening = options()._replace(memory=GenerationMemory(tmp_path, b"id"))
    killed = store.copy()
    vault = open_inline(killed)
    for number in range(ahead):
        put(vault, b"%d" % number, b"x")
        assert vault.vault.checkpoint()
    vault.fsync(put(vault, b"ours", OURS))
    late_number = vault.vault._core.journal.active.header.number
    change_here = open_inline(store, opening)
    put(change_here, b"theirs", THEIRS)
    change_here.vault.close()
    vault = open_inline(store, opening)
    for number in range(count):
        put(vault, b"theirs %d" % number, THEIRS)
    if is_killed:
        vault.fsync()
    else:
        vault.vault.close()
    store = store.copy()
    late = f"{late_number:08x}"
    assert late not in store.tree["journal"]
    store.tree["journal"][late] = killed.tree["journal"][late]
    if is_killed and ahead and count == 1:
        # It tells of more that was synced than there is.
        with pytest.raises(JournalDamaged):
            Vault.open(store.copy(), KEYS, opening)
        opening = opening._replace(accept_damage=True)
        expect_log("changes are left out")
    again = open_inline(store, opening)
    assert {b"theirs %d" % number for number in range(count)} <= contents(again).keys()
    again.vault.close()
    assert f"journal-{late}" in store.names("quarantine")


def test_a_journal_that_is_not_needed_and_cannot_be_read_keeps_nothing_from_opening(store: MemoryStore) -> None:
    file = store.create("journal/00000001")
    file.write([bytes(5000)], 0)
    reading = frozenset({"open", "read", "size"})
    vault = open_inline(FaultyStore(store, Fault(errno.EIO, kinds=reading, below="journal/00000001", lasting=True)))
    assert contents(vault).keys() == {b"first"}


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("how", ["settle", "close"])
@pytest.mark.expects_log("a clean root could not be written|the vault could not be closed cleanly")
def test_a_clean_root_that_could_not_be_synced_is_followed_by_nothing(
    store: MemoryStore, slot: int, code: int, how: str
) -> None:
    """It may be there all the same: what would be written after it needs a root that knows its journal."""
    faulty = FaultyStore(store)
    vault = open_inline(faulty)
    commit(vault)
    faulty.faults.append(Fault(code, at=slot, kinds=frozenset({"sync"}), below="root."))
    with pytest.raises(WriteFailed):
        vault.vault.settle() if how == "settle" else vault.vault.close()
    with pytest.raises(ReadOnly):
        put(vault, b"more", OURS)
    assert contents(open_inline(store.copy())) == {b"first": b"1" * 3000, b"committed": OURS}


def test_a_rollback_is_accepted_once(store: MemoryStore, tmp_path: Path) -> None:
    opening = options()._replace(memory=GenerationMemory(tmp_path, b"id"))
    older = store.copy()
    vault = open_inline(store, opening)
    commit(vault)
    vault.vault.close()
    with pytest.raises(RollbackRefused):
        Vault.open(older, KEYS, opening)
    open_inline(older, opening._replace(accept_rollback=True)).vault.close()
    assert contents(open_inline(older, opening)).keys() == {b"first"}


@pytest.mark.expects_log(CHANGED, "the last changes are kept in quarantine/journal-0*4: ")
def test_the_journal_is_kept_in_the_room_that_is_held_for_a_full_store(store: MemoryStore) -> None:
    faulty = FaultyStore(store)
    vault = open_inline(faulty)
    commit(vault)
    other = change_elsewhere(store)
    vault.fsync(put(vault, b"ours", OURS))
    bring(store, other)
    fault = Fault(errno.ENOSPC, kinds=frozenset({"create"}), below="quarantine/")
    faulty.faults.append(fault)
    assert not vault.vault.checkpoint()
    assert fault.fired == 1
    assert store.names("quarantine") == ["journal-00000004"]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_clean_vault_needs_no_folder_for_journals(store: MemoryStore, read_only: bool) -> None:
    """Some sync clients leave out folders that are empty."""
    del store.tree["journal"], store.tree[""]["journal"]
    assert contents(open_inline(store, options(read_only=read_only))).keys() == {b"first"}


def test_a_vault_in_use_misses_its_folder_for_journals(store: MemoryStore) -> None:
    vault = open_inline(store)
    vault.fsync(put(vault, b"ours", OURS))
    del store.tree["journal"], store.tree[""]["journal"]
    with pytest.raises(PartlySynced, match="is missing"):
        Vault.open(store, KEYS, options())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EINVAL, errno.EIO])
def test_a_journal_for_which_there_is_no_room_stays_where_it_is(store: MemoryStore, code: int) -> None:
    killed = store.copy()
    vault = open_inline(killed)
    vault.fsync(put(vault, b"ours", OURS))
    (name,) = (name for name in killed.names("journal") if name != "ballast")
    other = change_elsewhere(store)
    other.tree["journal"][name] = killed.tree["journal"][name]
    full = FaultyStore(other, Fault(code, kinds=frozenset({"make_folder"}), below="quarantine", lasting=True))
    vault = open_inline(full)
    assert contents(vault).keys() == {b"theirs 0"}
    put(vault, b"more", OURS)
    vault.vault.close()
    assert name in other.names("journal")
    vault = open_inline(other)
    assert contents(vault).keys() == {b"theirs 0", b"more"}
    assert other.names("quarantine") == [f"journal-{name}"]
    assert name not in other.names("journal")
