"""Whatever instant the power fails at, what was synced is there in full, and the rest is old or new, never garbage."""

import logging
import random
import time
from collections.abc import Iterator
from itertools import permutations

import pytest

from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.crashing import STEPS, Cutter, Workload, prepared_store, random_operations, run_workload, spelled
from tests.vault.harness import nothing_loaded_late, small_limits

SECONDS = 10
"""How long each of the random tests goes on; `scripts/crash` is for longer."""


@pytest.fixture(autouse=True)
def _small_limits(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    # What recovery has to leave out is a warning to the user, and here the point.
    caplog.set_level(logging.ERROR, "vaultfs.recovery")
    with small_limits(), nothing_loaded_late():
        yield


@pytest.fixture(scope="module")
def template() -> MemoryStore:
    with small_limits():
        return prepared_store()


@pytest.mark.parametrize(
    "words",
    [
        ("create", "write new", "fsync new", "checkpoint"),
        ("save", "fsync"),
        ("save", "sync", "kill"),
        ("create", "write new", "replace", "sync"),
        ("overwrite", "fsync", "patch", "cut", "append", "fsync"),
        ("big", "run", "big", "fsync", "finish", "kill"),
        ("empty", "run", "big", "sync", "finish"),
        ("cut", "run", "append", "fsync", "finish", "checkpoint"),
        ("unlink open", "checkpoint", "kill"),
        ("link", "checkpoint", "unlink", "sync", "kill"),
        ("overwrite", "begin fsync", "overwrite", "fsync", "end fsync"),
        ("behind end", "lengthen", "behind end", "close", "behind end", "kill"),
        ("exchange", "checkpoint", "move", "close"),
    ],
    ids="-".join,
)
@pytest.mark.parametrize("mode", [(), ("hold",)], ids=["", "holding"])
def test_a_power_cut_at_any_operation(template: MemoryStore, words: tuple[str, ...], mode: tuple[str, ...]) -> None:
    workload = run_workload(template, spelled(mode + words))
    assert workload is not None
    cutter = Cutter(random.Random(1), states=8, cut_recovery=0.001)
    cutter.try_all(workload.store, workload.history)
    assert cutter.tried > 50


def test_short_workloads(template: MemoryStore) -> None:
    """A sample of all orders of three steps; `scripts/crash --long` tries them all."""
    rng = random.Random(2)
    cutter = Cutter(rng, states=8, cut_recovery=0.002)
    orders = list(permutations(STEPS, 3))
    rng.shuffle(orders)
    workloads = 0
    until = time.monotonic() + SECONDS
    for words in orders:
        workload = run_workload(template, spelled(words))
        if workload is not None:
            workloads += 1
            cutter.try_all(workload.store, workload.history)
        if time.monotonic() > until and cutter.tried > 500:
            break
    print(f"{workloads} workloads, {cutter.tried} power cuts, {cutter.again} of them with the recovery cut as well")
    assert cutter.tried > 500


@pytest.mark.parametrize("poor", [False, True], ids=["journaling", "FAT"])
def test_long_random_workloads(template: MemoryStore, poor: bool) -> None:
    rng = random.Random(3)
    cutter = Cutter(rng, states=8, poor=poor, cut_recovery=0.002)
    until = time.monotonic() + SECONDS / 2
    while time.monotonic() < until or cutter.tried <= 200:
        workload = Workload(RecordingStore(template.copy()))
        for operation in random_operations(rng, 25):
            workload.do(operation)
        cutter.try_some(workload.store, workload.history, share=0.3)
    print(f"{cutter.tried} power cuts, {cutter.again} of them with the recovery cut as well")
    assert cutter.tried > 200
