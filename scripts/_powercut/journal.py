"""The writers' log: every operation before it begins and after it was acknowledged, kept where no power is cut."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One operation; `done` if it was acknowledged, `error` its errno if it was refused."""

    kind: str
    arguments: list[Any]
    done: bool
    error: int


class Log:
    """One writer's log, for writing."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def begin(self, kind: str, *arguments: object) -> None:
        """Note what is about to be asked for."""
        os.write(self._descriptor, json.dumps([kind, *arguments]).encode() + b"\n")

    def end(self, error: int = 0) -> None:
        """Note the answer."""
        os.write(self._descriptor, b"%d\n" % error)

    def close(self) -> None:
        os.close(self._descriptor)


def read_log(path: Path, acknowledged: int | None = None) -> list[Step]:
    """The steps of a log; answers behind byte `acknowledged` count as not given yet."""
    steps: list[Step] = []
    place = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        place += len(line)
        if not line.endswith(b"\n"):
            break
        if line.startswith(b"["):
            kind, *arguments = json.loads(line)
            steps.append(Step(kind, arguments, False, 0))
        elif acknowledged is None or place <= acknowledged:
            steps[-1] = steps[-1]._replace(done=True, error=int(line))
        elif int(line):
            # Refused is refused, whenever the answer came.
            steps[-1] = steps[-1]._replace(error=int(line))
    return steps
