"""Nothing that goes wrong between requests, or in one that nobody waits for, ends a mount."""

import errno
import logging
import os
import stat
import threading
from collections.abc import Iterator
from functools import partial
from typing import cast

import pyfuse3
import pytest
import trio

from tests.support.faultystore import FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.serving import KEYS
from vaultfs.errors import Damaged, NoSpace
from vaultfs.mount import settling
from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.operations import VaultOperations
from vaultfs.mount.runner import Runner
from vaultfs.mount.session import _between_requests
from vaultfs.mount.settling import Settler
from vaultfs.mount.syncing import Syncer
from vaultfs.mount.workers import Workers
from vaultfs.vault.core import Core
from vaultfs.vault.inline import Inline
from vaultfs.vault.journal import Journal
from vaultfs.vault.vault import Vault

ROOT = 1


def opened(operations: VaultOperations, inode: int, flags: int) -> pyfuse3.FileInfo:
    context = cast(pyfuse3.RequestContext, None)  # opening does not ask who asks
    return trio.run(partial(operations.open, inode, flags, context))


@pytest.fixture
def operations(vault: Vault) -> Iterator[VaultOperations]:
    workers = Workers(1)
    yield VaultOperations(vault, Runner(workers, Checkpointer(vault, workers)), workers)
    workers.close()


@pytest.fixture
def vault() -> Vault:
    store = MemoryStore()
    Vault.create(store, KEYS)
    vault = Vault.open(store, KEYS)
    vault.create_inode(ROOT, b"first", stat.S_IFREG | 0o600, 0, 0)
    vault.hold_changes()
    return vault


def test_what_nobody_foresaw_between_requests_turns_the_vault_read_only(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs")
    vault.create_inode(ROOT, b"held", stat.S_IFREG | 0o600, 0, 0)

    def fail(_: Journal) -> None:
        raise MemoryError

    with monkeypatch.context() as patches:
        patches.setattr(Journal, "write_held", fail)
        for _ in range(3):
            _between_requests(vault)
    assert vault.read_only
    assert vault.lookup(ROOT, b"held")


@pytest.mark.parametrize(
    "error", [Damaged("a table is broken"), OSError(errno.EIO, "no disk"), RuntimeError("a mistake")]
)
def test_an_error_in_what_is_forgotten_leaves_no_handler(
    operations: VaultOperations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs")
    forgotten: list[int] = []

    def forget(_: Vault, inode: int, count: int) -> None:
        if not forgotten:
            forgotten.append(0)
            raise error
        forgotten.append(inode)

    monkeypatch.setattr(Vault, "forget", forget)
    trio.run(operations.forget, [(7, 1), (8, 1), (9, 2)])
    assert forgotten == [0, 8, 9]


@pytest.mark.expects_log("the disk is gone")
def test_nothing_is_opened_for_writing_in_a_vault_turned_read_only(vault: Vault, operations: VaultOperations) -> None:
    """What is written into the kernel's cache would look as if it were kept."""
    inode = vault.lookup(ROOT, b"first").id
    opened(operations, inode, os.O_RDWR)
    vault.give_up("the disk is gone")
    opened(operations, inode, os.O_RDONLY)
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_WRONLY | os.O_TRUNC):
        with pytest.raises(pyfuse3.FUSEError) as caught:
            opened(operations, inode, flags)
        assert caught.value.errno == errno.EROFS
    assert operations.open_handles == 2


@pytest.mark.parametrize("told", [True, False])
def test_a_file_that_is_emptied_has_the_times_the_kernel_knows(
    vault: Vault, operations: VaultOperations, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """The kernel stamps it too, by a clock that may be a tick ahead, and says so only if that changed its own times."""
    made = vault.lookup(ROOT, b"first")
    vault.write(made.id, 0, b"content")
    if told:
        operations._timed.add(made.id)
    for seconds in (0.004, -0.004, 1.0):
        before = vault.getattr(made.id)
        now = before.mtime + int(seconds * 1e9)
        monkeypatch.setattr(Core, "now", staticmethod(lambda now=now: now))
        opened(operations, made.id, os.O_WRONLY | os.O_TRUNC)
        after = vault.getattr(made.id)
        changes = seconds == 1.0 and not told
        assert (after.size, after.mtime, after.ctime) == (0, *((now, now) if changes else (before.mtime, before.ctime)))


class _SlowToDelete(FaultyStore):
    """From `begin` on a deletion waits until it is told to go on."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.deleting, self.go_on = threading.Event(), threading.Event()

    def delete(self, path: str) -> None:
        if path.startswith("objects/"):
            self.deleting.set()
            assert self.go_on.wait(30)
        super().delete(path)


def test_settling_waits_for_a_checkpoint_that_is_cleaning_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow disk that takes longer than any number of looks."""
    monkeypatch.setattr(settling, "_ROUNDS", 2)
    store = MemoryStore()
    Vault.create(store, KEYS)
    slow = _SlowToDelete(store)
    vault = Inline(Vault.open(slow, KEYS))
    for content in (b"1", b"2"):
        inode = vault.create_inode(ROOT, content, stat.S_IFREG | 0o600).id
        vault.write(inode, 0, content * 300_000)
    assert vault.vault.checkpoint()
    vault.unlink(ROOT, b"1")
    workers = Workers(2)
    checkpointer = Checkpointer(vault.vault, workers)
    settler = Settler(vault.vault, checkpointer, Syncer(vault.vault, Runner(workers, checkpointer)))

    async def settle() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(checkpointer.checkpoint)
            await trio.to_thread.run_sync(slow.deleting.wait, 30)
            nursery.start_soon(settler.settle)
            await trio.sleep(0.3)
            slow.go_on.set()

    trio.run(settle)
    workers.close()
    assert not [name for name in store.names("journal") if name != "ballast"]


@pytest.mark.expects_log("ballast was released")
def test_settling_a_full_store_says_that_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_LONGEST", 5.0)
    store = MemoryStore(capacity=64 << 20)
    Vault.create(store, KEYS)
    vault = Inline(Vault.open(store, KEYS))
    inode = vault.create_inode(ROOT, b"file", stat.S_IFREG | 0o600).id
    vault.write(inode, 0, b"x" * 100)
    while vault.vault._core.make_room():
        pass
    store.take(store.space().available // 4096)
    workers = Workers(2)
    checkpointer = Checkpointer(vault.vault, workers)
    settler = Settler(vault.vault, checkpointer, Syncer(vault.vault, Runner(workers, checkpointer)))
    with pytest.raises(NoSpace):
        trio.run(settler.settle)
    workers.close()
