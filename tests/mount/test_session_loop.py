"""The stand-in for trio in pyfuse3's session loop: exclusive, prompt, fair to other tasks, idle when nothing comes."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyfuse3
import pytest
import trio

from tests.support.mounting import MountedVault, needs_fuse
from vaultfs.mount import session_loop

WAITS = 2000  # of a descriptor that is readable all the time


@pytest.fixture
def lock(loop: "session_loop._Trio") -> "session_loop._ReaderLock":
    return loop.Lock()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> "session_loop._Trio":
    """What pyfuse3 takes for trio while the test runs."""
    monkeypatch.setitem(vars(pyfuse3), "trio", trio)
    assert session_loop.install(lambda: False, lambda: None)
    found = vars(pyfuse3)["trio"]
    assert isinstance(found, session_loop._Trio)
    return found


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


class TickingClock:
    """Stands in for the module `time`: each look takes a tenth of a millisecond, on however busy a machine."""

    def __init__(self) -> None:
        self._looks = itertools.count()

    def monotonic(self) -> float:
        return next(self._looks) / 10_000


async def count_turns(turns: list[None]) -> None:
    while True:
        await trio.lowlevel.checkpoint()
        turns.append(None)


def test_everything_else_is_trio_itself(loop: "session_loop._Trio") -> None:
    assert loop.ClosedResourceError is trio.ClosedResourceError
    assert loop.lowlevel.notify_closing is trio.lowlevel.notify_closing


def test_another_pyfuse3_keeps_its_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(pyfuse3), "trio", trio)
    monkeypatch.setattr(pyfuse3, "__version__", "4.0.0")
    assert not session_loop.install(lambda: False, lambda: None)
    assert vars(pyfuse3)["trio"] is trio


def test_the_lock_lets_one_task_in_at_a_time_and_everyone_in_the_end(lock: "session_loop._ReaderLock") -> None:
    inside: list[int] = []
    done: list[int] = []

    async def reader(number: int) -> None:
        for step in range(20):
            async with lock:
                inside.append(number)
                assert inside == [number]
                for _ in range((number + step) % 3):
                    await trio.lowlevel.checkpoint()
                inside.clear()
            if (number * step) % 4 == 0:
                await trio.lowlevel.checkpoint()
        done.append(number)

    async def test() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for number in range(9):
                    nursery.start_soon(reader, number)

    trio.run(test)
    assert sorted(done) == list(range(9))


def test_taking_the_free_lock_does_not_yield(lock: "session_loop._ReaderLock") -> None:
    async def test() -> None:
        turns: list[None] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns, turns)
            for _ in range(100):
                async with lock:
                    pass
            assert not turns
            nursery.cancel_scope.cancel()

    trio.run(test)


def test_a_task_that_waits_for_the_lock_can_be_cancelled(lock: "session_loop._ReaderLock") -> None:
    async def wait() -> None:
        async with lock:
            pytest.fail("the lock was held")

    async def test() -> None:
        async with lock:
            with trio.move_on_after(0.02) as scope:
                await wait()
            assert scope.cancelled_caught
        with trio.fail_after(5):
            async with lock:
                pass

    trio.run(test)


def test_it_waits_until_there_is_something_to_read(loop: "session_loop._Trio", pipe: tuple[int, int]) -> None:
    reader, writer = pipe

    async def write_later() -> None:
        await trio.sleep(0.05)
        os.write(writer, b"x")

    async def test() -> None:
        with trio.fail_after(10):
            for _ in range(3):
                async with trio.open_nursery() as nursery:
                    start = time.monotonic()
                    nursery.start_soon(write_later)
                    await loop.lowlevel.wait_readable(reader)
                    assert time.monotonic() - start >= 0.05
                assert os.read(reader, 1) == b"x"

    trio.run(test)


def test_a_busy_descriptor_leaves_turns_to_other_tasks(
    loop: "session_loop._Trio", pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    os.write(writer, b"x")
    monkeypatch.setattr(session_loop, "time", TickingClock())

    async def test() -> int:
        turns: list[None] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns, turns)
            for _ in range(WAITS):
                await loop.lowlevel.wait_readable(reader)
            nursery.cancel_scope.cancel()
        return len(turns)

    turns = trio.run(test)
    assert turns >= WAITS / 100, "a turn every 10 ms is the least"
    assert turns < WAITS / 5, "but not one for every request"


def test_what_was_put_off_is_done_before_waiting_and_every_few_milliseconds(
    monkeypatch: pytest.MonkeyPatch, pipe: tuple[int, int]
) -> None:
    reader, writer = pipe
    done: list[None] = []
    monkeypatch.setitem(vars(pyfuse3), "trio", trio)
    monkeypatch.setattr(session_loop, "time", TickingClock())
    session_loop.install(lambda: False, lambda: done.append(None))
    wait_readable = vars(pyfuse3)["trio"].lowlevel.wait_readable

    async def test() -> None:
        with trio.move_on_after(0.05):
            await wait_readable(reader)
        assert len(done) == 1, "before it waits"
        os.write(writer, b"x")
        for _ in range(WAITS):
            await wait_readable(reader)
        assert WAITS / 100 <= len(done) < WAITS / 5, "now and then while it is busy"

    trio.run(test)


def test_nothing_to_read_costs_no_cpu(loop: "session_loop._Trio", pipe: tuple[int, int]) -> None:
    async def test() -> float:
        before = time.process_time()
        with trio.move_on_after(0.5):
            await loop.lowlevel.wait_readable(pipe[0])
        return time.process_time() - before

    assert trio.run(test) < 0.05


@needs_fuse
@pytest.mark.mount
def test_an_idle_mount_costs_no_cpu(mounted_vault: MountedVault) -> None:
    (mounted_vault.path / "file").write_bytes(b"x")
    pid = mounted_vault.process.pid
    settled: Callable[[], bool] = lambda: cpu_while(0.5, pid) < 0.005  # noqa: E731
    assert any(settled() for _ in range(30)), "what was written has been committed after a while"
    assert cpu_while(2, pid) < 0.02


@needs_fuse
@pytest.mark.mount
def test_a_mount_that_was_only_read_does_not_even_wake(mounted_vault: MountedVault) -> None:
    """Nothing waits for a checkpoint, so nobody has to look whether one is due."""
    for number in range(20):
        (mounted_vault.path / f"folder {number}").mkdir()
    again = mounted_vault.remount()
    try:
        assert sum(1 for _ in again.path.rglob("*")) == 20
        time.sleep(0.5)
        before = waits(again.process.pid)
        time.sleep(2)
        assert waits(again.process.pid) - before <= 2  # looking four times a second would be eight
        again.unmount()
    finally:
        again.close()


def waits(pid: int) -> int:
    """How often the main thread has waited for something (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def cpu_while(seconds: float, pid: int) -> float:
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return cpu_seconds(pid) - before


def cpu_seconds(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
