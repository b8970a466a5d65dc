"""The one translator from what the vault raises to what the kernel is told."""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyfuse3

from vaultfs.errors import Damaged, VaultfsError

_log = logging.getLogger("vaultfs.mount")


class Counting(Protocol):
    """Something whose requests are counted: all there were, and those not answered yet."""

    requests: int
    active: int


S = TypeVar("S", bound=Counting)
P = ParamSpec("P")
T = TypeVar("T")


def as_fuse_error(error: Exception, request: str) -> pyfuse3.FUSEError:
    """The error the kernel gets. Total: what is not one of ours is EIO, and the log says what it was."""
    if isinstance(error, pyfuse3.FUSEError):
        return error
    if isinstance(error, VaultfsError):
        if isinstance(error, Damaged):
            _log.error("%s: %s", request, error)
        return pyfuse3.FUSEError(error.errno)
    _log.error("%s failed: %s: %s", request, type(error).__name__, error, exc_info=_log.isEnabledFor(logging.DEBUG))
    return pyfuse3.FUSEError(errno.EIO)


def handler(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Make a request handler: counted, and nothing but FUSEError leaves it (any other would end the session)."""

    @functools.wraps(method)
    async def guarded(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.requests += 1
        self.active += 1
        try:
            return await method(self, *args, **kwargs)
        except Exception as error:
            request = method.__name__
            if isinstance(error, Damaged) and (place := getattr(self, "place", None)) is not None:
                request = f"{place(args)}: {request}"
            raise as_fuse_error(error, request) from None
        finally:
            self.active -= 1

    return guarded
