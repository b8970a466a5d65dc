"""An error nobody foresaw (out of memory) loses nothing, at whatever line it strikes.

It may where a change is applied, and where a checkpoint begins or ends.
"""

import logging
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from types import FrameType
from typing import Any, TypeVar

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import (
    ROOT,
    SMALL_CHUNK,
    TINY,
    Snapshot,
    differences,
    new_store,
    open_inline,
    options,
    small_limits,
    snapshot,
)
from tests.vault.walker import assert_clean
from vaultfs.errors import WriteFailed
from vaultfs.vault.core import Core
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode, SetAttr

Result = TypeVar("Result")

FORGETTING = replace(
    TINY, inodes_hard=1 << 16, overlay_hard=1 << 24, direct_hard=1 << 24, journal_hard=1 << 24, inode_budget=0,
    content_budget=0, entry_budget=0, directory_budget=0, fresh_directories=2,
)  # fmt: skip
"""No checkpoint but those that are asked for, and nothing kept that is not needed."""

WITHIN = ("_apply", "_begin", "_take_over")

STEP = 7
"""Every so many lines, beginning elsewhere for each way to look at what is left."""


class Forgetful(Inline):
    """Forgets what it may before each operation, as a mount does when there is much of it."""

    def call(self, operation: Callable[[], Result]) -> Result:
        self.vault.evict()
        found = super().call(operation)
        if isinstance(found, Inode):
            self.vault.remember(found.id)
        return found


class Stumble:
    """Raises MemoryError at one line of the vault's modules, below the functions `WITHIN`; counts those it passes."""

    def __init__(self, at: int | None = None) -> None:
        self.lines = 0
        self._at = at
        self._within = False

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if "/vaultfs/vault/" not in frame.f_code.co_filename:
            return None
        if event in ("call", "return") and frame.f_code.co_name in WITHIN:
            self._within = event == "call"
        if event == "line" and self._within:
            self.lines += 1
            if self.lines == self._at:
                raise MemoryError
        return self._trace

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(before)


@pytest.fixture(autouse=True)
def _small_limits(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.CRITICAL, "vaultfs.vault")  # a vault that turns read-only says so; here that is the point
    with small_limits():
        yield


