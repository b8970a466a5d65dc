"""Remembers outside the store the last root this machine saw, so that an older or forked store is noticed."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from vaultfs.sealing.ancestry import Past


class Seen(NamedTuple):
    """A root's generation and authentication tag, and the roots before it that it told of."""

    generation: int
    tag: bytes
    history: tuple[Past, ...] = ()

    def known(self) -> tuple[Past, ...]:
        """The roots it told of, itself the last."""
        return (*self.history, (self.generation, self.tag))


class GenerationMemory:
    """One small JSON file per vault in the user's state folder; losing it loses only this protection."""

    def __init__(self, folder: Path, vault_id: bytes) -> None:
        self._path = folder / vault_id.hex()

    @classmethod
    def default(cls, vault_id: bytes) -> "GenerationMemory":
        """The memory in $XDG_STATE_HOME/vaultfs (XDG Base Directory Specification)."""
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        return cls(Path(state) / "vaultfs", vault_id)

    def load(self) -> Seen | None:
        """What was seen last; None if nothing is known. A broken file counts as nothing known."""
        try:
            data = json.loads(self._path.read_text())
            history = tuple((int(generation), bytes.fromhex(tag)) for generation, tag in data.get("history", ()))
            return Seen(int(data["generation"]), bytes.fromhex(data["tag"]), history)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None

    def save(self, seen: Seen) -> None:
        """Remember a root that is durable. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        history = [(generation, tag.hex()) for generation, tag in seen.history]
        new.write_text(json.dumps({"generation": seen.generation, "tag": seen.tag.hex(), "history": history}) + "\n")
        os.replace(new, self._path)
