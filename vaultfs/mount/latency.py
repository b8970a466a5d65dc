"""Tells where the disk should be waited for: right there if it answers quickly, or in a worker thread."""

import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

# A hop to a worker and back costs about 0.1 ms, and more on a busy machine. A disk that answers in not much more
# than that is waited for where the request is; one that has to move a head, or a network, never is. A sync may take a
# little longer: there are fewer of them, and whoever syncs mostly has nothing else to ask until it is done.
QUICK_READ = 0.0004  # seconds
QUICK_SYNC = 0.0015
# As long as only one request is there, nobody but who asked is kept waiting by a somewhat slower read.
QUICK_READ_ALONE = 0.002
_WEIGHT = 0.125

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Latency:
    """A running average of how long waits of one sort take, and whether that is below so many seconds.

    `quick` is the limit, `quick_alone` the one for a request beside which there is no other. The disk counts as slow
    until measured. `clock` gives seconds since any moment.
    """

    def __init__(self, quick: float, quick_alone: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quick = quick
        self._quick_alone = quick_alone
        self._average = 10 * quick_alone

    def is_quick(self, alone: bool) -> bool:
        """Whether to wait on the trio thread."""
        return self._average < (self._quick_alone if alone else self._quick)

    def timed(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call it, and learn from how long that takes. Any thread; of two calls at once one may not count."""
        start = self._clock()
        try:
            return function(*args)
        finally:
            self._average += (self._clock() - start - self._average) * _WEIGHT
