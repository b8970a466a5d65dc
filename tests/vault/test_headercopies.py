"""The copies of the header in the roots: kept in step while the vault is open, and never older than the vault."""

from dataclasses import replace

import pytest

from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore, Write
from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.errors import RollbackRefused
from vaultfs.format.layout import root_slot_path
from vaultfs.keys.header import Header, create, serialise
from vaultfs.keys.headerfile import load, load_from_roots, save
from vaultfs.keys.rootcopies import read_copies
from vaultfs.vault.inline import Inline
from vaultfs.vault.sealedepoch import refuse_older_header, sealed_epoch
from vaultfs.vault.vault import OpenOptions, Vault

MADE = create(b"password", kdf=Scrypt(10, 8, 1), minimum=OPEN_FLOOR)
CHUNK = MADE.header.chunk_size


def data(epoch: int, header: Header = MADE.header) -> bytes:
    return serialise(replace(header, epoch=epoch), MADE.keys.header_mac_key)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    Vault.create(made, MADE.keys, chunk_size=CHUNK, header_epoch=1)
    assert save(made, data(1)) == ()
    return made


def opened(store: MemoryStore, epoch: int = 1) -> Vault:
    return Vault.open(store, MADE.keys, OpenOptions(chunk_size=CHUNK, header_epoch=epoch))


def epoch_in_roots(store: MemoryStore) -> int:
    return sealed_epoch(store, MADE.keys, CHUNK)


def copies(store: MemoryStore) -> list[bytes]:
    return [copy for _, copy in read_copies(store)]


def change(vault: Vault, name: bytes) -> None:
    Inline(vault).create_inode(1, name, 0o100644)


def test_every_root_carries_the_header(store: MemoryStore) -> None:
    assert copies(store) == [data(1)] * 2
    vault = opened(store)
    change(vault, b"a")
    assert copies(store) == [data(1)] * 2
    vault.checkpoint()
    assert copies(store) == [data(1)] * 2
    vault.close()
    assert copies(store) == [data(1)] * 2


def test_a_header_changed_beside_an_open_vault_reaches_the_roots_at_the_next_checkpoint(store: MemoryStore) -> None:
    vault = opened(store)
    change(vault, b"a")
    save(store, data(7), roots_too=False)
    assert (copies(store), epoch_in_roots(store)) == ([data(1)] * 2, 1)
    vault.checkpoint()
    assert (copies(store), epoch_in_roots(store)) == ([data(7)] * 2, 7)
    vault.close()
    assert epoch_in_roots(store) == 7
    with pytest.raises(RollbackRefused, match="header is older"):
        opened(store, 6)
    opened(store, 7).close()


def test_it_reaches_the_roots_of_an_idle_vault_when_that_is_closed(store: MemoryStore) -> None:
    vault = opened(store)
    save(store, data(2), roots_too=False)
    vault.close()
    assert (copies(store), epoch_in_roots(store)) == ([data(2)] * 2, 2)


def test_it_reaches_the_roots_at_the_next_mount_if_the_vault_was_never_closed(store: MemoryStore) -> None:
    vault = opened(store)
    change(vault, b"a")
    save(store, data(2), roots_too=False)
    opened(store, 2).close()
    assert (copies(store), epoch_in_roots(store)) == ([data(2)] * 2, 2)


def test_lost_header_files_do_not_lose_the_copies(store: MemoryStore) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        store.delete(name)
    vault = opened(store)
    change(vault, b"a")
    vault.close()
    assert copies(store) == [data(1)] * 2
    assert load(store).rebuilt
    assert load_from_roots(store).raw == data(1)


def test_a_header_put_there_by_others_or_an_older_one_is_not_taken_up(store: MemoryStore) -> None:
    save(store, data(5))
    vault = opened(store, 5)
    for wrong in (data(4), serialise(replace(MADE.header, epoch=9), bytes(32))):
        save(store, wrong, roots_too=False)
        change(vault, wrong[-70:-60])
        vault.checkpoint()
        assert (copies(store), epoch_in_roots(store)) == ([data(5)] * 2, 5)
    vault.close()


def test_a_shorter_root_leaves_nothing_of_a_longer_header(store: MemoryStore) -> None:
    slot = MADE.slot
    many = replace(MADE.header, slots=tuple(replace(slot, id=bytes([n] * 8)) for n in range(1, 9)))
    save(store, data(2, many))
    vault = opened(store, 2)
    change(vault, b"a")
    vault.checkpoint()
    save(store, data(3), roots_too=False)
    change(vault, b"b")
    vault.close()
    for number in (0, 1):
        file = store.open(root_slot_path(number))
        assert bytes([8] * 8).hex().encode() not in file.read(file.size(), 0)


def test_a_change_of_keys_costs_the_same_at_any_size() -> None:
    costs = []
    for files in (5, 500):
        store = MemoryStore()
        Vault.create(store, MADE.keys, chunk_size=CHUNK, header_epoch=1)
        save(store, data(1))
        vault = opened(store)
        for number in range(files):
            change(vault, b"%d" % number)
        vault.close()
        recorded = RecordingStore(store)
        save(recorded, data(2))
        costs.append([type(operation) for operation in recorded.log.operations])
        assert sum(len(op.data) for op in recorded.log.operations if isinstance(op, Write)) < 5 * len(data(2))
    assert costs[0] == costs[1]


def test_refusing_an_older_header() -> None:
    refuse_older_header(3, 3)
    with pytest.raises(RollbackRefused, match="--accept-rollback"):
        refuse_older_header(2, 3)
