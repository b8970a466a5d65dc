"""The one translator from what the vault raises to what the kernel is told."""

import errno
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyfuse3

from vaultfs.errors import Damaged, VaultfsError
from vaultfs.vault.waits import NotReady

_log = logging.getLogger("vaultfs.mount")


class Serving(Protocol):
    """Something whose requests are counted, all there were and those not answered yet, and which waits for them."""

    requests: int
    active: int

    @property
    def provide(self) -> Callable[[NotReady], Awaitable[None]]:
        """Gets what a vault operation missed."""
        ...


S = TypeVar("S", bound=Serving)
P = ParamSpec("P")
T = TypeVar("T")


def as_fuse_error(error: Exception, request: str) -> pyfuse3.FUSEError:
    """The error the kernel gets. Total: what is not one of ours is EIO, and the log says what it was."""
    if isinstance(error, VaultfsError):
        if isinstance(error, Damaged):
            _log.error("%s: %s", request, error)
        return pyfuse3.FUSEError(error.errno)
    _log.error("%s failed: %s: %s", request, type(error).__name__, error, exc_info=_log.isEnabledFor(logging.DEBUG))
    return pyfuse3.FUSEError(errno.EIO)


def handler(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Make a request handler of a method that waits for nothing: counted, and only FUSEError leaves it.

    Where the method raises NotReady it has changed nothing, and is run again, whole, once what it missed is there.
    """

    @functools.wraps(method)
    async def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.requests += 1
        self.active += 1
        try:
            while True:
                try:
                    return method(self, *args, **kwargs)
                except NotReady as missing:
                    await self.provide(missing)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise _translated(error, self, method, args) from None
        finally:
            self.active -= 1

    return guarded


def waiting_handler(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The same for a method that waits by itself."""

    @functools.wraps(method)
    async def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.requests += 1
        self.active += 1
        try:
            return await method(self, *args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            raise _translated(error, self, method, args) from None
        finally:
            self.active -= 1

    return guarded


def _translated(
    error: Exception, handlers: object, method: Callable[..., object], args: tuple[object, ...]
) -> pyfuse3.FUSEError:
    # Any other error would end the session.
    request = method.__name__
    if isinstance(error, Damaged) and (place := getattr(handlers, "place", None)) is not None:
        request = f"{place(args)}: {request}"
    return as_fuse_error(error, request)
