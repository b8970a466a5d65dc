"""Shamir's scheme on 32 bytes: against Lagrange interpolation written out here."""

import pytest

from vaultfs.crypto.sharing import join_secret, split_secret

SECRET = bytes(range(32))
_POLYNOMIAL = 1 << 128 | 1 << 7 | 1 << 2 | 1 << 1 | 1


def times(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a >> 128:
            a ^= _POLYNOMIAL
        b >>= 1
    return product


def inverse(a: int) -> int:
    result, power = 1, a
    for _ in range(127):
        power = times(power, power)
        result = times(result, power)
    return result


def interpolated(points: dict[int, bytes]) -> bytes:
    """The value at 0 of the polynomial over GF(2^128) through these points, for each half."""
    halves = b""
    for start in (0, 16):
        value = 0
        for x, share in points.items():
            term = int.from_bytes(share[start : start + 16])
            for other in points:
                if other != x:
                    term = times(times(term, other), inverse(other ^ x))
            value ^= term
        halves += value.to_bytes(16)
    return halves


def test_shares_are_points_of_a_polynomial() -> None:
    shares = dict(enumerate(split_secret(SECRET, 3, 5), 1))
    for chosen in ((1, 2, 3), (5, 3, 1), (2, 4, 5)):
        points = {number: shares[number] for number in chosen}
        assert join_secret(points) == interpolated(points) == SECRET
    assert join_secret({1: shares[1], 2: shares[2]}) != SECRET


def test_halves_have_polynomials_of_their_own() -> None:
    for share in split_secret(bytes(32), 2, 3):
        assert share[:16] != share[16:]


@pytest.mark.parametrize(("size", "threshold", "count"), [(16, 2, 3), (32, 1, 3), (32, 4, 3)])
def test_odd_numbers_are_refused(size: int, threshold: int, count: int) -> None:
    with pytest.raises(ValueError, match="32-byte secret"):
        split_secret(bytes(size), threshold, count)
