"""fsync: the steps of a sync in their order, the journal flushed once for all who wait for it."""

import trio

from vaultfs.mount.runner import Runner
from vaultfs.vault.syncing import SyncPlan
from vaultfs.vault.vault import Vault


class _Round:
    """One flush of the journal, and those who wait for it."""

    def __init__(self) -> None:
        self.plan: SyncPlan | None = None
        self.flushed = False
        self.error: Exception | None = None


class Syncer:
    """Group commit: a sync marked while a flush runs shares the next one with all the others marked until then."""

    def __init__(self, vault: Vault, runner: Runner) -> None:
        self._vault = vault
        self._runner = runner
        self._flushing = trio.Lock()
        self._next = _Round()
        self._under_way = 0

    @property
    def is_idle(self) -> bool:
        """Whether no sync is under way."""
        return self._under_way == 0

    async def sync(self, inode: int | None) -> None:
        """Make an inode's content and metadata durable; None: everything."""
        self._under_way += 1
        try:
            await self._sync(inode)
        finally:
            self._under_way -= 1

    async def _sync(self, inode: int | None) -> None:
        plan = await self._runner.run(self._vault.begin_sync, inode)
        if not plan.needed:
            return
        if plan.has_content:
            await self._runner.workers.run(plan.flush_content)
        plan.mark()
        await self._flush(plan)
        plan.done()

    async def _flush(self, plan: SyncPlan) -> None:
        joined = self._next
        joined.plan = plan  # the newest one: its journal holds, or comes after, what the others marked
        # To take the free lock the plain way passes through trio's scheduler: a sixth of a sync on a quick disk.
        if self._flushing.locked():
            await self._flushing.acquire()
        else:
            self._flushing.acquire_nowait()
        try:
            if not joined.flushed:
                self._next = _Round()
                await self._run(joined)
        finally:
            self._flushing.release()
        if joined.error is not None:
            raise joined.error

    async def _run(self, joined: _Round) -> None:
        assert joined.plan is not None
        joined.flushed = True
        try:
            await self._runner.sync(joined.plan.journal_size, joined.plan.flush_journal)
        except Exception as error:
            joined.error = error
