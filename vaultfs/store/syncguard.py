"""Keeps the failure of a sync, so that no later one makes it good.

The kernel reports it once, may throw away what it could not write, and reports success for what is left (fsync(2)).
"""

from collections.abc import Callable
from threading import Lock


class SyncGuard:
    """For the syncs of one file or folder: one at a time, and an OSError now means OSError for ever.

    Of two that wait on the same descriptor at once the kernel tells only one of a failure.
    """

    __slots__ = ("_failure", "_lock", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._failure: tuple[int | None, str | None] | None = None
        self._lock = Lock()

    def run(self, sync: Callable[[], None]) -> None:
        """Call what syncs, alone; raises its OSError, or that of an earlier call."""
        with self._lock:
            if self._failure is not None:
                raise OSError(*self._failure, self._path)
            try:
                sync()
            except OSError as error:
                self._failure = (error.errno, error.strerror)
                raise
