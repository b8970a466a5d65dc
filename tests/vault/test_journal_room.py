"""Room made for journal records: little while somebody waits for it, then as much again, and none for nothing."""

import errno
import itertools
import stat

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import Allocate, RecordingStore
from tests.vault.harness import KEYS, ROOT, new_store, options
from vaultfs.errors import NoSpace, WriteFailed
from vaultfs.format.constants import CHUNK_SIZE_DEFAULT
from vaultfs.format.layout import JOURNAL_FOLDER
from vaultfs.vault.inline import Inline
from vaultfs.vault.journal import JournalFile
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import Vault

_FIRST = 16 << 10
_STEP = 32 << 10
_MOST = 128 << 10
_SETTINGS = Settings(
    checkpoint_age=1e9, journal_preallocation=_MOST, journal_room=_FIRST, journal_step=_STEP, ballast_size=0
)


def _new_store() -> MemoryStore:
    return new_store(CHUNK_SIZE_DEFAULT)


def _make_folder(vault: Inline, name: bytes) -> None:
    vault.create_inode(ROOT, name, stat.S_IFDIR | 0o755)


def _write_a_journal(vault: Inline, size: int) -> None:
    """Write until so many bytes of records are in the journal."""
    inode = vault.create_inode(ROOT, b"file", stat.S_IFREG | 0o644).id
    journal = vault.vault._core.journal
    while journal.size < size:
        vault.write(inode, 0, bytes(300))


def _allocated(store: RecordingStore) -> list[int]:
    return [operation.size for operation in store.log.operations if isinstance(operation, Allocate)]


def test_a_journal_grows_by_what_it_has_up_to_a_step_and_no_further_than_its_whole_room() -> None:
    store = RecordingStore(_new_store())
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _make_folder(vault, b"first")
    assert _allocated(store) == [_FIRST]
    _write_a_journal(vault, 2 * _MOST)
    assert _allocated(store) == [_FIRST, 2 * _FIRST, 4 * _FIRST, 4 * _FIRST + _STEP, _MOST]


def _write_and_sync(vault: Inline, size: int) -> None:
    """The same with an fsync after each write."""
    inode = vault.create_inode(ROOT, b"synced", stat.S_IFREG | 0o644).id
    journal = vault.vault._core.journal
    while journal.size < size:
        vault.write(inode, 0, bytes(300))
        vault.vault.begin_sync(inode).run()


def test_a_journal_that_is_synced_again_and_again_grows_on() -> None:
    """To append to a file costs each fdatasync(2) a commit of the file system's own journal."""
    store = RecordingStore(_new_store())
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _write_and_sync(vault, 2 * _MOST)
    grown = _allocated(store)
    assert grown[:6] == [_FIRST, 2 * _FIRST, 4 * _FIRST, 4 * _FIRST + _STEP, _MOST, _MOST + _STEP]
    assert {after - before for before, after in itertools.pairwise(grown[3:])} == {_STEP}
    assert vault.vault._core.journal.size <= grown[-1] <= vault.vault._core.journal.size + _STEP


def test_a_journal_that_is_synced_at_last_grows_from_where_it_is() -> None:
    memory = _new_store()
    store = RecordingStore(memory)
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _write_a_journal(vault, 2 * _MOST)
    written = vault.vault._core.journal.size
    assert _allocated(store)[-1] == _MOST
    inode = vault.lookup(ROOT, b"file").id
    for _ in range(3):
        vault.vault.begin_sync(inode).run()
        vault.write(inode, 0, bytes(300))
    assert _allocated(store)[-1] == written + _STEP
    _assert_recovered(memory)


def test_a_journal_grows_on_where_some_records_are_synced_together() -> None:
    store = RecordingStore(_new_store())
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    inode = vault.create_inode(ROOT, b"file", stat.S_IFREG | 0o644).id
    journal = vault.vault._core.journal
    synced = 0
    while journal.size < 2 * _MOST:
        vault.write(inode, 0, bytes(300))
        assert journal.active.end <= journal.active.room
        if journal.size - synced > _STEP * 3 // 4:
            vault.vault.begin_sync(inode).run()
            synced = journal.size
    assert _allocated(store)[-1] == journal.active.room


def test_a_large_record_gets_its_room_at_once() -> None:
    store = RecordingStore(_new_store())
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _write_and_sync(vault, _MOST)
    journal = vault.vault._core.journal
    vault.vault.setxattr(vault.lookup(ROOT, b"synced").id, b"user.large", bytes(2 * _STEP))
    assert _allocated(store)[-1] == journal.size


