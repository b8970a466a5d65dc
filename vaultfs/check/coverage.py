"""Remembers outside the store which parts of a vault were verified when, and where a check was interrupted.

Object names are random, so the 256 folders by a name's first byte are equal parts of a vault.
"""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from vaultfs.check.cursor import Cursor, cursor_from_json

FOLDERS = 256


class Interrupted(NamedTuple):
    """A check that did not come to its end: the folders it was to verify, when it began, how far it came."""

    folders: frozenset[int]
    begun: int
    cursor: Cursor | None


class Coverage:
    """`verified` holds for each folder the time (s since the epoch) a whole check of it began, 0 for never."""

    def __init__(self, folder: Path, vault_id: bytes) -> None:
        self._path = folder / f"{vault_id.hex()}.check"
        self.verified = [0] * FOLDERS
        self.interrupted: Interrupted | None = None
        self._load()

    @classmethod
    def default(cls, vault_id: bytes) -> "Coverage":
        """The memory in $XDG_STATE_HOME/vaultfs (XDG Base Directory Specification)."""
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        return cls(Path(state) / "vaultfs", vault_id)

    def _load(self) -> None:
        """A file that is missing or broken counts as nothing known."""
        try:
            data = json.loads(self._path.read_text())
            verified = [int(when) for when in data["verified"]]
            run = data["run"]
            interrupted = None
            if run is not None:
                cursor = None if run["cursor"] is None else cursor_from_json(run["cursor"])
                interrupted = Interrupted(frozenset(map(int, run["folders"])), int(run["begun"]), cursor)
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return
        folders = () if interrupted is None else interrupted.folders
        if len(verified) == FOLDERS and all(0 <= folder < FOLDERS for folder in folders):
            self.verified, self.interrupted = verified, interrupted

    def sample(self, share: float) -> frozenset[int]:
        """The folders to verify for a share of the vault (0 to 1): those that have waited longest."""
        count = max(1, min(FOLDERS, round(share * FOLDERS)))
        return frozenset(sorted(range(FOLDERS), key=self.verified.__getitem__)[:count])

    def keep(self, run: Interrupted) -> None:
        """Note how far a check has come. Raises OSError."""
        self.interrupted = run
        self._save()

    def finish(self, run: Interrupted) -> None:
        """Note that a check came to its end. Raises OSError."""
        for folder in run.folders:
            self.verified[folder] = run.begun
        self.interrupted = None
        self._save()

    def _save(self) -> None:
        run = self.interrupted
        data = {
            "verified": self.verified,
            "run": run
            and {
                "folders": sorted(run.folders),
                "begun": run.begun,
                "cursor": run.cursor and run.cursor.to_json(),
            },
        }
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".check-new")
        new.write_text(json.dumps(data) + "\n")
        os.replace(new, self._path)

    @property
    def covered(self) -> float:
        """The share of the vault that was ever verified, 0 to 1."""
        return sum(1 for when in self.verified if when) / FOLDERS

    @property
    def oldest(self) -> int:
        """When the part that waits longest was verified, s since the epoch; 0 if some never was."""
        return min(self.verified)


def new_run(folders: frozenset[int]) -> Interrupted:
    """A check of these folders that begins now."""
    return Interrupted(folders, int(time.time()), None)
