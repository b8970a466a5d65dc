"""The one translator: everything the vault can raise becomes an error number, and nothing else gets out."""

import errno
from collections.abc import Callable, Coroutine
from typing import Any

import pyfuse3
import pytest
import trio

from vaultfs.errors import Damaged, NotFound, VaultfsError
from vaultfs.mount.translation import as_fuse_error, handler, waiting_handler
from vaultfs.vault.waits import NotReady


def all_errors() -> list[type[VaultfsError]]:
    classes: list[type[VaultfsError]] = [VaultfsError]
    for found in classes:
        classes += found.__subclasses__()
    return classes


class Handlers:
    """Request handlers of both kinds."""

    requests = 0
    active = 0

    def __init__(self) -> None:
        self.provided: list[NotReady] = []

    async def provide(self, missing: NotReady) -> None:
        await trio.lowlevel.checkpoint()
        self.provided.append(missing)

    @handler
    def answer(self, value: int) -> int:
        return value + self.active

    @handler
    def fail(self, error: Exception) -> None:
        raise error

    @handler
    def need(self, count: int) -> int:
        if len(self.provided) < count:
            raise NotReady
        return count

    @waiting_handler
    async def answer_later(self, value: int) -> int:
        await trio.lowlevel.checkpoint()
        return value + self.active

    @waiting_handler
    async def fail_later(self, error: Exception) -> None:
        await trio.lowlevel.checkpoint()
        raise error


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if not issubclass(kind, Damaged)])
def test_ours_keep_their_number(kind: type[VaultfsError]) -> None:
    assert as_fuse_error(kind("sentence"), "read").errno == kind.errno


def test_damage_is_logged_with_its_place(expect_log: Callable[[str], None]) -> None:
    expect_log("read: object 12ab is missing")
    assert as_fuse_error(Damaged("object 12ab is missing"), "read").errno == errno.EIO


@pytest.mark.expects_log("lookup failed: ZeroDivisionError: division by zero")
def test_the_unexpected_is_an_input_output_error_and_logged() -> None:
    assert as_fuse_error(ZeroDivisionError("division by zero"), "lookup").errno == errno.EIO


@pytest.mark.parametrize("kind", [Handlers.answer, Handlers.answer_later])
def test_a_handler_answers_and_counts(kind: Callable[..., Coroutine[Any, Any, int]]) -> None:
    handlers = Handlers()
    assert trio.run(kind, handlers, 1) == 2
    assert (handlers.requests, handlers.active) == (1, 0)


def test_a_handler_runs_again_until_it_misses_nothing() -> None:
    handlers = Handlers()
    assert trio.run(handlers.need, 3) == 3
    assert len(handlers.provided) == 3
    assert (handlers.requests, handlers.active) == (1, 0)


@pytest.mark.parametrize(
    ("error", "number"),
    [(NotFound("none"), errno.ENOENT), (pyfuse3.FUSEError(errno.ENOSYS), errno.ENOSYS)],
)
@pytest.mark.parametrize("kind", [Handlers.fail, Handlers.fail_later])
def test_a_handler_raises_nothing_but_what_pyfuse3_takes(
    kind: Callable[..., Coroutine[Any, Any, None]], error: Exception, number: int
) -> None:
    handlers = Handlers()
    with pytest.raises(pyfuse3.FUSEError) as raised:
        trio.run(kind, handlers, error)
    assert raised.value.errno == number
    assert (handlers.requests, handlers.active) == (1, 0)


def test_a_handler_lets_cancellation_through() -> None:
    async def cancelled() -> bool:
        with trio.move_on_after(0) as scope:
            await Waiting().wait()
        return scope.cancelled_caught

    class Waiting(Handlers):
        @waiting_handler
        async def wait(self) -> None:
            await trio.sleep_forever()

    assert trio.run(cancelled)
