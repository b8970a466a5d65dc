"""The two root slots: the newest root is durable before the older one, which nothing may need by then, is replaced."""

import errno
import stat

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, ROOT, open_inline, options
from vaultfs.format.layout import root_slot_path
from vaultfs.store.api import read_file
from vaultfs.vault.vault import Vault


def put(store: MemoryStore, path: str, data: bytes) -> None:
    file = store.open(path, write=True)
    file.write([data], 0)
    file.truncate(len(data))


def roots(store: MemoryStore) -> list[bytes]:
    return [read_file(store, root_slot_path(slot)) for slot in (0, 1)]


@pytest.fixture(params=[0, 1])
def newest(store: MemoryStore, request: pytest.FixtureRequest) -> int:
    """The slot with the newest root, of a session that was killed before it had replaced the other one."""
    slot: int = request.param
    before = roots(store)
    vault = open_inline(store)
    vault.create_inode(ROOT, b"file", stat.S_IFREG | 0o600)
    vault.vault.close()
    put(store, root_slot_path(1 - slot), before[1 - slot])
    return slot


def test_the_older_root_stays_until_the_newest_is_durable(store: MemoryStore, newest: int) -> None:
    """Whoever wrote it may have died before it was: then a power cut could take both."""
    before = roots(store)
    failing = FaultyStore(store, Fault(errno.EIO, kinds=frozenset({"sync"}), below=root_slot_path(newest)))
    with pytest.raises(OSError, match=r"Input/output error"):
        Vault.open(failing, KEYS, options())
    assert roots(store) == before


def test_both_slots_have_the_newest_root_once_it_is_opened(store: MemoryStore, newest: int) -> None:
    before = roots(store)
    vault = open_inline(store)
    assert roots(store) == [before[newest]] * 2
    assert [name for name, _ in vault.list_directory(ROOT)] == [b"file"]
