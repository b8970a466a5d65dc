"""Refuses new passwords that are too short or easily guessed, and says why. Existing ones are never checked.

Guesses are estimated, in bits, as the least of what is known: zxcvbn (Wheeler, USENIX Security 2016) where that
package is installed, and always the estimate here, which takes a password for pieces a guesser would try (common
passwords, words, years, runs of digits, repetitions, sequences, rows of keys) and adds up what each costs to guess.
There are no rules on kinds of characters (NIST SP 800-63B section 5.1.1.2).
"""

import itertools
import math
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from vaultfs.errors import EmptyPassword, WeakPassword
from vaultfs.keys.blocklist import COMMON

SHORTEST = 8
"""Characters a new password must have (NIST SP 800-63B section 5.1.1.2)."""
LONG = 15
"""Characters from which on a password need only not be guessable (SP 800-63B-4 section 3.1.1.2)."""
GUESSABLE_BITS = 28.0
"""What is guessed within hours at 10,000 guesses a second, which takes some thousand machines at the default cost."""
STRONG_BITS = 40.0
"""Years, by the same measure."""
_ZXCVBN_STRONG = 1e10  # the guesses of its best score; it takes 10 for any character, so its numbers are low
_MOST_OF_ZXCVBN = 72  # its time grows with the square of the length, and what follows only adds

_LEET = str.maketrans("0134578@$!+", "oieastbasit")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "1234567890")
_SEQUENCES = ("abcdefghijklmnopqrstuvwxyz", "01234567890123456789", *_ROWS)
_PIECES = re.compile(
    r"(?P<date>(?:19|20)\d\d[-./]?\d\d[-./]?\d\d|\d\d?[-./]\d\d?[-./](?:19|20)?\d\d)|(?P<year>(?:19|20)\d\d)"
    r"|(?P<digits>\d+)|(?P<letters>[^\W\d_]+)|(?P<other>.)",
    re.DOTALL,
)
_MOST_AROUND = 6  # characters around a common word that do not make it less common


class Estimate(NamedTuple):
    """The guesses a password is worth, as a binary logarithm, and what is wrong with it, if one thing is."""

    bits: float
    reason: str


def check_new(password: str, *, weak_ok: bool = False) -> None:
    """Refuse a password that no new key slot should have.

    Raises EmptyPassword; WeakPassword under 8 characters, for a guessable one, and under 15 characters for one that
    is not estimated to be strong. `weak_ok` leaves out the last of these.
    """
    if not password:
        raise EmptyPassword("The password is empty.")
    text = unicodedata.normalize("NFKC", password)
    if len(text) < SHORTEST:
        raise WeakPassword(f"The password is too short: it needs at least {SHORTEST} characters.")
    bits, reason = estimate(text)
    if bits < GUESSABLE_BITS:
        raise WeakPassword(f"The password is easily guessed: {reason or 'it is made of few, common pieces'}.")
    if len(text) < LONG and bits < STRONG_BITS and not weak_ok:
        raise WeakPassword(
            f"The password is not strong for its {len(text)} characters: about 2^{bits:.0f} guesses find it, and 2^"
            f"{STRONG_BITS:.0f} is the least. Make it longer ({LONG} characters or more, `vaultfs passphrase` proposes "
            "one), or give --weak-ok."
        )


def estimate(text: str) -> Estimate:
    """The lowest of the estimates there are for a password in NFKC."""
    found = [_of_whole(text), Estimate(sum(_pieces(text)), "")]
    if (by_zxcvbn := _zxcvbn(text)) is not None:
        found.append(by_zxcvbn)
    lowest = min(each.bits for each in found)
    reasons = [each.reason for each in found if each.reason and each.bits < GUESSABLE_BITS]
    return Estimate(lowest, reasons[0] if reasons else "")


