"""Each limit counts by itself: whatever there is too much of, a checkpoint is wanted, and at last waited for."""

import stat
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, TINY, open_inline, options, put_file
from vaultfs.vault.inline import Inline
from vaultfs.vault.waits import NeedCheckpoint, resolve

LARGE = 1 << 40
NO_LIMITS = replace(
    TINY,
    journal_soft=LARGE, journal_hard=LARGE, overlay_soft=LARGE, overlay_hard=LARGE, direct_soft=LARGE,
    direct_hard=LARGE, inodes_soft=LARGE, inodes_hard=LARGE, unsynced_soft=LARGE, unsynced_hard=LARGE,
)  # fmt: skip
CHUNK = 1024
# Changes that add to what the limit counts, and to little else.
CHANGES: dict[str, Callable[[Inline, int, int], object]] = {
    "journal": lambda vault, file, _: vault.vault.setxattr(file, b"user.a", b"v" * 200),
    "overlay": lambda vault, file, number: vault.vault.write(file, number * CHUNK, b"part of a chunk" * 20),
    "direct": lambda vault, file, number: vault.vault.write(file, number % 3 * CHUNK, b"c" * CHUNK),
    "inodes": lambda vault, _, number: vault.vault.create_inode(ROOT, b"%d" % number, stat.S_IFREG | 0o600, 0, 0),
    "unsynced": lambda vault, file, number: vault.vault.write(file, number * 4 * CHUNK, b"c" * CHUNK),
}
LIMITS = {"journal": 8000, "overlay": 9000, "direct": 20 * CHUNK, "inodes": 20, "unsynced": 6}


@pytest.mark.parametrize("what", CHANGES)
def test_each_limit_counts_by_itself(store: MemoryStore, what: str) -> None:
    limit = LIMITS[what]
    settings = replace(NO_LIMITS, **{f"{what}_soft": limit // 2, f"{what}_hard": limit})
    vault = open_inline(store, options(settings=settings))
    file = put_file(vault, b"file", b"c" * CHUNK)
    wanted = False
    for number in range(200):
        try:
            resolve(lambda number=number: CHANGES[what](vault, file, number))  # type: ignore[misc]
        except NeedCheckpoint:
            break
        wanted |= vault.vault.wants_checkpoint(0.0)
    else:
        raise AssertionError("nothing ever waits for a checkpoint")
    assert wanted and number > 2, "it is waited for before it is wanted"
    assert vault.vault.checkpoint()
    resolve(lambda: CHANGES[what](vault, file, 199))


@pytest.mark.parametrize("what", CHANGES)
def test_nothing_waits_below_the_limits(store: MemoryStore, what: str) -> None:
    vault = open_inline(store, options(settings=NO_LIMITS))
    file = put_file(vault, b"file", b"c" * CHUNK)
    for number in range(60):
        resolve(lambda number=number: CHANGES[what](vault, file, number))  # type: ignore[misc]
    assert not vault.vault.wants_checkpoint(0.0)
