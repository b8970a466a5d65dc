"""Long seeded random walks of the state machine in `test_machine`: faster than Hypothesis, and with a busy worker."""

import random
import stat
import threading
from collections.abc import Callable

from tests.vault.test_machine import CHUNK, VaultMachine

Arguments = dict[str, object]
_NAMES = [b"a", b"b", b"c", b"d"]
_MODES = [0o644, 0o755, 0o600, 0o4755, 0o2755, 0o2644, 0o6777]
_KINDS = [stat.S_IFREG] * 4 + [stat.S_IFDIR] * 2 + [stat.S_IFLNK, stat.S_IFCHR]
_XATTRS = [b"user.x", b"trusted.t"]


class Walker(VaultMachine):
    """The machine without Hypothesis; with `threaded`, checkpoints run in a thread while operations go on.

    Every other seed has a store of which nothing is in the page cache.
    """

    def __init__(self, seed: int, *, files_only: bool, threaded: bool) -> None:
        self.rng = random.Random(seed)
        self.cold = seed % 2 == 1
        self.log: list[tuple[str, Arguments]] = []
        self.files_only = files_only
        self.threaded = threaded
        self.thread: threading.Thread | None = None

    def walk(self, steps: int) -> None:
        """Make so many random steps; AssertionError, or whatever a bug raises, with the steps in `log`."""
        self.start()
        self.store.cold = self.cold
        for _ in range(steps):
            name, arguments = self._choose()
            self.log.append((name, arguments))
            getattr(self, name)(**arguments)
            self.writable()
        self.log.append(("teardown", {}))
        self.teardown()

    def _choose(self) -> tuple[str, Arguments]:
        rng = self.rng
        makers: list[tuple[str, float, Callable[[], Arguments]]] = [
            ("write", 8, lambda: {"offset": self._offset(), "size": self._size()}),
            ("append", 3, lambda: {"sizes": [self._size() for _ in range(rng.randint(1, 3))]}),
            ("scatter", 2, lambda: {"step": rng.randint(1, 6), "size": rng.choice([3, 600, CHUNK])}),
            ("truncate", 6, lambda: {"size": rng.choice([self._offset(), 0, 1, rng.randint(0, 12) * CHUNK])}),
            ("read", 2, lambda: {"offset": self._offset(), "size": self._size()}),
            ("fsync", 1, lambda: {"everything": rng.random() < 0.5}),
            ("release", 1.5, dict),
            ("unlink", 2, lambda: {"name": rng.choice(_NAMES)}),
            ("rename", 4, lambda: {
                "name": rng.choice(_NAMES), "where": rng.randrange(64), "new_name": rng.choice(_NAMES),
                "flags": rng.choice([0, 0, 0, 1, 2, 2, 4, 5]),
            }),
            ("checkpoint", 0.7, dict), ("begin", 3, dict), ("go_on", 8, dict), ("evict", 3, dict),
            ("forget", 1, dict), ("close", 0.7, dict), ("crash", 1, dict), ("open", 1, dict),
            ("create", 4, lambda: {
                "name": rng.choice(_NAMES), "kind": rng.choice(_KINDS), "mode": rng.choice(_MODES),
                "owner": rng.randint(0, 2),
            }),
            ("link", 2, lambda: {"where": rng.randrange(64), "name": rng.choice(_NAMES)}),
            ("rmdir", 1, lambda: {"name": rng.choice(_NAMES)}),
            ("list_directory", 1, dict),
            ("setattr", 1, lambda: {
                "mode": rng.choice(_MODES), "uid": rng.choice([None, 1, 2]), "time": rng.choice([None, 5, 2**70]),
            }),
            ("setxattr", 1, lambda: {
                "name": rng.choice(_XATTRS), "size": rng.choice([0, 1, 30, 3000]), "flags": rng.choice([0, 0, 1, 2]),
            }),
            ("removexattr", 1, lambda: {"name": rng.choice(_XATTRS)}),
        ]  # fmt: skip
        name, _, make = rng.choices(makers, [self._weight(name, weight) for name, weight, _ in makers])[0]
        arguments = make()
        if name not in ("checkpoint", "begin", "go_on", "evict", "close", "crash"):
            arguments["number"] = rng.randrange(64)
        return name, arguments

    def _weight(self, name: str, weight: float) -> float:
        if not self.files_only:
            return weight
        if name == "create":
            return 20 if sum(node.is_file for node in self.nodes) < 2 else 0.05
        rare = ("unlink", "rename", "link", "rmdir", "setattr", "setxattr", "removexattr", "list_directory")
        return weight * 0.1 if name in rare else weight

    def _offset(self) -> int:
        rng = self.rng
        near, far = rng.randint(0, 3 * CHUNK), rng.randint(0, 40 * CHUNK)
        return rng.choice([near, far, rng.randint(0, 8) * CHUNK, rng.randint(0, 40) * CHUNK])

    def _size(self) -> int:
        rng = self.rng
        return rng.choice(
            [rng.randint(1, 2 * CHUNK), rng.randint(1, 9) * CHUNK, 511, 512, 513, CHUNK - 1, CHUNK, CHUNK + 1]
        )

    def go_on(self) -> None:
        """As the machine does, but the worker's part goes on until the next step is wanted."""
        if self.threaded and self.job is not None and self.job_state == "begun":
            if self.thread is None:
                self.thread = threading.Thread(target=self.job.run)
                self.thread.start()
                return
            self.thread.join()
            self.thread = None
            self.job_state = "run"
        super().go_on()

    def crash(self) -> None:
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        super().crash()
