"""Runs checkpoints in a thread of their own, for a command that goes on changing the vault meanwhile."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from vaultfs.vault.checkpointing import CheckpointJob
from vaultfs.vault.vault import Vault


class CheckpointsBeside:
    """A context for the thread that owns the vault; at its end no checkpoint is under way.

    Nothing may interrupt that thread in here (`cli/interrupts.py`): a step that nobody ends would stay under way. To
    enter raises RuntimeError if there is no thread to be had. Nothing else raises what became of a checkpoint: what one
    could not commit is kept for the next, and the vault turns read-only if it has to, as with `Vault.checkpoint`.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="vaultfs-checkpoint")
        self._job: CheckpointJob | None = None
        # The step of the job that is done in the thread: `run`, or `clean_up` once it was finished.
        self._step: Future[None] | None = None

    def __enter__(self) -> Self:
        # Where there is no thread to be had, nothing has begun that would wait for one.
        self._pool.submit(bool).result()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._wait()
        finally:
            self._pool.shutdown()

    def keep_up(self) -> None:
        """Call it between changes: begins a checkpoint that is wanted and ends one that is done; waits for neither."""
        if self._step is not None:
            if self._step.done():
                self._go_on()
        elif self._vault.wants_checkpoint(time.monotonic()) and (job := self._vault.begin_checkpoint()) is not None:
            self._job, self._step = job, self._pool.submit(job.run)

    def checkpoint(self) -> None:
        """Wait for the checkpoint that is under way; if there is none, do one here and now."""
        if self._step is None:
            self._vault.checkpoint()
        self._wait()

    def _wait(self) -> None:
        while self._step is not None:
            self._step.result()
            self._go_on()

    def _go_on(self) -> None:
        """Do what the owner has to, and begin what is left for the thread."""
        job, self._job, self._step = self._job, None, None
        if job is not None and job.finish():
            self._step = self._pool.submit(job.clean_up)
