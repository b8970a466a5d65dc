"""Makes pyfuse3's wait for the next request cheap: a stand-in for the parts of trio its session loop uses.

pyfuse3 looks `trio` up in its own module, which its asyncio mode relies on. With trio's own Lock and wait_readable
each request passes through trio's scheduler three times; here a busy session passes through it once a millisecond.
"""

import logging
import select
import time

import pyfuse3
import trio

_log = logging.getLogger("vaultfs.mount")

# In these, the loop takes one Lock around one wait_readable of the session's descriptor, and reads once after it.
_KNOWN_VERSIONS = ("3.4.", "3.5.")
_TURN = 0.001  # seconds a busy session may keep trio's other tasks (checkpoints, ends of reads) waiting
_SPIN = 0.00004  # seconds to look for a request that is likely to follow at once; a park and wake-up cost as much


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

    def __init__(self) -> None:
        self._poll: select.poll | None = None
        self._turn_ends = 0.0
        self._spins = False

    async def wait_readable(self, fd: int) -> None:
        """Stands in for trio.lowlevel.wait_readable, for one descriptor that stays the same."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
        now = time.monotonic()
        if now < self._turn_ends and (self._poll.poll(0) or (self._spins and self._spin(self._poll, now))):
            return
        await trio.lowlevel.wait_readable(fd)
        woken = time.monotonic()
        self._spins = woken - now < 2 * _SPIN
        self._turn_ends = woken + _TURN

    def _spin(self, poll: select.poll, now: float) -> bool:
        latest = now + _SPIN
        while time.monotonic() < latest:
            if poll.poll(0):
                return True
        return False


class _LowLevel:
    """`trio.lowlevel` with another wait_readable."""

    def __init__(self) -> None:
        self.wait_readable = _Readiness().wait_readable

    def __getattr__(self, name: str) -> object:
        return getattr(trio.lowlevel, name)


class _Trio:
    """`trio` with another Lock and another lowlevel."""

    Lock = _ReaderLock

    def __init__(self) -> None:
        self.lowlevel = _LowLevel()

    def __getattr__(self, name: str) -> object:
        return getattr(trio, name)


def install() -> bool:
    """Use the stand-in for the sessions of this process that begin from now on; False if pyfuse3 is one not known.

    With another pyfuse3 nothing is changed: its own loop works, at the speed it has.
    """
    if not pyfuse3.__version__.startswith(_KNOWN_VERSIONS) or vars(pyfuse3).get("trio") is None:
        _log.info("pyfuse3 %s is not known here, and runs its own session loop", pyfuse3.__version__)
        return False
    vars(pyfuse3)["trio"] = _Trio()
    return True
