"""How long a change may wait for a checkpoint: counted from the change, not from the checkpoint before it."""

import stat
from dataclasses import replace

from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, ROOT, TINY
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import OpenOptions, Vault

AGE = 5.0


def test_the_first_change_after_a_pause_waits_like_any_other() -> None:
    """Each burst of work after a pause began with a checkpoint of its first change, beside the rest of it."""
    store = MemoryStore()
    Vault.create(store, KEYS)
    vault = Inline(Vault.open(store, KEYS, OpenOptions(settings=replace(TINY, checkpoint_age=AGE))))
    assert not vault.vault.wants_checkpoint(1000.0)
    for number, begin in enumerate((2000.0, 3000.0)):
        vault.create_inode(ROOT, b"note %d" % number, stat.S_IFREG | 0o644)
        assert not vault.vault.wants_checkpoint(begin)
        vault.create_inode(ROOT, b"more %d" % number, stat.S_IFREG | 0o644)
        assert not vault.vault.wants_checkpoint(begin + AGE - 0.1)
        assert vault.vault.wants_checkpoint(begin + AGE)
        assert vault.vault.checkpoint()
        assert not vault.vault.wants_checkpoint(begin + 2 * AGE)
    vault.vault.close()
