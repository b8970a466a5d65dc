"""Settles the store of a mounted vault: commits everything, so that what is in the store needs no journal.

It is asked for through the mount itself, by setting the attribute `SETTLE` of its top directory: whoever may write
there may ask, nothing has to be found out about the process that serves it, and the answer comes when it is done.
"""

import errno
import os

import pyfuse3

from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.syncing import Syncer
from vaultfs.mount.system import sync_filesystem
from vaultfs.vault.vault import Vault

SETTLE = b"user.vaultfs.settle"

_ROUNDS = 40  # checkpoints until it is clear that a program never stops writing


class Settler:
    """One per mount."""

    def __init__(self, vault: Vault, checkpointer: Checkpointer, syncer: Syncer) -> None:
        self._vault = vault
        self._checkpointer = checkpointer
        self._syncer = syncer

    async def settle(self) -> None:
        """Return when the store is clean. Raises WriteFailed, ReadOnly; FUSEError(EBUSY) if it never gets there."""
        for _ in range(_ROUNDS):
            if self._syncer.is_idle and self._vault.settle():
                return
            await self._checkpointer.checkpoint()
        raise pyfuse3.FUSEError(errno.EBUSY)


def settle(mountpoint: str) -> None:
    """Have the vault that is mounted at an absolute path settled. Raises OSError (EBUSY if it is written to)."""
    sync_filesystem(mountpoint)
    os.setxattr(mountpoint, SETTLE, b"")
