"""Where a read that missed the page cache waits depends on how long the last few took."""

import time

import pytest

from vaultfs.mount.misses import Misses


def answer(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def measured(misses: Misses, seconds: float, times: int) -> Misses:
    for _ in range(times):
        assert misses.timed(answer, seconds) == seconds
    return misses


def test_a_store_counts_as_slow_until_it_was_measured() -> None:
    misses = Misses()
    assert not misses.are_quick
    assert measured(misses, 0, 40).are_quick


def test_a_slow_store_stays_slow() -> None:
    assert not measured(Misses(), 0.002, 40).are_quick


def test_one_long_wait_is_enough_to_wait_elsewhere_and_many_short_ones_bring_it_back() -> None:
    misses = measured(Misses(), 0, 60)
    assert not measured(misses, 0.02, 1).are_quick
    assert not measured(misses, 0, 3).are_quick
    assert measured(misses, 0, 60).are_quick


def test_a_read_that_fails_counts_too() -> None:
    misses = measured(Misses(), 0, 60)

    def fail() -> None:
        time.sleep(0.02)
        raise OSError

    with pytest.raises(OSError):
        misses.timed(fail)
    assert not misses.are_quick
