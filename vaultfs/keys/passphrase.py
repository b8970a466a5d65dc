"""Proposes passphrases: random words, drawn by the kernel's generator."""

import math

from vaultfs.crypto.aead import random_bytes
from vaultfs.keys.words import WORDS

FEWEST, MOST = 4, 24


def make_passphrase(count: int = 6) -> str:
    """`count` words of 2,048, separated by spaces: 11 bits each."""
    # 2,048 divides 65,536: every word is equally likely.
    return " ".join(WORDS[int.from_bytes(random_bytes(2)) % len(WORDS)] for _ in range(count))


def passphrase_bits(count: int) -> int:
    """The guesses a passphrase of `count` words is worth, as a binary logarithm."""
    return round(count * math.log2(len(WORDS)))
