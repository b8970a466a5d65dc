"""A power cut during a checkpoint leaves two journals: one whose header is broken is told of and kept, not passed over.

What a cut leaves of a journal that is just being made looks broken as well, and nobody is to hear of that.
"""

import errno
import logging
import random
from collections.abc import Callable

import pytest

from tests.support.crashstore import CrashSimulator, crash_states
from tests.support.faultystore import READS, Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.harness import KEYS, ROOT, SMALL_CHUNK, open_inline, options
from tests.vault.harness import put_file as put
from tests.vault.walker import assert_clean
from vaultfs.errors import Damaged, JournalDamaged
from vaultfs.format.constants import JOURNAL_HEADER_SIZE
from vaultfs.format.layout import journal_number, journal_path, kept_journal_number, kept_journal_path
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.journal import open_journal_header
from vaultfs.store.api import Store, read_file
from vaultfs.vault.inline import Inline

OLDER, LATER = 3, 4
"""The numbers of the two journals."""
BEFORE = {b"committed 1", b"committed 2", b"older"}


@pytest.fixture(autouse=True)
def _quiet(with_small_limits: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs.vault")


@pytest.fixture
def left(store: MemoryStore) -> MemoryStore:
    """What a kill left of a vault whose checkpoint had begun and did not end; all had been synced."""
    vault = open_inline(store)
    commit(vault, b"committed 1")
    commit(vault, b"committed 2")
    put(vault, b"older", b"journaled")
    vault.fsync()
    assert vault.vault.begin_checkpoint()
    put(vault, b"later", b"journaled")
    vault.fsync()
    assert numbers(store) == [OLDER, LATER]
    return store.copy()


def commit(vault: Inline, name: bytes) -> None:
    put(vault, name, b"data")
    assert vault.vault.checkpoint()


def names(vault: Inline) -> set[bytes]:
    return {name for name, _ in vault.list_directory(ROOT)}


def numbers(store: Store) -> list[int]:
    return [int(name, 16) for name in store.names("journal")]


def flip(store: MemoryStore, offset: int) -> None:
    file = store.open(journal_path(LATER), write=True)
    (byte,) = file.read(1, offset)
    file.write([bytes([byte ^ 1])], offset)


def flip_seal(store: MemoryStore) -> None:
    flip(store, 40)


def flip_salt(store: MemoryStore) -> None:
    flip(store, 0)


def clear(store: MemoryStore) -> None:
    store.open(journal_path(LATER), write=True).write([bytes(JOURNAL_HEADER_SIZE)], 0)


def move(store: MemoryStore) -> None:
    store.rename(journal_path(LATER), journal_path(LATER + 1))


@pytest.mark.parametrize("damage", [flip_seal, flip_salt, clear, move])
def test_changes_behind_a_broken_header_are_missed_and_kept(
    left: MemoryStore, damage: Callable[[MemoryStore], None]
) -> None:
    damage(left)
    broken = max(numbers(left))
    stored = read_file(left, journal_path(broken)).rstrip(b"\0")
    vault = open_inline(left, options(read_only=True))
    assert vault.vault.lacks_changes
    assert names(vault) == BEFORE
    with pytest.raises(JournalDamaged, match=journal_path(broken)):
        open_inline(left)
    assert numbers(left) == [OLDER, broken]
    vault = open_inline(left, options(accept_damage=True))
    assert names(vault) == BEFORE
    vault.vault.close()
    assert read_file(left, kept_journal_path(broken)).rstrip(b"\0") == stored
    assert_clean(left)


def test_no_cut_while_a_journal_is_made_leaves_what_looks_like_damage(store: MemoryStore) -> None:
    """The next one is new at first, and later an old one that gets a new header and a new name."""
    recording = RecordingStore(store)
    vault = open_inline(recording)
    for number in range(4):
        commit(vault, b"committed %d" % number)
    simulator = CrashSimulator(recording.log)
    used_again = 0
    for position in range(len(recording.log) + 1):
        for cut in crash_states(simulator, position, rng=random.Random(position), limit=8, poor=True):
            used_again += any(any(stored) for stored in broken(cut, "journal", journal_number))
            assert not open_inline(cut.copy(writable=False), options(read_only=True)).vault.lacks_changes
            open_inline(cut).vault.close()
            assert not broken(cut, "quarantine", kept_journal_number), cut.description
    assert used_again


def broken(store: MemoryStore, folder: str, number_of: Callable[[str], int | None]) -> list[bytes]:
    """The contents of the journals in a folder whose header does not verify."""
    found = []
    for name in store.tree.get(folder, ()):
        stored = read_file(store, f"{folder}/{name}")
        try:
            open_journal_header(SealingContext(KEYS, SMALL_CHUNK), number_of(name) or 0, stored)
        except Damaged:
            found.append(stored)
    return found


@pytest.mark.parametrize("number", [LATER, 99])
def test_a_broken_journal_that_the_root_does_not_need_is_kept_without_a_word(left: MemoryStore, number: int) -> None:
    """Most likely its changes are committed; or they are another machine's, which went on from an older root."""
    flip_salt(left)
    stored = read_file(left, journal_path(LATER)).rstrip(b"\0")
    left.delete(journal_path(LATER))
    open_inline(left).vault.close()
    left.create(journal_path(number)).write([stored], 0)
    vault = open_inline(left)
    assert not vault.vault.lacks_changes
    assert numbers(left) == []
    assert read_file(left, kept_journal_path(number)).rstrip(b"\0") == stored


def test_a_journal_that_cannot_be_read_is_not_deleted(left: MemoryStore) -> None:
    """Nobody knows what is in it while the disk gives errors for it. Once it does not, it is seen to be committed."""
    stored = read_file(left, journal_path(LATER))
    open_inline(left).vault.close()
    left.create(journal_path(LATER)).write([stored], 0)
    open_inline(FaultyStore(left, Fault(errno.EIO, kinds=READS, below=journal_path(LATER), lasting=True)))
    assert numbers(left) == [LATER]
    open_inline(left)
    assert numbers(left) == []
    assert "quarantine" not in left.tree


def test_no_cut_takes_a_journal_while_it_is_put_away(left: MemoryStore) -> None:
    flip_seal(left)
    stored = read_file(left, journal_path(LATER)).rstrip(b"\0")
    recording = RecordingStore(left)
    open_inline(recording, options(accept_damage=True)).vault.close()
    assert numbers(recording) == []
    simulator = CrashSimulator(recording.log)
    for position in range(len(recording.log) + 1):
        for cut in crash_states(simulator, position, rng=random.Random(position), limit=16):
            paths = [path for path in (journal_path(LATER), kept_journal_path(LATER)) if cut.exists(path)]
            assert stored in [read_file(cut, path).rstrip(b"\0") for path in paths], cut.description


def test_a_sync_during_a_checkpoint_makes_both_journals_durable(store: MemoryStore) -> None:
    recording = RecordingStore(store)
    vault = open_inline(recording)
    put(vault, b"older", b"journaled")
    assert vault.vault.begin_checkpoint()
    put(vault, b"later", b"journaled")
    vault.fsync()
    log = recording.log
    for cut in crash_states(log, len(log), rng=random.Random(1), limit=16):
        assert names(open_inline(cut)) == {b"older", b"later"}, cut.description
