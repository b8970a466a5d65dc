"""What every test of the vault is held to: what a buffer held before is nowhere in what it is used for next."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import new_store, small_limits
from vaultfs.vault.scratch import Scratch


@pytest.fixture(autouse=True)
def _used_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each use of a buffer finds other bytes in it than the last one."""
    take = Scratch.take
    numbers = count(1)

    def take_used(self: Scratch, size: int) -> memoryview:
        buffer = take(self, size)
        buffer[:] = bytes([next(numbers) % 255 + 1]) * size
        return buffer

    monkeypatch.setattr(Scratch, "take", take_used)


@pytest.fixture
def with_small_limits() -> Iterator[None]:
    """The format's constants are low, see the harness."""
    with small_limits():
        yield


@pytest.fixture
def store(with_small_limits: None) -> MemoryStore:
    """A store with an empty vault of small chunks."""
    return new_store()
