"""Syncs that come while one is under way share the next one, and its failure."""

import errno
import stat
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, ROOT, new_store
from vaultfs.errors import WriteFailed
from vaultfs.format.constants import CHUNK_SIZE_DEFAULT
from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.runner import Runner
from vaultfs.mount.syncing import Syncer
from vaultfs.mount.workers import Workers
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault

PATIENCE = 30.0  # seconds


class SlowJournal(FaultyStore):
    """From `begin` on the first sync of a journal waits for `go_on`; `syncs` counts them."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner)
        self.waiting, self.go_on = threading.Event(), threading.Event()
        self.syncs: int | None = None

    def begin(self, *faults: Fault) -> None:
        self.syncs = 0
        self.faults.extend(faults)

    def struck(self, kind: str, path: str) -> Fault | None:
        if self.syncs is not None and kind == "sync" and path.startswith("journal/"):
            self.syncs += 1
            self.waiting.set()
            assert self.go_on.wait(PATIENCE)
        return super().struck(kind, path)


@pytest.fixture
def store() -> SlowJournal:
    return SlowJournal(new_store(CHUNK_SIZE_DEFAULT))


@pytest.fixture
def vault(store: SlowJournal) -> Inline:
    vault = Inline(Vault.open(store, KEYS))
    vault.create_inode(ROOT, b"first change", stat.S_IFREG | 0o600)
    return vault


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(4)
    yield workers
    workers.close()


def sync_three_files(store: SlowJournal, vault: Inline, workers: Workers) -> list[str]:
    """Sync one file, and two more while that is under way; how each ended."""
    syncer = Syncer(vault.vault, Runner(workers, Checkpointer(vault.vault, workers)))
    ends = ["never"] * 3

    async def sync(number: int) -> None:
        inode = vault.create_inode(ROOT, b"%d" % number, stat.S_IFREG | 0o600).id
        vault.write(inode, 0, b"x" * 1000)
        try:
            await syncer.sync(inode)
            ends[number] = "durable"
        except WriteFailed:
            ends[number] = "failed"

    async def main() -> None:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sync, 0)
                while not store.waiting.is_set():
                    await trio.sleep(0.001)
                nursery.start_soon(sync, 1)
                nursery.start_soon(sync, 2)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert ends == ["never"] * 3
                store.go_on.set()
        assert syncer.is_idle

    trio.run(main)
    return ends


def test_those_that_come_meanwhile_share_the_next_one(store: SlowJournal, vault: Inline, workers: Workers) -> None:
    store.begin()
    assert sync_three_files(store, vault, workers) == ["durable"] * 3
    assert store.syncs == 2


@pytest.mark.expects_log("the journal could not be synced")
def test_all_who_share_one_that_fails_are_told(store: SlowJournal, vault: Inline, workers: Workers) -> None:
    store.begin(Fault(errno.EIO, at=1, kinds=frozenset({"sync"}), below="journal/"))
    assert sync_three_files(store, vault, workers) == ["durable", "failed", "failed"]
    assert store.syncs == 2
    assert vault.vault.read_only


@pytest.mark.expects_log("the journal could not be synced")
def test_one_that_fails_is_not_made_good_by_the_next(store: SlowJournal, vault: Inline, workers: Workers) -> None:
    """The kernel may throw away what it could not write, and reports success for what is left (fsync(2))."""
    store.begin(Fault(errno.EIO, at=0, kinds=frozenset({"sync"}), below="journal/"))
    assert sync_three_files(store, vault, workers) == ["failed"] * 3
    assert vault.vault.read_only
