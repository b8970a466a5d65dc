"""A 32-byte secret split among several people: Shamir's scheme, by pycryptodome.

pycryptodome shares exactly 16 bytes, over GF(2^128). A 32-byte secret is therefore two halves, each with a random
polynomial of its own; a share is the values of both at the same point. Fewer shares than the threshold tell nothing
of either half, so nothing of the whole.
"""

_HALF = 16


def split_secret(secret: bytes, threshold: int, count: int) -> list[bytes]:
    """`count` shares of a 32-byte secret, 32 bytes each, for the points 1 to `count`; any `threshold` restore it."""
    from Crypto.Protocol.SecretSharing import Shamir

    if len(secret) != 2 * _HALF or not 2 <= threshold <= count:
        raise ValueError("a 32-byte secret is split among 2 or more, of whom at least 2 are needed")
    halves = [Shamir.split(threshold, count, half) for half in (secret[:_HALF], secret[_HALF:])]
    return [first + second for (_, first), (_, second) in zip(*halves, strict=True)]


def join_secret(shares: dict[int, bytes]) -> bytes:
    """The secret, from as many shares as its threshold says, by their points; something else from others."""
    from Crypto.Protocol.SecretSharing import Shamir

    return b"".join(
        Shamir.combine([(point, share[start : start + _HALF]) for point, share in shares.items()])
        for start in (0, _HALF)
    )
