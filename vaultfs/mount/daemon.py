"""Serves in the background: forks before any thread exists, and the parent waits until the mount answers."""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from logging import Handler, NullHandler
from typing import NoReturn

from vaultfs import errors
from vaultfs.errors import Interrupted, VaultfsError, what_the_system_says

_log = logging.getLogger("vaultfs.mount")

_SYSLOG = "/dev/log"
_STDIN, _STDOUT, _STDERR = 0, 1, 2


def run_in_background(work: Callable[[Callable[[], None]], None]) -> int:
    """Fork; run `work(on_ready)` in the child; return the child's process id once it has called `on_ready`.

    What the child raises before that is raised here, as the same class with the same sentence. The child goes to
    `/`, reads nothing, leaves the session and prints nothing once it is ready, and ends when `work` returns.
    Call it while there is one thread. Raises VaultfsError; Interrupted if the wait was.
    """
    _flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _serve(work, _Parent(writer))
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            answer = pipe.read()
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        raise Interrupted("mounting was interrupted") from None
    if not answer:
        raise VaultfsError(
            f"the process that should serve the vault ended early ({_ending(child)}); try again, with "
            "--foreground to see what it says"
        )
    _raise_what(json.loads(answer))
    return child


def leave() -> NoReturn:
    """End this process with success, at once: taking apart what was imported for its child takes a tenth of a second.

    What it has printed is flushed; nothing else of it is finished, so it may not have threads or files half written.
    """
    _flush()
    os._exit(0)


def log_to_system() -> None:
    """Send the log to syslog or the journal through /dev/log; to nowhere if there is neither."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(_system_log())


class _Parent:
    """The process that waits: it is told one thing, that the mount answers or why it does not."""

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def tell(self, message: dict[str, str]) -> bool:
        """Send the message; False if one was sent before."""
        if self._pipe is None:
            return False
        pipe, self._pipe = self._pipe, None
        with suppress(OSError), open(pipe, "wb") as stream:  # it may have been killed meanwhile
            stream.write(json.dumps(message).encode())
        return True


def _serve(work: Callable[[Callable[[], None]], None], parent: _Parent) -> NoReturn:
    code = VaultfsError.exit_code
    try:
        os.chdir("/")
        _redirect(_STDIN)
        work(lambda: _tell_ready(parent))
        code = 0
    except BaseException as failure:
        error = _as_ours(failure)
        code = error.exit_code
        if not parent.tell({"error": type(error).__name__, "message": str(error)}):
            _log.error("the mount ended: %s", error, exc_info=failure if error is not failure else None)
    finally:
        os._exit(code)


def _tell_ready(parent: _Parent) -> None:
    # Not before: an automount lets only the process group that mounts look at the mountpoint until it has.
    os.setsid()
    log_to_system()
    _flush()
    _redirect(_STDOUT)
    _redirect(_STDERR)
    parent.tell({})


def _as_ours(failure: BaseException) -> VaultfsError:
    if isinstance(failure, VaultfsError):
        return failure
    if isinstance(failure, KeyboardInterrupt):
        return Interrupted("mounting was interrupted")
    if isinstance(failure, OSError):
        return VaultfsError(f"{what_the_system_says(failure)}; what was synced is safe in the store")
    return VaultfsError(
        f"this should not have happened: {type(failure).__name__}: {failure}; what was synced is safe in the store"
    )


def _raise_what(message: dict[str, str]) -> None:
    if message:
        kind = getattr(errors, message["error"], VaultfsError)
        raise kind(message["message"])


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _redirect(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)


def _ending(child: int) -> str:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"signal {-status}" if status < 0 else f"exit code {status}"


def _system_log() -> Handler:
    if not os.path.exists(_SYSLOG):
        return NullHandler()
    from logging.handlers import SysLogHandler

    handler = SysLogHandler(_SYSLOG, facility=SysLogHandler.LOG_DAEMON)
    handler.ident = f"vaultfs[{os.getpid()}]: "
    return handler
