"""What happens when one thing begins before another has ended: syncs, checkpoints, and the kernel's last words."""

import random
import stat

import pytest

from tests.support.crashstore import crash_states
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.support.serving import KEYS
from vaultfs.errors import NotFound
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions, Vault

OLD = b"o" * 65536
NEW = b"n" * 65536


def opened(store):
    return Inline(Vault.open(store, KEYS))


def recorded_vault():
    """A store that records from here on, and the open vault in it."""
    memory = MemoryStore()
    Vault.create(memory, KEYS)
    store = RecordingStore(memory)
    return store, opened(store)


def make_file(vault, name, content):
    inode = vault.create_inode(1, name, stat.S_IFREG | 0o600)
    vault.write(inode.id, 0, content)
    return inode.id


def recovered_contents(store, path):
    """What a file holds in each of the vaults that a power cut right now could leave."""
    for state in crash_states(store.log, len(store.log), rng=random.Random(1)):
        vault = opened(state)
        yield vault.read(vault.walk(path).id, 0, 1 << 20)
        vault.vault.close()


def finish(*syncs):
    for sync in syncs:
        sync.flush_content()
        sync.mark()
        sync.flush_journal()
        sync.done()


@pytest.mark.parametrize("first_of_all", [True, False])
def test_a_sync_answers_only_when_content_another_sync_took_first_is_durable(first_of_all):
    store, vault = recorded_vault()
    inode = make_file(vault, b"file", OLD)
    slow = vault.vault.begin_sync(None if first_of_all else inode)
    finish(vault.vault.begin_sync(inode))
    # The slow one has synced nothing yet: the other's answer was given all the same.
    assert set(recovered_contents(store, b"file")) == {OLD}
    finish(slow)
    vault.vault.close()


def test_a_sync_waits_for_the_content_of_a_replacement_another_sync_took_first():
    store, vault = recorded_vault()
    make_file(vault, b"target", OLD)
    vault.fsync()
    make_file(vault, b"new", NEW)
    vault.rename(1, b"new", 1, b"target")
    other = make_file(vault, b"other", b"small")
    slow = vault.vault.begin_sync(1)
    finish(vault.vault.begin_sync(other))
    # The rename is in the journal that was synced, before what was asked for: it must not hold that up.
    assert set(recovered_contents(store, b"other")) == {b"small"}
    finish(slow)
    vault.vault.close()


@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("linked", [True, False])
def test_a_directory_that_is_renamed_once_it_is_complete_is_complete(over, linked):
    """As a chat app does with a snapshot, and asks for no sync; another program does, for something else."""
    store, vault = recorded_vault()
    snapshot = vault.create_inode(1, b"snapshot-tmp", stat.S_IFDIR | 0o700).id
    below = vault.create_inode(snapshot, b"below", stat.S_IFDIR | 0o700).id
    elsewhere = make_file(vault, b"elsewhere", NEW)
    messages = vault.create_inode(below, b"messages", stat.S_IFREG | 0o600).id
    vault.write(messages, 0, OLD)
    if linked:
        vault.link(messages, 1, b"also")
    if over:
        vault.create_inode(1, b"snapshot", stat.S_IFDIR | 0o700)
    other = make_file(vault, b"other", b"small")
    vault.rename(1, b"snapshot-tmp", 1, b"snapshot")
    vault.fsync(other)
    assert set(recovered_contents(store, b"snapshot/below/messages")) == {OLD}
    # What has nothing to do with it is not waited for.
    assert vault.vault.begin_sync(elsewhere).has_content
    vault.vault.close()


def test_both_of_two_that_exchange_their_names_are_complete():
    store, vault = recorded_vault()
    for name, content in ((b"one", OLD), (b"two", NEW)):
        folder = vault.create_inode(1, name, stat.S_IFDIR | 0o700).id
        vault.write(vault.create_inode(folder, b"file", stat.S_IFREG | 0o600).id, 0, content)
    vault.rename(1, b"one", 1, b"two", 2)
    vault.fsync(make_file(vault, b"other", b"small"))
    assert set(recovered_contents(store, b"one/file")) == {NEW}
    assert set(recovered_contents(store, b"two/file")) == {OLD}
    vault.vault.close()


def test_a_sync_that_failed_for_want_of_room_is_not_taken_for_done_by_the_next():
    store, vault = recorded_vault()
    inode = make_file(vault, b"file", OLD)
    vault.vault.begin_sync(inode)  # whose flush_content failed
    assert vault.vault.begin_sync(inode).needed
    vault.fsync(inode)
    assert set(recovered_contents(store, b"file")) == {OLD}
    vault.vault.close()


def test_a_file_removed_while_a_checkpoint_runs_stays_removed():
    memory = MemoryStore()
    Vault.create(memory, KEYS)
    vault = opened(memory)
    inode = make_file(vault, b"file", OLD)
    vault.vault.remember(inode)
    job = vault.vault.begin_checkpoint()
    assert job is not None
    job.run()
    vault.rename(1, b"file", 1, b"elsewhere")
    vault.unlink(1, b"elsewhere")
    with pytest.raises(NotFound):
        # As the kernel does when it writes an inode's times back after its last name is gone.
        vault.setattr(inode, SetAttr(mtime=1, ctime=1))
    assert job.finish()
    job.clean_up()
    vault.vault.checkpoint()
    assert vault.list_directory(1) == []
    vault.vault.close()
    again = opened(memory)
    assert again.list_directory(1) == []
    again.vault.close()


def test_an_evicted_inode_removed_in_a_frozen_epoch_is_not_read_again():
    memory = MemoryStore()
    Vault.create(memory, KEYS)
    vault = opened(memory)
    inode = make_file(vault, b"file", OLD)
    vault.vault.close()
    vault = Inline(Vault.open(memory, KEYS, OpenOptions(settings=Settings(inode_budget=0))))
    vault.lookup(1, b"file")
    vault.vault.remember(inode)
    vault.vault.evict()
    vault.unlink(1, b"file")
    job = vault.vault.begin_checkpoint()
    assert job is not None
    with pytest.raises(NotFound):
        vault.getattr(inode)
    job.run()
    assert job.finish()
    job.clean_up()
    vault.vault.close()
