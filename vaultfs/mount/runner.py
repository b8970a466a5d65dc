"""Runs vault operations on the trio thread, and gets what they miss in worker threads."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.misses import LARGEST_MEASURED, Misses
from vaultfs.mount.workers import Workers
from vaultfs.vault.waits import NeedCheckpoint, NotReady

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Runner:
    """An operation that raises NotReady has changed nothing: it is run again, whole, once what it needs is there."""

    def __init__(self, workers: Workers, checkpointer: Checkpointer) -> None:
        self.workers = workers
        self.misses = Misses()
        self.checkpointer = checkpointer

    async def run(self, operation: Callable[[*Ts], T], *args: *Ts) -> T:
        """The operation's result; does not yield to trio when everything is in memory."""
        while True:
            try:
                return operation(*args)
            except NotReady as missing:
                await self._provide(missing)

    async def change(self, operation: Callable[[*Ts], T], *args: *Ts) -> T:
        """Like `run`, for an operation that leaves something for the next checkpoint."""
        result = await self.run(operation, *args)
        self.checkpointer.poke()
        return result

    async def _provide(self, missing: NotReady) -> None:
        if isinstance(missing, NeedCheckpoint):
            await self.checkpointer.checkpoint()
            return
        # Once begun it is finished: what was read must be installed, or it was for nothing.
        with trio.CancelScope(shield=True):
            await self.wait(missing.size, missing.prepare)
            missing.install()
        self.checkpointer.poke()  # which also drops what is over the memory budget

    async def wait(self, size: int | None, reading: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call what reads about `size` bytes from the store, where waiting for it does the least harm."""
        if size is None or size > LARGEST_MEASURED:
            return await self.workers.run(reading, *args)
        if self.misses.are_quick:
            return self.misses.timed(reading, *args)
        return await self.workers.run(self.misses.timed, reading, *args)
