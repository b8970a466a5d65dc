"""Where a command hears Ctrl-C and its like: between two changes of a vault, and not at its end."""

import signal
from types import FrameType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def hear_no_more() -> None:
    """For a command that is ending: one more Ctrl-C would only change how, and what its caller is told."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class BetweenChanges:
    """A context for the main thread, in which Ctrl-C and its like are only heard by `check`.

    Anywhere else they would stop a change half-way, or the commit of what there is. What was ignored stays ignored. At
    its end it has the signals do what they did before; once one came the command is ending, and no other is heard.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._asked else handler)

    def check(self) -> None:
        """Raise KeyboardInterrupt if that was asked for; call it where the work can stop."""
        if self._asked:
            raise KeyboardInterrupt

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
