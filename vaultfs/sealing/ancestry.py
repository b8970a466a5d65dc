"""Which of the roots before it a root tells of, and whether two roots went different ways from a common one.

All of them would be too many. The newest are kept, and of those before ever fewer, at generations that everybody keeps:
so two ways that a vault went are told apart if one is at most 64 generations ahead, or 16 times as many as the shorter
one has of its own.
"""

from collections.abc import Iterable

from vaultfs.format.constants import HISTORY_LENGTH, HISTORY_NEWEST, HISTORY_STEPS

Past = tuple[int, bytes]
"""A root's generation and authentication tag."""

_EACH = (HISTORY_LENGTH - HISTORY_NEWEST) // len(HISTORY_STEPS)


def followed(history: tuple[Past, ...], generation: int, tag: bytes) -> tuple[Past, ...]:
    """The history of the root that follows one with this history, generation and tag; oldest first."""
    everyone = (*history, (generation, tag))
    newest, before = everyone[-HISTORY_NEWEST:], everyone[:-HISTORY_NEWEST]
    kept: set[Past] = set()
    for step in HISTORY_STEPS:
        kept.update([past for past in before if past[0] % step == 0][-_EACH:])
    return (*sorted(kept), *newest)


def are_parted(one: Iterable[Past], other: Iterable[Past]) -> bool:
    """Whether two roots, given as themselves and what they tell of, have different ones of some generation."""
    known = dict(one)
    return any(known.get(generation, tag) != tag for generation, tag in other)
