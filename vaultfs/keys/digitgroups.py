"""Random bytes as groups of six digits to be written down, each of which shows a typing error by itself.

Two bytes make one group: the number 11 · value + position, where position is the group's number modulo 11, from 1.
What is left of a group modulo 11 is therefore known, and changes with any one digit, with any two neighbours
swapped, and when groups change places. (BitLocker's recovery passwords are made the same way, without position.)
"""

import re
import unicodedata

from vaultfs.errors import KeyMistyped

GROUP_DIGITS = 6
_MODULUS = 11
_LARGEST = 0xFFFF


def to_groups(data: bytes) -> list[str]:
    """An even number of bytes as groups of six digits, half as many."""
    values = [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]
    return [f"{_MODULUS * value + number % _MODULUS:06d}" for number, value in enumerate(values, 1)]


def from_groups(text: str, count: int, what: str) -> bytes:
    """The bytes behind `count` groups, however they are separated.

    Raises KeyMistyped, which names the groups that are wrong; `what` is the subject of its sentence.
    """
    groups = split_groups(text)
    _check_form(groups, what)
    wrong = [number for number, group in enumerate(groups, 1) if not is_group(group, number)]
    if len(groups) != count and len(wrong) <= 1:
        raise KeyMistyped(f"{what} has {count} groups of {GROUP_DIGITS} digits, but {len(groups)} were given.")
    if wrong:
        raise KeyMistyped(f"{what} has a typing error in {_listed(wrong)}.")
    return b"".join((int(group) // _MODULUS).to_bytes(2) for group in groups)


def split_groups(text: str) -> list[str]:
    """The groups in a text, separated by anything but letters and digits; without separators, by six digits."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).replace("_", " "))
    if all(len(word) % GROUP_DIGITS == 0 for word in words):
        digits = "".join(words)
        return [digits[at : at + GROUP_DIGITS] for at in range(0, len(digits), GROUP_DIGITS)]
    return words


def is_group(group: str, number: int) -> bool:
    """Whether these are six digits that can stand in the place `number`, from 1."""
    if len(group) != GROUP_DIGITS or not (group.isascii() and group.isdigit()):
        return False
    value, left = divmod(int(group), _MODULUS)
    return left == number % _MODULUS and value <= _LARGEST


def _check_form(groups: list[str], what: str) -> None:
    for number, group in enumerate(groups, 1):
        if not (group.isascii() and group.isdigit()):
            raise KeyMistyped(f"{what} has something other than digits in group {number}.")
        if len(group) != GROUP_DIGITS:
            raise KeyMistyped(f"{what} has {len(group)} digits in group {number}, not {GROUP_DIGITS}.")


def _listed(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"group {numbers[0]}"
    return f"groups {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
