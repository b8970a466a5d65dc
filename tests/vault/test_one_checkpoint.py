"""At most one checkpoint at a time, and none in a vault that turned read-only."""

import stat

import pytest

from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.harness import ROOT, open_inline

LATE = 1e9  # seconds: old enough for any change


def test_no_other_checkpoint_is_wanted_or_begun_until_one_has_cleaned_up(store: MemoryStore) -> None:
    vault = open_inline(store)
    vault.create_inode(ROOT, b"first", stat.S_IFREG | 0o600)
    job = vault.vault.begin_checkpoint()
    assert job is not None
    vault.create_inode(ROOT, b"second", stat.S_IFREG | 0o600)
    vault.vault.wants_checkpoint(0.0)
    for step in (job.run, job.finish, job.clean_up):
        assert not vault.vault.wants_checkpoint(LATE), f"before {step.__name__}"
        assert vault.vault.begin_checkpoint() is None, f"before {step.__name__}"
        step()
    vault.vault.wants_checkpoint(0.0)
    assert vault.vault.wants_checkpoint(LATE)
    assert vault.vault.checkpoint()


@pytest.mark.expects_log("something is wrong")
def test_a_vault_that_turned_read_only_wants_and_begins_none(store: MemoryStore) -> None:
    recording = RecordingStore(store)
    vault = open_inline(recording)
    vault.create_inode(ROOT, b"waits", stat.S_IFREG | 0o600)
    vault.vault.wants_checkpoint(0.0)
    assert vault.vault.wants_checkpoint(LATE)
    before = len(recording.log.operations)
    vault.vault.give_up("something is wrong")
    assert not vault.vault.wants_checkpoint(LATE)
    assert vault.vault.begin_checkpoint() is None
    assert not vault.vault.checkpoint()
    assert len(recording.log.operations) == before
