"""What an operation raises when it needs something that is not in memory yet; nothing has changed then."""


from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class NotReady(Exception):
    """Do `prepare` in any thread, then `install` on the owner thread, then the operation again from its start."""

    @property
    def size(self) -> int | None:
        """About how many bytes `prepare` reads, None if that is not known."""
        return None

    def prepare(self) -> None:
        """Do the blocking part."""
        raise NotImplementedError

    def install(self) -> None:
        """Bring the result into memory; quick. Raises what `prepare` ran into."""
        raise NotImplementedError


class NeedCheckpoint(NotReady):
    """Too much waits in memory or in the journal: finish a checkpoint, then call the operation again."""

    def prepare(self) -> None:
        """Nothing to do here: whoever runs the checkpoints waits for one instead."""

    def install(self) -> None:
        """Nothing to do here."""


def resolve(operation: Callable[[], Result]) -> Result:
    """Run an operation to its end, waiting right here for whatever it needs; NeedCheckpoint passes through."""
    while True:
        try:
            return operation()
        except NeedCheckpoint:
            raise
        except NotReady as wait:
            wait.prepare()
            wait.install()
