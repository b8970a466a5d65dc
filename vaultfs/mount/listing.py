"""Open directories: each shows the names it had when its reading began."""

from dataclasses import dataclass
from itertools import count


@dataclass(slots=True)
class Listing:
    """One open directory: its inode id, and its names with their inode ids, None before they were asked for.

    A position in them never moves.
    """

    directory: int
    entries: list[tuple[bytes, int]] | None = None


class Listings:
    """The open directories by handle."""

    def __init__(self) -> None:
        self._open: dict[int, Listing] = {}
        self._handles = count(1)

    def __getitem__(self, handle: int) -> Listing:
        return self._open[handle]

    def open(self, directory: int) -> int:
        """A new handle."""
        handle = next(self._handles)
        self._open[handle] = Listing(directory)
        return handle

    def close(self, handle: int) -> None:
        """Forget a handle."""
        del self._open[handle]