def _of_whole(text: str) -> Estimate:
    """Passwords that are one common thing, dressed up or repeated."""
    lower = text.lower()
    if _is_common(lower):
        return Estimate(12.0, "it is, but for small changes, one of the most common passwords")
    if repeated := re.fullmatch(r"(.+?)\1+", lower, re.DOTALL):
        piece = repeated[1]
        times = math.log2(len(lower) / len(piece))
        return Estimate(min(sum(_pieces(piece)), 8.0 * len(piece)) + times, "it repeats one piece")
    if _is_sequence(lower):
        return Estimate(12.0, "it is a sequence, or a row of keys")
    if len(set(lower)) <= 3:
        return Estimate(len(lower) + 10.0 if len(lower) < 16 else 27.0, "it has very few different characters")
    return Estimate(math.inf, "")


def _is_common(lower: str) -> bool:
    core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", lower)
    if len(lower) - len(core) > _MOST_AROUND:
        core = lower
    candidates = {lower, core, lower.translate(_LEET), core.translate(_LEET)}
    candidates |= {re.sub(r"[\W_]+", "", candidate) for candidate in candidates}
    return not COMMON.isdisjoint(candidates)


def _is_sequence(lower: str) -> bool:
    """Whether three quarters of the neighbours are neighbours in an alphabet, in digits, or on a keyboard, too."""
    pairs = [first + second for first, second in itertools.pairwise(lower)]
    steps = {a + b for row in _SEQUENCES for a, b in itertools.pairwise(row)}
    steps |= {step[::-1] for step in steps}
    return sum(pair in steps or pair[0] == pair[1] for pair in pairs) >= 0.75 * len(pairs)


def _pieces(text: str) -> Iterator[float]:
    """The bits of each piece; one that was there before costs next to nothing."""
    seen: set[str] = set()
    for found in _PIECES.finditer(_without_leet(text)):
        piece = found[0]
        lower = piece.lower()
        match found.lastgroup:
            case "digits":
                cost = _digits(piece)
            case "letters":
                cost = _letters(piece)
            case kind:
                cost = {"date": 15.0, "year": 7.0}.get(str(kind), 4.0)
        yield min(cost, 2.0) if lower in seen else cost
        seen.add(lower)


def _without_leet(text: str) -> str:
    """Digits and signs for letters, inside of words, as the letters they stand for."""
    return re.sub(r"(?<=[^\W\d_])[013457@$!]+(?=[^\W\d_])", lambda match: match[0].translate(_LEET), text)


def _digits(piece: str) -> float:
    return 4.0 if _is_sequence(piece) and len(piece) > 2 else min(3.3 * len(piece), 10.0 + 2.5 * max(len(piece) - 4, 0))


def _letters(piece: str) -> float:
    """A word of a language, several of them run together, or letters that are none."""
    lower = piece.lower()
    variants = (0.0 if piece in (lower, piece.upper()) else 1.0) + (0.0 if piece.isascii() else 2.0)
    if lower in COMMON:
        return 7.0 + variants
    if len(lower) <= 2 or not _is_pronounceable(lower):
        return len(lower) * 4.7 + len(lower) * variants / 4
    word = {3: 10.0, 4: 11.0, 5: 12.0}.get(len(lower), 13.0)
    return min(word + max(len(lower) - 8, 0) * 2.0 + variants, len(lower) * 4.7)


def _is_pronounceable(lower: str) -> bool:
    """Whether a guesser's model of words would come by it soon: vowels in between, no long knots of consonants."""
    plain = "".join(c for c in unicodedata.normalize("NFD", lower) if not unicodedata.combining(c))
    if not plain.isascii():
        return True  # nothing is known of its letters, so nothing is granted
    vowels = sum(letter in "aeiouy" for letter in plain)
    return 0.2 <= vowels / len(plain) <= 0.75 and not re.search(r"[^aeiouy]{5}|[jqxvwzk]{2}|q[^u]", plain)


def _zxcvbn(text: str) -> Estimate | None:
    try:
        from importlib import import_module

        judge = import_module("zxcvbn").zxcvbn
    except ImportError:
        return None
    judged = judge(text[:_MOST_OF_ZXCVBN])
    bits = math.log2(max(float(judged["guesses"]), 1.0)) * STRONG_BITS / math.log2(_ZXCVBN_STRONG)
    warning = str(judged["feedback"]["warning"] or "").rstrip(".")
    return Estimate(bits, warning[:1].lower() + warning[1:])
