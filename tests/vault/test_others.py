"""Another machine changes the store while the vault is open here, or was left here: neither one's changes are lost."""

import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, ROOT, new_store, open_inline, options, small_limits
from tests.vault.walker import assert_clean
from vaultfs.errors import ReadOnly, RollbackRefused
from vaultfs.vault.inline import Inline
from vaultfs.vault.memory import GenerationMemory
from vaultfs.vault.vault import Vault

OURS, THEIRS = random.Random(1).randbytes(3000), random.Random(2).randbytes(5000)
CHANGED = "the roots in the store were changed by another program"
STRANGERS = "the store has changes of another session"


@pytest.fixture(autouse=True)
def _small_limits() -> Iterator[None]:
    with small_limits():
        yield


@pytest.fixture
def store() -> MemoryStore:
    store = new_store()
    vault = open_inline(store)
    put(vault, b"first", b"1" * 3000)
    vault.vault.close()
    return store


def put(vault: Inline, name: bytes, data: bytes) -> int:
    inode = vault.create_inode(ROOT, name, stat.S_IFREG | 0o644)
    vault.vault.remember(inode.id)
    vault.write(inode.id, 0, data)
    return inode.id


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


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (3, 20), (12, 75), (70, 200)])
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
