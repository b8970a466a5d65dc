"""The note in a lock file: which process on which host has a vault open, since when, and whether it may write.

The note is advice for people. It may come from another machine through a synced folder, or from an attacker
who can write to the store, so nothing is decided by it, and what it says is made safe to print.
"""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Self

NOTE_SIZE = 1024
"""The most bytes of a lock file that are read as a note."""

Mode = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a vault open. `pid` is None and `since` empty where only the lock itself is known."""

    host: str
    mode: Mode
    pid: int | None = None
    since: str = ""

    @classmethod
    def this_process(cls, mode: Mode) -> Self:
        """The calling process, from now on (UTC, whole seconds)."""
        return cls(this_host(), mode, os.getpid(), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    @classmethod
    def from_note(cls, note: bytes) -> Self | None:
        """What a lock file says; None if it says nothing, or nothing that makes sense."""
        try:
            said = json.loads(note)
            host, pid, since, mode = said["host"], said["pid"], said["since"], said["mode"]
        except (ValueError, RecursionError, KeyError, TypeError):
            return None
        if type(pid) is not int or mode not in ("read", "write"):
            return None
        return cls(_printable(host), "write" if mode == "write" else "read", pid, _printable(since))

    def to_note(self, vault_id: bytes) -> bytes:
        """The lock file's content: one line of JSON."""
        said = {
            "host": self.host,
            "pid": self.pid,
            "since": self.since,
            "vault": vault_id.hex(),
            "mode": self.mode,
        }
        return json.dumps(said).encode() + b"\n"

    def is_gone(self) -> bool:
        """Whether the note is of a process of this host that has ended."""
        return self.host == this_host() and self.pid is not None and not os.path.exists(f"/proc/{self.pid}")

    def __str__(self) -> str:
        process = "another process" if self.pid is None else f"process {self.pid}"
        since = f" since {self.since}" if self.since else ""
        reading = " (read-only)" if self.mode == "read" else ""
        return f"{process} on {self.host}{since}{reading}"


def this_host() -> str:
    """The name this machine writes into its notes."""
    return _printable(os.uname().nodename)


def _printable(text: object) -> str:
    """At most 64 characters, none of which can drive a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text)[:64])
