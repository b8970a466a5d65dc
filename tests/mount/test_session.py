"""Nothing that goes wrong between requests, or in one that nobody waits for, ends a mount."""

import errno
import logging
import stat

import pytest
import trio

from tests.support.memorystore import MemoryStore
from tests.support.serving import KEYS
from vaultfs.errors import Damaged
from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.operations import VaultOperations
from vaultfs.mount.runner import Runner
from vaultfs.mount.session import _between_requests
from vaultfs.mount.workers import Workers
from vaultfs.vault.journal import Journal
from vaultfs.vault.vault import Vault

ROOT = 1


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
    vault: Vault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs")
    forgotten: list[int] = []

    def forget(_: Vault, inode: int, count: int) -> None:
        if not forgotten:
            forgotten.append(0)
            raise error
        forgotten.append(inode)

    monkeypatch.setattr(Vault, "forget", forget)
    workers = Workers(1)
    operations = VaultOperations(vault, Runner(workers, Checkpointer(vault, workers)), workers)
    trio.run(operations.forget, [(7, 1), (8, 1), (9, 2)])
    workers.close()
    assert forgotten == [0, 8, 9]
