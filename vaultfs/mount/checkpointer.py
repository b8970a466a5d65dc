"""Decides when a checkpoint runs, and runs it beside the requests."""

import logging
import time

import trio

from vaultfs.mount.allocator import give_back_freed_memory
from vaultfs.mount.workers import Workers
from vaultfs.vault.checkpointing import CheckpointJob
from vaultfs.vault.vault import Vault

_log = logging.getLogger("vaultfs.mount")

_TICK = 0.25  # seconds between looks while there is something to commit
_LONGEST_WAIT = 10.0  # seconds until what was changed is committed although the vault has not asked
_PAUSE = 1.0  # seconds between two checkpoints that nobody waits for
_RETRY = 0.05  # seconds, when a checkpoint is needed and there is none to run


class Checkpointer:
    """One per mount. `watch` is its trio task; it sleeps without waking while nothing changes."""

    def __init__(self, vault: Vault, workers: Workers) -> None:
        self._vault = vault
        self._workers = workers
        self._changed = trio.Event()
        self._running: trio.Event | None = None
        self._cleaning: trio.Event | None = None

    def poke(self) -> None:
        """Something changed."""
        self._changed.set()

    async def watch(self) -> None:
        """Checkpoint when the vault wants one, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await self._until_wanted()
            try:
                await self.checkpoint()
                self._vault.evict()
            except Exception:
                _log.exception("the checkpoint failed")
            if not self._vault.has_changes:
                await self._workers.run(give_back_freed_memory)
            if self._vault.wants_checkpoint(time.monotonic()):  # it failed, or a lot was written meanwhile
                self.poke()
                await trio.sleep(_PAUSE)

    async def checkpoint(self) -> bool:
        """Return when a checkpoint has ended: the running one, or else a new one. The vault keeps what failed.

        False if there was none: the last one was still cleaning up, which has ended then, or there is no room.
        """
        if self._running is not None:
            await self._running.wait()
            return True
        job = self._vault.begin_checkpoint()
        if job is None:
            await (trio.sleep(_RETRY) if self._cleaning is None else self._cleaning.wait())
            return False
        with trio.CancelScope(shield=True):
            if await self._finish(job):
                await self._clean_up(job)
        return True

    async def _finish(self, job: CheckpointJob) -> bool:
        """Let those go on who wait, whatever comes of it; True if the checkpoint is durable."""
        ended = self._running = trio.Event()
        try:
            await self._workers.run(job.run)
            return job.finish()
        finally:
            self._running = None
            ended.set()

    async def _clean_up(self, job: CheckpointJob) -> None:
        ended = self._cleaning = trio.Event()
        try:
            await self._workers.run(job.clean_up)
        finally:
            self._cleaning = None
            ended.set()

    async def _until_wanted(self) -> None:
        latest = time.monotonic() + _LONGEST_WAIT
        while (now := time.monotonic()) < latest and self._vault.has_changes and not self._vault.wants_checkpoint(now):
            await trio.sleep(_TICK)
