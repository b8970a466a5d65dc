"""Ends a mount from inside: at a signal, in use or not, and when nobody has used it for a while."""

import errno
import logging
import signal

import pyfuse3
import trio

from vaultfs.mount.mounttable import mount_at
from vaultfs.mount.notify import notify
from vaultfs.mount.operations import VaultOperations
from vaultfs.mount.system import sync_filesystem
from vaultfs.mount.unmounting import detach, in_use
from vaultfs.mount.workers import Workers

_log = logging.getLogger("vaultfs.mount")

_QUIET = 0.1  # seconds without a request after which nothing more is on its way
_PATIENCE = 100  # times that, while a detached mount goes on being used
_LOOKS = 8  # how often an idle time is divided to measure it
# Seconds in which programs that got the same signal, at the end of a login or before a shutdown, can save and end.
_GRACE = 5.0
_AGAIN = 0.2  # seconds between looks whether they have


class Ending:
    """One per mount. `detached` says that it was taken down while in use, so there is nothing left to unmount.

    `device` is what the kernel's table of mounts calls this one, once that is known.
    """

    def __init__(self, operations: VaultOperations, workers: Workers, mountpoint: str) -> None:
        self._operations = operations
        self._workers = workers
        self._mountpoint = mountpoint
        self._hurry: trio.Event | None = None
        self.detached = False
        self.device: str | None = None

    async def watch_signals(self) -> None:
        """Unmount when SIGTERM, SIGINT or SIGHUP arrives; a second one cuts short the time that users of it have."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                async for number in signals:
                    if self._hurry is not None:
                        self._hurry.set()
                        continue
                    self._hurry = trio.Event()
                    _log.info("%s: unmounting %s", signal.Signals(number).name, self._mountpoint)
                    notify("STOPPING=1")
                    nursery.start_soon(self._end, self._hurry)

    async def _end(self, hurry: trio.Event) -> None:
        if await self._unmount():
            return
        latest = trio.current_time() + _GRACE
        while trio.current_time() < latest and not hurry.is_set():
            with trio.move_on_after(_AGAIN):
                await hurry.wait()
            if not self._operations.open_handles and await self._unmount(tell=False):
                return
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

    async def _unmount(self, *, tell: bool = True) -> bool:
        """Ask the kernel; the session ends by itself then. False if the mount is in use, by whom the log may `tell`."""
        try:
            await self._workers.run(self._detach)
        except OSError as error:
            if tell:
                busy = error.errno == errno.EBUSY
                _log.warning("%s", in_use(self._mountpoint) if busy else f"cannot unmount: {error.strerror}")
            return False
        return True

    async def _unmount_in_use(self) -> None:
        """Take it out of sight, get everything written so far from the kernel, and end; users get ENOTCONN."""
        try:
            await self._workers.run(self._detach_in_use)
        except OSError as error:
            _log.warning("cannot unmount %s: %s", self._mountpoint, error.strerror)
        await self._until_quiet()
        self.detached = True
        pyfuse3.terminate()

    def _detach(self) -> None:
        if not self._is_in_sight():
            raise OSError(errno.EINVAL, "it is mounted there no more, and somebody still uses it")
        detach(self._mountpoint)

    def _detach_in_use(self) -> None:
        if self._is_in_sight():
            sync_filesystem(self._mountpoint)
            detach(self._mountpoint, lazy=True)

    def _is_in_sight(self) -> bool:
        """Whether what is mounted at the place is this vault: taken out of sight before, it may be another one's."""
        if self.device is None:
            return True
        mount = mount_at(self._mountpoint)
        return mount is not None and mount.device == self.device

    async def _until_quiet(self) -> None:
        for _ in range(_PATIENCE):
            seen = self._operations.requests
            await trio.sleep(_QUIET)
            if self._operations.requests == seen and not self._operations.active:
                return
