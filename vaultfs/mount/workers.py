"""The worker threads of a mount: where blocking reads, syncs and checkpoints run."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

import trio
from trio.lowlevel import Abort, Task, TrioToken

_log = logging.getLogger("vaultfs.mount")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Job:
    """One call, the task that waits for it, if any does, and what came of it."""

    __slots__ = ("args", "error", "function", "result", "task")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], task: Task | None) -> None:
        self.function = function
        self.args = args
        self.task = task
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result = self.function(*self.args)
        except BaseException as error:
            self.error = error


class Workers:
    """At most `most` threads, which start when needed and end with `close`; all of it is used from one trio run.

    A hop there and back takes less than half of what `trio.to_thread.run_sync` does, which names its thread,
    copies the context and keeps a limiter for each call: many requests are not much longer than that.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Calls that have ended while their tasks do not know it yet.
        self._ended: deque[_Job] = deque()
        self._unfinished = 0
        self._threads = 0

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call it in a worker thread. Once begun, the call is waited for: it cannot be cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        job = _Job(function, args, trio.lowlevel.current_task())
        self._unfinished += 1
        if self._threads < min(self._unfinished, self._most):
            self._start()
        self._jobs.put(job)
        await trio.lowlevel.wait_task_rescheduled(_go_on_waiting)
        self._unfinished -= 1
        self._ended.popleft()  # not necessarily this one: only how many there are matters
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def start(self, function: Callable[[], object]) -> None:
        """Call it in a worker thread, some time: nobody waits for it. Only the log tells what it raises but OSError."""
        if self._threads < self._most:
            self._start()
        self._jobs.put(_Job(function, (), None))

    @property
    def have_ended_some(self) -> bool:
        """Whether a task could go on, if trio came to it."""
        return bool(self._ended)

    def close(self) -> None:
        """Let the threads end; nothing may be run any more."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start(self) -> None:
        self._threads += 1
        token = trio.lowlevel.current_trio_token()
        args = self._jobs, self._ended, token
        threading.Thread(target=_work, args=args, name=f"worker {self._threads}", daemon=True).start()


def _work(jobs: "SimpleQueue[_Job | None]", ended: "deque[_Job]", token: TrioToken) -> None:
    while (job := jobs.get()) is not None:
        job.run()
        if job.task is not None:
            ended.append(job)
            token.run_sync_soon(trio.lowlevel.reschedule, job.task)
        elif job.error is not None and not isinstance(job.error, OSError):
            _log.error("a job that nobody waits for failed", exc_info=job.error)


def _go_on_waiting(_: object) -> Abort:
    return Abort.FAILED
