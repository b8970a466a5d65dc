"""The worker threads of a mount: where blocking reads, syncs and checkpoints run."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from vaultfs.vault.waits import NotReady

_THREADS = 16

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Workers:
    """A bounded pool of its own, so that slow storage cannot use up trio's default one."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_THREADS)

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call it in a worker thread; about 90 µs more than a plain call."""
        return await trio.to_thread.run_sync(function, *args, limiter=self._limiter)

    async def provide(self, missing: NotReady) -> None:
        """Get what an operation missed into memory. Raises what that ran into."""
        # Once begun it is finished: what a worker prepared must be installed, or it was for nothing.
        with trio.CancelScope(shield=True):
            await self.run(missing.prepare)
            missing.install()
