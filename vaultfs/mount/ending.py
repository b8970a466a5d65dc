"""Ends a mount from inside: at a signal, in use or not, and when nobody has used it for a while."""

import errno
import logging
import signal

import pyfuse3
import trio

from vaultfs.mount.notify import notify
from vaultfs.mount.operations import VaultOperations
from vaultfs.mount.system import sync_filesystem
from vaultfs.mount.unmounting import detach, in_use
from vaultfs.mount.workers import Workers

_log = logging.getLogger("vaultfs.mount")

_QUIET = 0.1  # seconds without a request after which nothing more is on its way
_PATIENCE = 100  # times that, while a detached mount goes on being used
_LOOKS = 8  # how often an idle time is divided to measure it


class Ending:
    """One per mount. `detached` says that it was taken down while in use, so there is nothing left to unmount."""

    def __init__(self, operations: VaultOperations, workers: Workers, mountpoint: str) -> None:
        self._operations = operations
        self._workers = workers
        self._mountpoint = mountpoint
        self.detached = False

    async def watch_signals(self) -> None:
        """Unmount when SIGTERM, SIGINT or SIGHUP arrives."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                _log.info("%s: unmounting %s", signal.Signals(number).name, self._mountpoint)
                notify("STOPPING=1")
                if not await self._unmount():
                    await self._unmount_in_use()

    async def watch_idle(self, seconds: float) -> None:
        """Unmount after `seconds` without a request and with nothing open."""
        quiet, seen = 0, -1
        while True:
            await trio.sleep(seconds / _LOOKS)
            idle = self._operations.requests == seen and self._operations.open_handles == 0
            quiet, seen = quiet + 1 if idle else 0, self._operations.requests
            if quiet >= _LOOKS:
                _log.info("%s was not used for %g seconds: unmounting", self._mountpoint, seconds)
                await self._unmount()
                quiet = 0

    async def _unmount(self) -> bool:
        """Ask the kernel; the session ends by itself then. False if the mount is in use."""
        try:
            await self._workers.run(detach, self._mountpoint)
        except OSError as error:
            reason = in_use(self._mountpoint) if error.errno == errno.EBUSY else f"cannot unmount: {error.strerror}"
            _log.warning("%s", reason)
            return False
        return True

    async def _unmount_in_use(self) -> None:
        """Take it out of sight, get everything written so far from the kernel, and end; users get ENOTCONN."""
        try:
            await self._workers.run(sync_filesystem, self._mountpoint)
            await self._workers.run(_detach_lazily, self._mountpoint)
        except OSError as error:
            _log.warning("cannot unmount %s: %s", self._mountpoint, error.strerror)
        await self._until_quiet()
        self.detached = True
        pyfuse3.terminate()

    async def _until_quiet(self) -> None:
        for _ in range(_PATIENCE):
            seen = self._operations.requests
            await trio.sleep(_QUIET)
            if self._operations.requests == seen and not self._operations.active:
                return


def _detach_lazily(path: str) -> None:
    detach(path, lazy=True)
