"""Runs vault operations on the trio thread, and gets what they miss in worker threads."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.latency import QUICK_READ, QUICK_READ_ALONE, QUICK_SYNC, Latency
from vaultfs.mount.workers import Workers
from vaultfs.vault.waits import NeedCheckpoint, NotReady

# Bytes. A larger read is worth the hop to a worker in any case, and is decrypted there beside other requests; a sync
# of more takes longer than the small ones that tell how quick the disk is.
_LARGEST_READ = 128 << 10
_LARGEST_SYNC = 256 << 10

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Runner:
    """An operation that raises NotReady has changed nothing: it is run again, whole, once what it needs is there."""

    def __init__(self, workers: Workers, checkpointer: Checkpointer) -> None:
        self.workers = workers
        self._reads = Latency(QUICK_READ, QUICK_READ_ALONE)
        self._syncs = Latency(QUICK_SYNC, QUICK_SYNC)
        self.checkpointer = checkpointer
        # Tells whether the request that is answered is the only one.
        self.is_alone: Callable[[], bool] = lambda: False

    async def run(self, operation: Callable[[*Ts], T], *args: *Ts) -> T:
        """The operation's result; does not yield to trio when everything is in memory."""
        while True:
            try:
                return operation(*args)
            except NotReady as missing:
                await self.provide(missing)

    async def change(self, operation: Callable[[*Ts], T], *args: *Ts) -> T:
        """Like `run`, for an operation that leaves something for the next checkpoint."""
        result = await self.run(operation, *args)
        self.checkpointer.poke()
        return result

    async def provide(self, missing: NotReady) -> None:
        """Have at hand what an operation missed."""
        if isinstance(missing, NeedCheckpoint):
            await self.checkpointer.checkpoint()
            return
        # Once begun this is finished (`Workers.run`): what was read must be installed, or it was for nothing.
        await self.wait(missing.size, missing.prepare)
        missing.install()
        self.checkpointer.poke()  # which also drops what is over the memory budget

    async def wait(self, size: int | None, reading: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call what reads about `size` bytes from the store, where waiting for it does the least harm."""
        return await self._wait(self._reads, size is not None and size <= _LARGEST_READ, reading, *args)

    async def sync(self, size: int, syncing: Callable[[], None]) -> None:
        """Call what makes about `size` bytes of one file durable, likewise."""
        await self._wait(self._syncs, size <= _LARGEST_SYNC, syncing)

    async def _wait(self, latency: Latency, small: bool, function: Callable[[*Ts], T], *args: *Ts) -> T:
        if not small:
            return await self.workers.run(function, *args)
        if latency.is_quick(self.is_alone()):
            return latency.timed(function, *args)
        return await self.workers.run(latency.timed, function, *args)
