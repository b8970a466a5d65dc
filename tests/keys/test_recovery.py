"""Recovery keys and shares as digits: every slip is found, and named by its group."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultfs.errors import KeyMistyped, UsageError
from vaultfs.keys.digitgroups import is_group
from vaultfs.keys.recovery import (
    Share,
    join_shares,
    make_shares,
    new_recovery_key,
    recovery_from_text,
    recovery_groups,
)

SECRET = bytes(range(7, 39))
GROUPS = recovery_groups(SECRET)


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.sampled_from(["", " ", "-", "\n", " : ", ". "]))
def test_round_trip_with_any_separator(secret: bytes, separator: str) -> None:
    groups = recovery_groups(secret)
    assert len(groups) == 16
    assert all(len(group) == 6 and group.isdigit() for group in groups)
    assert recovery_from_text(separator.join(groups)) == secret


def test_the_digits_are_these() -> None:
    """11 · value + position: fixed forever, people have them on paper."""
    assert recovery_groups(bytes(32))[:12] == [f"{n % 11:06d}" for n in range(1, 13)]
    assert recovery_groups(b"\xff" * 32)[0] == f"{11 * 65535 + 1}"


def test_keys_are_random() -> None:
    assert len({new_recovery_key() for _ in range(20)}) == 20


@pytest.mark.parametrize("number", [1, 5, 11, 16])
def test_any_wrong_digit_and_any_swap_is_located(number: int) -> None:
    group = GROUPS[number - 1]
    slips = {group[:at] + digit + group[at + 1 :] for at in range(6) for digit in "0123456789"}
    slips |= {group[:at] + group[at + 1] + group[at] + group[at + 2 :] for at in range(5)}
    for slip in slips - {group}:
        typed = [*GROUPS[: number - 1], slip, *GROUPS[number:]]
        with pytest.raises(KeyMistyped, match=rf"typing error in group {number}\."):
            recovery_from_text(" ".join(typed))


def test_neighbouring_groups_that_change_places_are_located() -> None:
    for at in range(15):
        typed = [*GROUPS[:at], GROUPS[at + 1], GROUPS[at], *GROUPS[at + 2 :]]
        with pytest.raises(KeyMistyped, match=rf"groups {at + 1} and {at + 2}\."):
            recovery_from_text(" ".join(typed))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ".join(GROUPS[:15]), "has 16 groups of 6 digits, but 15 were given"),
        (" ".join([*GROUPS, "000006"]), "but 17 were given"),
        ("", "but 0 were given"),
        (" ".join([*GROUPS[:4], GROUPS[4][:5], *GROUPS[5:]]), "5 digits in group 5, not 6"),
        (" ".join([*GROUPS[:4], GROUPS[4] + "1", *GROUPS[5:]]), "7 digits in group 5, not 6"),
        (" ".join([*GROUPS[:4], "12O456", *GROUPS[5:]]), "something other than digits in group 5"),
        ("correct horse battery", "something other than digits in group 1"),
        (" ".join(["999999", *GROUPS[1:]]), "typing error in group 1"),
    ],
)
def test_other_slips(text: str, said: str) -> None:
    with pytest.raises(KeyMistyped, match=said):
        recovery_from_text(text)


def test_no_group_holds_more_than_two_bytes() -> None:
    assert is_group(f"{11 * 65535 + 1}", 1)
    assert not is_group(f"{11 * 65536 + 1}", 1)


@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (3, 5), (15, 15)])
def test_any_shares_enough_restore_the_secret(threshold: int, count: int) -> None:
    shares = make_shares(SECRET, threshold, count)
    assert [share.number for share in shares] == list(range(1, count + 1))
    typed = [Share.from_text("-".join(share.groups())) for share in shares]
    assert typed == shares
    for chosen in itertools.combinations(typed, threshold):
        assert join_shares(chosen) == SECRET
    assert join_shares(typed[::-1]) == SECRET
    with pytest.raises(KeyMistyped, match=f"{threshold} shares are needed, and {threshold - 1} were given"):
        join_shares(typed[: threshold - 1])


def test_too_few_shares_tell_nothing_of_either_half() -> None:
    first, second, *_ = make_shares(SECRET, 3, 5)
    forged = Share(first.number, 2, first.common, first.value), Share(second.number, 2, second.common, second.value)
    guess = join_shares(forged)
    assert guess[:16] != SECRET[:16]
    assert guess[16:] != SECRET[16:]


def test_shares_that_do_not_fit() -> None:
    one, other = make_shares(SECRET, 2, 3), make_shares(SECRET, 2, 3)
    while other[0].common == one[0].common:
        other = make_shares(SECRET, 2, 3)
    with pytest.raises(KeyMistyped, match="Share 2 and share 1 are not of the same key"):
        join_shares([one[0], other[1]])
    with pytest.raises(KeyMistyped, match="given twice"):
        join_shares([one[0], one[0]])
    with pytest.raises(KeyMistyped, match="17 groups"):
        Share.from_text(" ".join(GROUPS))
    for threshold, count in ((1, 3), (4, 3), (2, 16), (0, 0)):
        with pytest.raises(UsageError, match="such as 3/5"):
            make_shares(SECRET, threshold, count)
