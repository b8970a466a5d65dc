"""Sets Python's collector of cycles for a process that keeps inodes by the ten thousands."""

import gc

# Allocations between collections of the youngest generation, and how many of those the older ones wait for.
_THRESHOLDS = (50_000, 20, 50)


def collect_rarely() -> None:
    """Look for cycles seldom, and never in what there is by now.

    Inodes and entries form none: looking for some as often as Python does costs a fifth of a checkpoint, and a
    twentieth of an import.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
