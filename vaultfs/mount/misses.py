"""Tells where a read that missed the page cache should wait: right there if the store is fast, or in a worker."""

import time
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

LARGEST_MEASURED = 128 << 10
"""Bytes; a larger read is worth the hop to a worker in any case, and is decrypted there beside other requests."""

# A hop to a worker and back costs about 0.1 ms, and more on a busy machine. A disk that answers in not much more
# than that is waited for where the request is; one that has to move a head, or a network, never is.
_QUICK = 0.0004  # seconds
_WEIGHT = 0.125

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Misses:
    """A running average of how long reads take that have to wait. The store counts as slow until measured."""

    def __init__(self) -> None:
        self._average = 10 * _QUICK

    @property
    def are_quick(self) -> bool:
        """Whether to wait for such reads on the trio thread."""
        return self._average < _QUICK

    def timed(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Call it, and learn from how long that takes. Any thread; of two calls at once one may not count."""
        start = time.monotonic()
        try:
            return function(*args)
        finally:
            self._average += (time.monotonic() - start - self._average) * _WEIGHT
