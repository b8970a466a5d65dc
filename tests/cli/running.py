"""Running the command line as a user does: in a process of its own, with pipes or on a terminal."""

import hashlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "correct horse battery"
CHEAP = ("--kdf-memory", "64", "--kdf-passes", "1")
MAIN = "import sys; from vaultfs.cli.main import main; sys.exit(main())"
_ON_A_TERMINAL = "import os; os.close(os.open(os.ttyname(0), os.O_RDWR)); " + MAIN
_PROJECT = Path(__file__).parents[2]


Answer = str | Callable[[str], str]


@dataclass(frozen=True)
class Result:
    """How a command ended: exit code, and what it wrote to stdout and stderr (a terminal has only one)."""

    code: int
    out: str
    err: str = ""


def environment(**extra: str) -> dict[str, str]:
    """What a command gets to see of this process's environment, and `extra`."""
    names = ("PATH", "HOME", "LANG", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {"PYTHONPATH": str(_PROJECT), "PYTHONWARNINGS": "error"} | extra


def run_piped(*args: str | Path, stdin: str = "", timeout: float = 60, first: str = "", **env: str) -> Result:
    """Run `vaultfs ARGS` with `stdin` on a pipe. `first` is Python for the process to run before."""
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\n{MAIN}", *map(str, args)],
        input=stdin.encode("utf-8", "surrogateescape"),
        capture_output=True,
        env=environment(**env),
        timeout=timeout,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def signals_itself(number: int, after: int) -> str:
    """Python for `first`: from the `after`-th object that it makes, a command gets a signal as it makes one."""
    return f"""
import itertools, os
from vaultfs.store.directory import DirectoryStore
create, made = DirectoryStore.create, itertools.count(1)
def create_signalled(store, path):
    if next(made) >= {after}:
        os.kill(os.getpid(), {number})
    return create(store, path)
DirectoryStore.create = create_signalled
"""


def run_on_terminal(
    *args: str | Path, dialogue: Sequence[tuple[str, Answer]] = (), first: str = "", **env: str
) -> Result:
    """Run `vaultfs ARGS` on a terminal, giving each answer once its question has been shown.

    An answer may be made of all that was shown so far. `first` is a line of Python for the process to run before.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", f"{first}\n{_ON_A_TERMINAL}", *map(str, args)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=environment(TERM="xterm", **env),
    )
    os.close(slave)
    try:
        shown = _converse(master, dialogue)
        return Result(process.wait(timeout=30), shown)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _converse(master: int, dialogue: Sequence[tuple[str, Answer]]) -> str:
    """Everything shown until the terminal is closed at the other end."""
    shown, seen, waiting = b"", 0, list(dialogue)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if waiting and (at := shown.find(waiting[0][0].encode(), seen)) >= 0:
            seen = at + len(waiting[0][0].encode())
            answer = waiting.pop(0)[1]
            os.write(master, (answer if isinstance(answer, str) else answer(shown.decode())).encode())
        if not select.select([master], [], [], 0.2)[0]:
            continue
        try:
            piece = os.read(master, 65536)
        except OSError:  # EIO: the last process on the terminal is gone
            piece = b""
        if not piece:
            break
        shown += piece
    assert not waiting, f"never asked {waiting[0][0]!r}; shown: {shown!r}"
    return shown.decode()


def lose_root_copies(store: Path) -> None:
    """Cut off the copies of the header behind the roots of a vault."""
    for name in ("root.0", "root.1"):
        data = (store / name).read_bytes()
        (store / name).write_bytes(data[: 4 + 12 + int.from_bytes(data[:4], "little")])


def digest(folder: Path) -> dict[str, str]:
    """Every path below `folder` with a hash of what it holds, to see that nothing changed."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "-"
        for path in sorted(folder.rglob("*"))
    }
