"""Makes pyfuse3's wait for the next request cheap: a stand-in for the parts of trio its session loop uses.

pyfuse3 looks `trio` up in its own module, which its asyncio mode relies on. With trio's own Lock and wait_readable
each request passes through trio's scheduler three times; here a busy session passes through it every few milliseconds,
and whenever a worker thread has ended something.
"""

import logging
import select
import time
from collections.abc import Callable

import pyfuse3
import trio

from vaultfs.mount.handshake import Handshake, is_fuse_device

_log = logging.getLogger("vaultfs.mount")

# In these, the loop takes one Lock around one wait_readable of the session's descriptor, and reads once after it.
_KNOWN_VERSIONS = ("3.4.", "3.5.")
_TURN = 0.004  # seconds a busy session may keep trio's other tasks waiting, if none is known to have become ready
_SPIN = 0.0001  # seconds to look for a request that is likely to follow at once; a park and wake-up cost as much


class _ReaderLock:
    """Held by the one task that waits for a request; to take it when it is free does not yield to trio.

    It is never handed over: the task that answered a request takes it again if it gets there first. One parked
    task is made ready meanwhile, for the case that answering has to wait for something.
    """

    def __init__(self) -> None:
        self._held = False
        self._parked = trio.lowlevel.ParkingLot()
        self._one_is_ready = False

    async def __aenter__(self) -> None:
        while self._held:
            await self._parked.park()
            self._one_is_ready = False
        self._held = True

    async def __aexit__(self, *_: object) -> None:
        self._held = False
        if self._parked and not self._one_is_ready:
            self._one_is_ready = True
            self._parked.unpark()


class _Readiness:
    """Waits until the session's descriptor is readable: by looking, then by spinning if that has paid, then parked."""

    def __init__(self, others_wait: Callable[[], bool], before_waiting: Callable[[], None]) -> None:
        self._others_wait = others_wait
        self._before_waiting = before_waiting
        self._poll: select.poll | None = None
        self._handshake: Handshake | None = None
        self._turn_ends = 0.0
        self._spins = False

    async def wait_readable(self, fd: int) -> None:
        """Stands in for trio.lowlevel.wait_readable, for one descriptor that stays the same."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
            if is_fuse_device(fd):
                await trio.lowlevel.wait_readable(fd)
                self._handshake = Handshake(fd)
                self._handshake.begin()
                return
        if self._handshake is not None:
            self._handshake.end()
            self._handshake = None
        now = time.monotonic()
        in_turn = now < self._turn_ends and not self._others_wait()
        if in_turn and (self._poll.poll(0) or (self._spins and self._spin(self._poll, now))):
            return
        self._before_waiting()
        await trio.lowlevel.wait_readable(fd)
        woken = time.monotonic()
        self._spins = woken - now < 2 * _SPIN
        self._turn_ends = woken + _TURN

    def _spin(self, poll: select.poll, now: float) -> bool:
        latest = now + _SPIN
        while time.monotonic() < latest:
            if poll.poll(0):
                return True
            if self._others_wait():
                return False
        return False


class _LowLevel:
    """`trio.lowlevel` with another wait_readable."""

    def __init__(self, others_wait: Callable[[], bool], before_waiting: Callable[[], None]) -> None:
        self.wait_readable = _Readiness(others_wait, before_waiting).wait_readable

    def __getattr__(self, name: str) -> object:
        return getattr(trio.lowlevel, name)


class _Trio:
    """`trio` with another Lock and another lowlevel."""

    Lock = _ReaderLock

    def __init__(self, others_wait: Callable[[], bool], before_waiting: Callable[[], None]) -> None:
        self.lowlevel = _LowLevel(others_wait, before_waiting)

    def __getattr__(self, name: str) -> object:
        return getattr(trio, name)


def install(others_wait: Callable[[], bool], before_waiting: Callable[[], None]) -> bool:
    """Use the stand-in for the sessions of this process that begin from now on; False if pyfuse3 is one not known.

    `others_wait` tells whether a task other than the session's is ready to go on, as far as is known without trio.
    `before_waiting` is called when no request is there, and every few milliseconds while there are; it raises nothing.
    With another pyfuse3 nothing is changed: its own loop works, at the speed it has.
    """
    if not pyfuse3.__version__.startswith(_KNOWN_VERSIONS) or vars(pyfuse3).get("trio") is None:
        _log.info("pyfuse3 %s is not known here, and runs its own session loop", pyfuse3.__version__)
        return False
    vars(pyfuse3)["trio"] = _Trio(others_wait, before_waiting)
    return True
