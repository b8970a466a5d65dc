"""Where the disk is waited for depends on how long the last few took."""

import time

import pytest

from vaultfs.mount.latency import QUICK_READ, QUICK_READ_ALONE, Latency


def reads() -> Latency:
    return Latency(QUICK_READ, QUICK_READ_ALONE)


def answer(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def measured(latency: Latency, seconds: float, times: int) -> Latency:
    for _ in range(times):
        assert latency.timed(answer, seconds) == seconds
    return latency


def test_a_store_counts_as_slow_until_it_was_measured() -> None:
    latency = reads()
    assert not latency.is_quick(alone=False)
    assert measured(latency, 0, 40).is_quick(alone=False)


def test_a_slow_store_stays_slow() -> None:
    latency = measured(reads(), 0.003, 60)
    assert not latency.is_quick(alone=False)
    assert not latency.is_quick(alone=True)


def test_who_is_alone_may_wait_somewhat_longer() -> None:
    latency = measured(reads(), 0.001, 60)
    assert not latency.is_quick(alone=False)
    assert latency.is_quick(alone=True)


def test_one_long_wait_is_enough_to_wait_elsewhere_and_many_short_ones_bring_it_back() -> None:
    latency = measured(reads(), 0, 60)
    assert not measured(latency, 0.02, 1).is_quick(alone=True)
    assert not measured(latency, 0, 3).is_quick(alone=False)
    assert measured(latency, 0, 60).is_quick(alone=False)


def test_a_read_that_fails_counts_too() -> None:
    latency = measured(reads(), 0, 60)

    def fail() -> None:
        time.sleep(0.02)
        raise OSError

    with pytest.raises(OSError):
        latency.timed(fail)
    assert not latency.is_quick(alone=False)
