"""The worker threads: results and errors come back to the task that asked, and calls run side by side."""

import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from vaultfs.mount.workers import Workers


def running(test: Callable[[Workers], Coroutine[Any, Any, None]]) -> None:
    """Run an async test with workers whose threads have ended afterwards."""
    before = threading.active_count()
    workers = Workers(16)
    trio.run(test, workers)
    workers.close()
    latest = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < latest:
        time.sleep(0.001)
    assert threading.active_count() == before


def test_a_result_comes_back_from_another_thread() -> None:
    async def test(workers: Workers) -> None:
        assert await workers.run(divmod, 17, 5) == (3, 2)
        assert await workers.run(threading.get_ident) != threading.get_ident()

    running(test)


def test_an_error_is_raised_where_the_call_was_made() -> None:
    async def test(workers: Workers) -> None:
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 17, 0)
        assert await workers.run(divmod, 17, 5) == (3, 2)

    running(test)


@pytest.mark.expects_log("a job that nobody waits for failed")
def test_what_a_job_nobody_waits_for_raises_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def test(workers: Workers) -> None:
        workers.start(lambda: divmod(17, 0))
        assert await workers.run(divmod, 17, 5) == (3, 2), "and its thread goes on"

    running(test)
    assert "ZeroDivisionError" in caplog.text


def test_a_disk_that_fails_a_guess_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise OSError

    async def test(workers: Workers) -> None:
        workers.start(fail)

    running(test)
    assert not caplog.text


def test_calls_run_side_by_side_but_in_a_bounded_number_of_threads() -> None:
    async def test(workers: Workers) -> None:
        together = threading.Barrier(4)
        threads: set[int] = set()

        def meet() -> None:
            together.wait(10)

        def note() -> None:
            threads.add(threading.get_ident())

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(workers.run, meet)
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(workers.run, note)
        assert 0 < len(threads) <= 16

    running(test)


def test_other_tasks_go_on_while_a_call_runs() -> None:
    async def test(workers: Workers) -> None:
        release = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workers.run, release.wait, 10)
            await trio.sleep(0.01)
            release.set()

    running(test)


def test_a_call_that_has_begun_is_waited_for_although_its_task_is_cancelled() -> None:
    async def test(workers: Workers) -> None:
        ended = threading.Event()
        begun = threading.Event()

        def work() -> None:
            begun.set()
            time.sleep(0.05)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(workers.run, work)
            while not begun.is_set():
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        assert ended.is_set()

        with trio.CancelScope() as scope:
            scope.cancel()
            await workers.run(pytest.fail, "nothing begins in a cancelled task")
        assert scope.cancelled_caught

    running(test)