def test_a_free_end_that_is_cut_off_during_a_sync_is_not_counted_as_synced() -> None:
    vault = Inline(Vault.open(_new_store(), KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _write_a_journal(vault, _FIRST // 2)
    journal = vault.vault._core.journal
    file = journal.active

    def sync_while_it_is_cut(_: JournalFile) -> None:
        assert journal.cut_free_ends()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(JournalFile, "sync", sync_while_it_is_cut)
        journal.flush().run()
    assert file.synced_room == file.room == file.end


def test_no_room_is_made_where_none_is_wanted() -> None:
    store = RecordingStore(_new_store())
    settings = Settings(checkpoint_age=1e9, journal_preallocation=0, ballast_size=0)
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, settings)))
    _write_and_sync(vault, _MOST)
    assert _allocated(store) == []


def test_a_session_with_one_change_makes_little_room() -> None:
    """On a phone's card 8 MiB of zeros at each mount would be a second, and wear."""
    store = RecordingStore(_new_store())
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, Settings(ballast_size=0))))
    _make_folder(vault, b"change")
    vault.vault.close()
    assert 0 < sum(_allocated(store)) <= 1 << 20


def test_the_next_journal_is_ready_in_full_while_the_vault_is_open() -> None:
    store = RecordingStore(_new_store())
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _make_folder(vault, b"change")
    assert vault.vault.checkpoint()
    assert _MOST in _allocated(store)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_journal_that_cannot_grow_is_appended_to_all_the_same(code: int) -> None:
    memory = _new_store()
    store = FaultyStore(memory, Fault(code, at=2, kinds=frozenset({"allocate"}), lasting=True))
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _write_a_journal(vault, 2 * _MOST)
    assert not vault.vault.read_only
    _assert_recovered(memory)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_vault_opens_after_a_crash_although_no_room_can_be_made(code: int) -> None:
    memory = _new_store()
    _write_a_journal(Inline(Vault.open(memory, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS))), _FIRST)
    fault = Fault(code, kinds=frozenset({"allocate"}), lasting=True)
    vault = Inline(Vault.open(FaultyStore(memory, fault), KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    assert fault.fired
    assert vault.read(vault.lookup(ROOT, b"file").id, 0, 300) == bytes(300)
    _make_folder(vault, b"another")
    vault.vault.close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_vault_that_finds_no_room_for_a_journal_says_so_and_loses_nothing(code: int) -> None:
    """Its journals may be in another place than the store, whose ballast does not help there."""
    memory = _new_store()
    _write_a_journal(Inline(Vault.open(memory, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS))), _FIRST)
    store = FaultyStore(memory, Fault(code, kinds=frozenset({"create"}), below=JOURNAL_FOLDER, lasting=True))
    with pytest.raises(NoSpace, match="no room for a new journal: make some in the store, or where its journal is"):
        Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS))
    _assert_recovered(memory)


@pytest.mark.expects_log("the journal could not be written")
def test_a_disk_that_fails_while_a_journal_grows_turns_the_vault_read_only() -> None:
    memory = _new_store()
    store = FaultyStore(memory, Fault(errno.EIO, at=2, kinds=frozenset({"allocate"}), lasting=True))
    vault = Inline(Vault.open(store, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    with pytest.raises(WriteFailed):
        _write_a_journal(vault, 2 * _MOST)
    assert vault.vault.read_only
    _assert_recovered(memory)


def test_a_store_that_cannot_tell_its_room_is_written_to_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = _new_store()
    vault = Inline(Vault.open(memory, KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    _write_a_journal(vault, _FIRST // 2)
    with monkeypatch.context() as patched:
        patched.setattr(memory, "space", _fail)
        vault.vault._core.journal._grow(vault.vault._core.journal.active, 2 * _FIRST)
    vault.write(vault.lookup(ROOT, b"file").id, 0, bytes(300))
    assert not vault.vault.read_only
    _assert_recovered(memory)


def _fail() -> None:
    raise OSError(errno.EIO, "the network is gone")


def _assert_recovered(store: MemoryStore) -> None:
    """What is in the journal is there after a kill."""
    vault = Inline(Vault.open(store.copy(), KEYS, options(CHUNK_SIZE_DEFAULT, _SETTINGS)))
    assert [name for name, _ in vault.list_directory(ROOT)] == [b"file"]
