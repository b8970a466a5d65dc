"""Runs vault operations on the trio thread, and gets what they miss in worker threads."""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.workers import Workers
from vaultfs.vault.waits import NeedCheckpoint, NotReady

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Runner:
    """An operation that raises NotReady has changed nothing: it is run again, whole, once what it needs is there."""

    def __init__(self, workers: Workers, checkpointer: Checkpointer) -> None:
        self.workers = workers
        self._checkpointer = checkpointer

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
        self._checkpointer.poke()
        return result

    async def _provide(self, missing: NotReady) -> None:
        if isinstance(missing, NeedCheckpoint):
            await self._checkpointer.checkpoint()
        else:
            await self.workers.provide(missing)
            self._checkpointer.poke()  # which also drops what is over the memory budget
