"""A line of progress on the terminal: share, amount, throughput, time left."""

import time

from vaultfs.cli.output import Output, size_text

_INTERVAL = 0.2  # seconds
_WIDTH = 24


class ProgressLine:
    """Shown while `update` is called; use as a context, which erases it. Amounts are bytes, or a unit in words.

    Nothing is shown of what is done in a moment.
    """

    def __init__(self, out: Output, what: str, unit: str = "bytes") -> None:
        self._out = out
        self._what = what
        self._unit = unit
        self._begun = self._shown = time.monotonic()

    @property
    def is_shown(self) -> bool:
        """Whether there is anybody to see it."""
        return self._out.is_live

    def update(self, done: int, total: int) -> None:
        """Show how far things are, as far as the total is known (else 0); cheap if that was shown a moment ago."""
        now = time.monotonic()
        if now - self._shown < _INTERVAL:
            return
        self._shown = now
        self._out.live(self._line(done, total, now - self._begun))

    def _line(self, done: int, total: int, seconds: float) -> str:
        speed = done / seconds if seconds else 0.0
        amount = f"{self._amount(done)} at {self._amount(int(speed))}/s"
        if not total:
            return f"{self._what} {amount}"
        share = min(done / total, 1.0)
        filled = int(share * _WIDTH)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        left = f", {time_text((total - done) / speed)} left" if speed and total > done else ""
        return f"{self._what} [{bar}] {share:4.0%} {amount}{left}"

    def _amount(self, amount: int) -> str:
        return size_text(amount) if self._unit == "bytes" else f"{amount} {self._unit}"

    def __enter__(self) -> "ProgressLine":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.live("")


def time_text(seconds: float) -> str:
    """A time for people: `40 s`, `3:20 min`, `2:05 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
