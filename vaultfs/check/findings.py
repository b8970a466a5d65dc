"""What a check finds: one object for each thing that is not as it should be."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong, in the words shown to people and programs."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    FOREIGN = "foreign"
    ORPHAN = "orphan"
    PARTLY_SYNCED = "partly synced"
    OLDER = "older than expected"
    CONFLICT = "conflict copy"


UNSYNCED = frozenset((Kind.MISSING, Kind.PARTLY_SYNCED, Kind.OLDER))
"""What may only not have come yet, in a store that a client syncs."""


class Severity(StrEnum):
    """`error`: something cannot be read. `warning`: all can be read, but look at it. `note`: harmless."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `path` is the plain path in the vault, None for what belongs to no file.

    `stored` is the path in the store. `start` and `end` bound the bytes of the file that are concerned, None if all
    of it or nothing in particular is. `cause` is a clause in words.
    """

    severity: Severity
    kind: Kind
    cause: str
    path: bytes | None = None
    stored: str = ""
    start: int | None = None
    end: int | None = None

    def to_json(self) -> dict[str, object]:
        """The finding as JSON members; a path's bytes that are no UTF-8 become lone surrogates (PEP 383)."""
        return {
            "severity": self.severity.value,
            "kind": self.kind.value,
            "path": None if self.path is None else "/" + self.path.decode("utf-8", "surrogateescape"),
            "stored": self.stored or None,
            "start": self.start,
            "end": self.end,
            "cause": self.cause,
        }

    def __str__(self) -> str:
        where = []
        if self.path is not None:
            where.append("/" + self.path.decode("utf-8", "backslashreplace"))
        if self.start is not None:
            where.append(f"bytes {self.start} to {self.end}")
        if self.stored:
            where.append(f"[{self.stored}]")
        return ": ".join(filter(None, (self.severity, self.kind, " ".join(where), self.cause)))


Report = Callable[[Finding], None]


def error(kind: Kind, cause: str, path: bytes | None = None, stored: str = "") -> Finding:
    """A finding of something that cannot be read."""
    return Finding(Severity.ERROR, kind, cause, path, stored)


def warning(kind: Kind, cause: str, path: bytes | None = None, stored: str = "") -> Finding:
    """A finding that does not keep anything from being read."""
    return Finding(Severity.WARNING, kind, cause, path, stored)


def note(kind: Kind, cause: str, stored: str) -> Finding:
    """A finding that is no fault."""
    return Finding(Severity.NOTE, kind, cause, None, stored)
