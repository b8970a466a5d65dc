"""A mount that has committed everything gives freed memory back, though small objects lie all over the heap."""

import platform
import stat
from pathlib import Path

import pytest
import trio

from tests.support.memorystore import MemoryStore
from tests.support.serving import KEYS
from vaultfs.mount import checkpointer
from vaultfs.mount.checkpointer import Checkpointer
from vaultfs.mount.workers import Workers
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault

MIB = 1 << 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library gives memory back by itself, or not")
def test_freed_memory_is_given_back_once_everything_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "_LONGEST_WAIT", 0.1)
    store = MemoryStore()
    Vault.create(store, KEYS)
    vault = Inline(Vault.open(store, KEYS))
    vault.create_inode(1, b"file", stat.S_IFREG | 0o600)
    pieces = [bytes(1000) for _ in range(200 * MIB // 1000)]
    kept = pieces[::500]
    pieces.clear()
    workers = Workers(2)
    watching = Checkpointer(vault.vault, workers)
    before = resident()

    async def watch() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watching.watch)
            watching.poke()
            with trio.move_on_after(30):
                while resident() > before - 100 * MIB:
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()

    trio.run(watch)
    workers.close()
    assert resident() < before - 100 * MIB
    assert not vault.vault.has_changes
    assert len(kept) > 400
