"""What roots tell of those before them: little, and enough to tell two ways a vault went apart."""

import pytest

from vaultfs.format.constants import HISTORY_LENGTH, HISTORY_NEWEST, HISTORY_STEPS
from vaultfs.sealing.ancestry import Past, are_parted, followed


def tag(way: str, generation: int) -> bytes:
    return f"{way} {generation}".encode().rjust(16)


def grown(known: tuple[Past, ...], way: str, generations: int) -> tuple[Past, ...]:
    """What the root after so many more generations knows, itself the last."""
    for _ in range(generations):
        generation = known[-1][0] + 1
        known = (*followed(known[:-1], *known[-1]), (generation, tag(way, generation)))
    return known


BASE = grown(((1, tag("base", 1)),), "base", 999)


def test_the_newest_and_ever_fewer_of_those_before() -> None:
    known = grown(BASE, "base", 100_000)
    assert len(known) <= HISTORY_LENGTH + 1
    assert list(known) == sorted(known)
    assert len(set(known)) == len(known)
    generations = [generation for generation, _ in known]
    assert generations[-HISTORY_NEWEST - 1 :] == list(range(generations[-1] - HISTORY_NEWEST, generations[-1] + 1))
    for step in HISTORY_STEPS:
        last = (generations[-1] - HISTORY_NEWEST - 1) // step * step
        assert set(range(last - 9 * step, last + 1, step)) <= set(generations), step
    assert all(each == tag("base", generation) for generation, each in known)


def test_a_history_from_before_is_thinned_out() -> None:
    """Vaults made until now have the newest 64."""
    dense = tuple((generation, tag("base", generation)) for generation in range(937, 1001))
    assert set(grown((*dense[:-1], dense[-1]), "base", 5)) <= set(grown(BASE, "base", 5)) | set(dense)
    assert len(grown(dense, "base", 5)) <= HISTORY_LENGTH + 1


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 20), (8, 80), (60, 600), (64, 640), (512, 5000), (30, 10)])
def test_two_ways_from_one_root_are_told_apart(ours: int, theirs: int) -> None:
    one, other = grown(BASE, "ours", ours), grown(BASE, "theirs", theirs)
    assert are_parted(one, other)
    assert are_parted(other, one)


@pytest.mark.parametrize("ahead", [0, 1, 23, 24, 25, 100, 5000])
def test_a_root_that_came_later_went_no_other_way(ahead: int) -> None:
    assert not are_parted(BASE, grown(BASE, "base", ahead))
    assert not are_parted(grown(BASE, "base", ahead), BASE)
