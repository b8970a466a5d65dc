"""What every test is held to: no unexpected warning logged; no mount, thread or descriptor left behind."""

import gc
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

Found = TypeVar("Found")

# A shell that starts the tests in the background has them ignore SIGINT, and programs they start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GRACE_SECONDS = 2.0
"""How long a test's threads and mounts may take to end once the test itself has."""


class _Warnings(logging.Handler):
    """Keeps every record from WARNING up."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.levelname} {record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def expect_log(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Fail on a warning from vaultfs that no pattern matches, and on a pattern no warning matched.

    Patterns come from `@pytest.mark.expects_log("regex", …)`, or from calling the fixture's value with one.
    """
    patterns: list[str] = [
        pattern for marker in request.node.iter_markers("expects_log") for pattern in marker.args
    ]
    handler = _Warnings()
    logger = logging.getLogger("vaultfs")
    logger.addHandler(handler)
    yield patterns.append
    logger.removeHandler(handler)
    unexpected = [text for text in handler.messages if not any(re.search(pattern, text) for pattern in patterns)]
    missing = [pattern for pattern in patterns if not any(re.search(pattern, text) for text in handler.messages)]
    if unexpected:
        pytest.fail("unexpected log: " + "; ".join(unexpected))
    if missing:
        pytest.fail("expected, but not logged: " + "; ".join(missing))


def _mounts_below(folder: Path) -> set[str]:
    """Mountpoints below `folder` (proc(5): /proc/self/mountinfo writes blanks and newlines in octal)."""
    points = {line.split(b" ")[4] for line in Path("/proc/self/mountinfo").read_bytes().splitlines()}
    plain = {os.fsdecode(re.sub(rb"\\(\d{3})", lambda code: bytes((int(code[1], 8),)), point)) for point in points}
    return {point for point in plain if point.startswith(f"{folder}/")}


def _unmount(points: set[str]) -> list[str]:
    """Detach what should not be there; what to say about it."""
    for point in points:
        subprocess.run(["umount", "--lazy", point], check=False)
    return [f"mount {point}" for point in sorted(points)]


@pytest.fixture(autouse=True, scope="session")
def leave_no_mounts_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail when a fixture shared by several tests leaves its mount."""
    yield
    left = _unmount(_settled(lambda: _mounts_below(tmp_path_factory.getbasetemp()), lambda found: not found))
    if left:
        pytest.fail("left behind at the end: " + "; ".join(left))


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if not thread.daemon}


def _descriptors() -> dict[int, str]:
    """Open descriptors of this process and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the one that listed the folder
    return found


def _settled(probe: Callable[[], Found], is_clean: Callable[[Found], bool]) -> Found:
    """Probe until clean, or until the grace period is over; the last answer."""
    deadline = time.monotonic() + GRACE_SECONDS
    while not is_clean(found := probe()) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
    return found


@pytest.fixture(autouse=True)
def leave_nothing_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail when the test leaves a mount below its temporary folder, a thread, or an open descriptor."""
    base = tmp_path_factory.getbasetemp()
    mounts, threads, descriptors = _mounts_below(base), _threads(), _descriptors()
    yield
    left = _unmount(_settled(lambda: _mounts_below(base) - mounts, lambda found: not found))
    left += [f"thread {thread.name}" for thread in _settled(lambda: _threads() - threads, lambda found: not found)]
    now = _settled(_descriptors, lambda found: len(found) <= len(descriptors))
    if len(now) > len(descriptors):
        left += [f"descriptor {what}" for number, what in now.items() if descriptors.get(number) != what]
    if left:
        pytest.fail("left behind: " + "; ".join(left))
