"""Settles the store of a mounted vault: commits everything, so that what is in the store needs no journal.

It is asked for through the mount itself (`asking.settle`): whoever may write there may ask, nothing has to be found
out about the process that serves it, and the answer comes when it is done.
"""

import errno
import time

import pyfuse3

from vaultfs.errors import NoSpace
from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.syncing import Syncer
from vaultfs.vault.vault import Vault

_ROUNDS = 40  # checkpoints until it is clear that a program never stops writing
_LONGEST = 120.0  # seconds, whatever there is to wait for


class Settler:
    """One per mount."""

    def __init__(self, vault: Vault, checkpointer: Checkpointer, syncer: Syncer) -> None:
        self._vault = vault
        self._checkpointer = checkpointer
        self._syncer = syncer

    async def settle(self) -> None:
        """Return when the store is clean.

        Raises WriteFailed, ReadOnly, NoSpace; FUSEError(EBUSY) if it never gets there.
        """
        rounds, latest = 0, time.monotonic() + _LONGEST
        while rounds < _ROUNDS and time.monotonic() < latest:
            if self._syncer.is_idle and self._vault.settle():
                return
            rounds += await self._checkpointer.checkpoint()
            if self._vault.is_full:
                raise NoSpace("the store has no room to write what waits")
        raise pyfuse3.FUSEError(errno.EBUSY)