@pytest.fixture(scope="module")
def template() -> MemoryStore:
    """A store with some folders and files, of one chunk, of many, and in their entries."""
    with small_limits():
        store = new_store()
        vault = open_inline(store)
        for folder in (b"p", b"q", b"r"):
            parent = vault.create_inode(ROOT, folder, stat.S_IFDIR | 0o700).id
            for name, size in ((b"tiny", 20), (b"small", 300), (b"chunk", SMALL_CHUNK), (b"large", 9 * SMALL_CHUNK)):
                vault.write(vault.create_inode(parent, name, 0o100600).id, 0, (folder + name) * (size // 4))
        vault.vault.close()
    return store


Operation = Callable[[Inline], object]


def changes(mark: bytes) -> list[Operation]:
    """Something of every kind, different for each mark; each is one record."""

    def make(path: bytes, mode: int) -> Operation:
        folder, _, name = path.rpartition(b"/")
        return lambda vault: vault.create_inode(vault.walk(folder).id, name, mode)

    def write(path: bytes, offset: int, data: bytes) -> Operation:
        return lambda vault: vault.write(vault.walk(path).id, offset, data)

    gone = b"tiny" if mark == b"1" else b"small"
    cut, mode = SetAttr(size=SMALL_CHUNK + 9), SetAttr(mode=0o640)
    return [
        make(b"p/new" + mark, 0o100600),
        write(b"p/new" + mark, 0, mark * 5000),
        make(b"q/deep" + mark, 0o40700),
        make(b"q/deep" + mark + b"/file", 0o100600),
        write(b"q/deep" + mark + b"/file", 0, mark),
        write(b"p/tiny", 9, mark * 700),
        write(b"p/large", 4 * SMALL_CHUNK + 5, mark * 700),
        write(b"q/chunk", 0, mark * 3),
        lambda vault: vault.setattr(vault.walk(b"q/large").id, cut),
        lambda vault: vault.setattr(vault.walk(b"q/large").id, mode),
        *renaming(mark),
        make(b"p/small", 0o100600),
        lambda vault: vault.link(vault.walk(b"r/large").id, vault.walk(b"q").id, b"link" + mark),
        lambda vault: vault.unlink(vault.walk(b"r").id, gone),
    ]


def renaming(mark: bytes) -> list[Operation]:
    """Names only, of what was there before."""
    return [
        lambda vault: vault.rename(vault.walk(b"p").id, b"small", vault.walk(b"q").id, b"moved" + mark),
        lambda vault: vault.unlink(vault.walk(b"r").id, b"chunk") if mark == b"1" else None,
    ]


def change(vault: Inline, operations: list[Operation]) -> None:
    for operation in operations:
        operation(vault)


def about_to_begin(vault: Inline) -> Callable[[], object]:
    """There are changes; what begins their checkpoint."""
    change(vault, changes(b"1"))
    return vault.vault.begin_checkpoint


def about_to_begin_with_names(vault: Inline) -> Callable[[], object]:
    """The same with other names, and nothing else."""
    change(vault, renaming(b"1"))
    return vault.vault.begin_checkpoint


def about_to_end(vault: Inline) -> Callable[[], object]:
    """There are changes in a checkpoint that is durable, and others after it; what takes it over into memory."""
    change(vault, changes(b"1"))
    job = vault.vault.begin_checkpoint()
    assert job is not None
    job.run()
    change(vault, changes(b"2"))
    return job.finish


@pytest.mark.parametrize("kind", [Inline, Forgetful])
@pytest.mark.parametrize("prepare", [about_to_begin, about_to_begin_with_names, about_to_end])
def test_wherever_it_strikes(
    template: MemoryStore, prepare: Callable[[Inline], Callable[[], object]], kind: type[Inline]
) -> None:
    stumble = Stumble()
    vault = open_inline(template.copy(), options(settings=FORGETTING))
    step = prepare(vault)
    with stumble.watching():
        assert step()
    assert stumble.lines > 100, "or nothing is tried"
    struck = 0
    for line in range(1 + (kind is Forgetful), stumble.lines + 1, STEP):
        struck += strike(template.copy(), prepare, kind, line)
    assert struck > 10


def strike(
    store: MemoryStore, prepare: Callable[[Inline], Callable[[], object]], kind: type[Inline], line: int
) -> bool:
    """Let it strike at one line; True if that stopped the vault, which then reads as before, and so does the next."""
    vault = kind(open_inline(store, options(settings=FORGETTING)).vault)
    step = prepare(vault)
    before = snapshot(vault)
    with Stumble(line).watching():
        done = step()
    stopped = bool(vault.vault.read_only_reason)
    assert stopped or done, f"line {line}: it failed, and nobody was told"
    assert not differences(before, snapshot(vault)), f"line {line}"
    vault.vault.close()
    again = open_inline(store)
    assert not differences(before, snapshot(again)), f"line {line}, mounted again"
    again.vault.close()
    assert_clean(store)
    return stopped


def test_wherever_it_strikes_a_change(template: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vault stops, and the next one has the change whole: it was in the journal already."""
    operations = changes(b"1")
    wanted = states_after(template.copy(), operations, monkeypatch)
    stumble = Stumble()
    vault = open_inline(template.copy(), options(settings=FORGETTING))
    with stumble.watching():
        change(vault, operations)
    assert stumble.lines > 100, "or nothing is tried"
    for line in range(1, stumble.lines + 1, STEP):
        store = template.copy()
        tick_from_here(monkeypatch)
        vault = open_inline(store, options(settings=FORGETTING))
        with Stumble(line).watching():
            done = done_until_it_fails(vault, operations)
        assert vault.vault.read_only_reason
        vault.vault.close()
        again = open_inline(store)
        assert not differences(wanted[done], snapshot(again)), f"line {line}"
        again.vault.close()
        assert_clean(store)


def done_until_it_fails(vault: Inline, operations: list[Operation]) -> int:
    """How many of the operations were done."""
    for number, operation in enumerate(operations):
        try:
            operation(vault)
        except WriteFailed:
            return number
    return len(operations)


def states_after(
    store: MemoryStore, operations: list[Operation], monkeypatch: pytest.MonkeyPatch
) -> list[Snapshot]:
    """What the vault shows after each operation."""
    tick_from_here(monkeypatch)
    vault = open_inline(store, options(settings=FORGETTING))
    shots = []
    for operation in operations:
        operation(vault)
        shots.append(snapshot(vault))
    return shots


def tick_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the vault's clock give the same times again."""
    ticks = count(10**18)
    monkeypatch.setattr(Core, "now", staticmethod(lambda: next(ticks)))
