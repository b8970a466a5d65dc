"""Faults strike the operations they are meant for, leave what they say, and no others."""

import errno
import random

import pytest

from tests.support.crashstore import crash_states
from tests.support.faultystore import CHANGES, READS, SYNCS, Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore


def failures(store: FaultyStore, count: int) -> list[int]:
    """Which of `count` one-byte writes fail."""
    file = store.open("a", write=True)
    failed = []
    for number in range(count):
        try:
            file.write([b"x"], number)
        except OSError:
            failed.append(number)
    return failed


@pytest.fixture
def inner() -> MemoryStore:
    made = MemoryStore()
    made.make_folder("f")
    made.create("a")
    return made


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        (Fault(errno.EIO), [0]),
        (Fault(errno.EIO, at=2), [2]),
        (Fault(errno.EIO, at=2, lasting=True), [2, 3, 4]),
        (Fault(errno.EIO, kinds=SYNCS | READS, at=1, lasting=True), []),
        (Fault(errno.EIO, below="f/", lasting=True), []),
        (Fault(errno.EIO, at=9), []),
    ],
)
def test_the_chosen_operations_fail(inner: MemoryStore, fault: Fault, failed: list[int]) -> None:
    store = FaultyStore(inner, fault)
    assert failures(store, 5) == failed
    assert fault.fired == len(failed)
    assert inner.open("a").read(5, 0).count(b"x") == 5 - len(failed)


def test_a_failing_write_leaves_the_part_it_is_told_to(inner: MemoryStore) -> None:
    store = FaultyStore(inner, Fault(errno.ENOSPC, written=4))
    with pytest.raises(OSError) as caught:
        store.open("a", write=True).write([b"abc", b"def"], 0)
    assert caught.value.errno == errno.ENOSPC
    assert inner.open("a").read(10, 0) == b"abcd"


def test_every_kind_can_fail_and_then_does_nothing(inner: MemoryStore) -> None:
    store = FaultyStore(inner)
    file = store.open("a", write=True)
    operations = {
        "create": lambda: store.create("b"),
        "delete": lambda: store.delete("a"),
        "rename": lambda: store.rename("a", "b"),
        "make_folder": lambda: store.make_folder("g"),
        "write": lambda: file.write([b"x"], 0),
        "allocate": lambda: file.allocate(9),
        "truncate": lambda: file.truncate(9),
        "sync": file.sync,
        "sync_folder": lambda: store.sync_folder("f"),
        "open": lambda: store.open("a"),
        "exists": lambda: store.exists("a"),
        "names": lambda: store.names("f"),
        "read": lambda: file.read(1, 0),
        "read_cached": lambda: file.read_cached(bytearray(1), 0),
        "size": file.size,
    }
    assert set(operations) == CHANGES | SYNCS | READS
    for kind, operation in operations.items():
        store.faults = [Fault(errno.EDQUOT, kinds=frozenset({kind}))]
        with pytest.raises(OSError) as caught:
            operation()
        assert caught.value.errno == errno.EDQUOT
    assert (inner.names(""), inner.open("a").size()) == (["a", "f"], 0)


def test_a_failed_sync_loses_what_it_should_have_saved(inner: MemoryStore) -> None:
    recorded = RecordingStore(inner)
    store = FaultyStore(recorded, Fault(errno.EIO, kinds=SYNCS))
    file = store.open("a", write=True)
    file.write([b"x"], 0)
    with pytest.raises(OSError):
        file.sync()
    file.sync()
    states = crash_states(recorded.log, len(recorded.log), rng=random.Random(1))
    assert {state.open("a").read(1, 0) for state in states} == {b"", b"\0", b"x"}


def test_a_memory_store_can_be_full() -> None:
    store = MemoryStore(capacity=40_960)
    file = store.create("a")
    file.write([bytes(30_000)], 0)
    with pytest.raises(OSError) as caught:
        store.create("b").write([bytes(10_000)], 0)
    assert caught.value.errno == errno.ENOSPC
    assert store.open("b").size() == 0
    with pytest.raises(OSError):
        file.allocate(50_000)
    file.write([bytes(30_000)], 0)
    file.truncate(4096)
    assert store.space().available == 40_960 - 4096
    store.create("c").allocate(36_864)
    assert store.space().available == 0
    store.delete("c")
    assert store.copy().space().available == 36_864
