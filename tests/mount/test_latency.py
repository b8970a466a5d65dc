"""Where the disk is waited for depends on how long the last few took."""

import time
from collections.abc import Callable

import pytest

from vaultfs.mount.latency import QUICK_READ, QUICK_READ_ALONE, Latency


class Disk:
    """Answers after as many seconds as it is told, of a clock that stands still otherwise."""

    def __init__(self) -> None:
        self.now = 0.0
        self.latency = Latency(QUICK_READ, QUICK_READ_ALONE, lambda: self.now)

    def answer(self, seconds: float) -> float:
        self.now += seconds
        return seconds

    def fail(self, seconds: float) -> None:
        self.now += seconds
        raise OSError

    def measured(self, seconds: float, times: int) -> Callable[[bool], bool]:
        for _ in range(times):
            assert self.latency.timed(self.answer, seconds) == seconds
        return self.latency.is_quick


def test_a_store_counts_as_slow_until_it_was_measured() -> None:
    disk = Disk()
    assert not disk.latency.is_quick(alone=False)
    assert disk.measured(0, 40)(False)


def test_a_slow_store_stays_slow() -> None:
    is_quick = Disk().measured(0.003, 60)
    assert not is_quick(False)
    assert not is_quick(True)


def test_who_is_alone_may_wait_somewhat_longer() -> None:
    is_quick = Disk().measured(0.001, 60)
    assert not is_quick(False)
    assert is_quick(True)


def test_one_long_wait_is_enough_to_wait_elsewhere_and_many_short_ones_bring_it_back() -> None:
    disk = Disk()
    disk.measured(0, 60)
    assert not disk.measured(0.02, 1)(True)
    assert not disk.measured(0, 3)(False)
    assert disk.measured(0, 60)(False)


def test_a_read_that_fails_counts_too() -> None:
    disk = Disk()
    disk.measured(0, 60)
    with pytest.raises(OSError):
        disk.latency.timed(disk.fail, 0.02)
    assert not disk.latency.is_quick(alone=False)


def test_the_clock_is_the_real_one_unless_another_is_given() -> None:
    latency = Latency(QUICK_READ, 0)
    assert latency.is_quick(alone=False)
    latency.timed(time.sleep, 0.02)
    assert not latency.is_quick(alone=False)
