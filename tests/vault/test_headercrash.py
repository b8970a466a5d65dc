"""The power cut at every step of a change of keys, beside an open vault or not: a password opens, and all is there."""

import random
from dataclasses import replace

import pytest

from tests.support.crashstore import CrashSimulator, crash_states
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.errors import WrongPassword
from vaultfs.keys.header import Unlocked, create, serialise, unlock
from vaultfs.keys.headerfile import load, save
from vaultfs.keys.slotchanges import add_slot, remove_slot, replace_slot
from vaultfs.keys.slots import make_slot
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import OpenOptions, Vault

OLD, NEW = b"old password", b"new password"
CHEAP = Scrypt(10, 8, 1)
MADE = create(OLD, kdf=CHEAP, minimum=OPEN_FLOOR)
SLOT = make_slot(NEW, MADE.master, MADE.header.vault_id, kdf=CHEAP, minimum=OPEN_FLOOR)
BEFORE = {
    "add": MADE.header,
    "remove": replace(MADE.header, slots=(MADE.slot, SLOT)),
    "change": MADE.header,
}
AFTER = {
    "add": add_slot(BEFORE["add"], SLOT),
    "remove": remove_slot(BEFORE["remove"], MADE.slot.id),
    "change": replace_slot(BEFORE["change"], MADE.slot.id, SLOT),
}


def data(header: object) -> bytes:
    return serialise(header, MADE.keys.header_mac_key)  # type: ignore[arg-type]


def opened_vault(store: MemoryStore | RecordingStore, epoch: int) -> Inline:
    return Inline(Vault.open(store, MADE.keys, OpenOptions(chunk_size=MADE.header.chunk_size, header_epoch=epoch)))


class Beside(RecordingStore):
    """A store in which an open vault commits at a certain step of what another process does to the header."""

    vault: Inline | None = None
    left = 0

    def _step(self) -> None:
        if self.vault is not None:
            if self.left == 0:
                vault, self.vault = self.vault, None
                vault.create_inode(1, b"during", 0o100644)
                vault.vault.checkpoint()
                self.vault = vault
            self.left -= 1

    def rename(self, old: str, new: str) -> None:
        super().rename(old, new)
        self._step()

    def sync_folder(self, folder: str) -> None:
        if not folder:
            self._step()
        super().sync_folder(folder)


def store_with(kind: str) -> Beside:
    inner = MemoryStore()
    Vault.create(inner, MADE.keys, chunk_size=MADE.header.chunk_size, header_epoch=1)
    save(inner, data(BEFORE[kind]))
    return Beside(inner)


def opens(store: MemoryStore) -> set[bytes]:
    """The passwords that open what is left, which has to be a whole vault with the file from before."""
    loaded = load(store)
    found: dict[bytes, Unlocked] = {}
    for password in (OLD, NEW):
        try:
            found[password] = unlock(loaded.raw, password)
        except WrongPassword:
            continue
    assert found
    vault = opened_vault(store, loaded.header.epoch)
    vault.lookup(1, b"before")
    vault.vault.close()
    return set(found)


EXPECTED = {"add": ({OLD}, {OLD, NEW}), "remove": ({OLD, NEW}, {NEW}), "change": ({OLD}, {NEW})}


@pytest.mark.parametrize(
    ("kind", "commits_at", "poor"),
    [
        ("add", None, False),
        ("remove", None, True),
        ("change", None, False),
        ("change", 0, False),
        ("change", 1, True),
    ],
)
def test_a_power_cut_at_any_step(kind: str, commits_at: int | None, poor: bool) -> None:
    store = store_with(kind)
    vault = opened_vault(store, 1)
    vault.create_inode(1, b"before", 0o100644)
    vault.vault.checkpoint()
    if commits_at is None:
        vault.vault.close()
    else:
        store.vault, store.left = vault, commits_at
    start = len(store.log)
    save(store, data(AFTER[kind]), roots_too=commits_at is None)
    end = len(store.log)
    store.vault = None
    before, after = EXPECTED[kind]
    simulator, rng = CrashSimulator(store.log), random.Random(7)
    seen = []
    for at in range(start, end + 1):
        for state in crash_states(simulator, at, rng=rng, limit=8, poor=poor):
            seen.append(opens(state))
            assert seen[-1] in (before, after)
            if at == end:
                assert seen[-1] == after
    assert before in seen


@pytest.mark.parametrize("kind", list(EXPECTED))
def test_after_the_change_the_roots_alone_open_with_the_new_keys_only(kind: str) -> None:
    store = store_with(kind)
    vault = opened_vault(store, 1)
    vault.create_inode(1, b"before", 0o100644)
    vault.vault.close()
    save(store, data(AFTER[kind]))
    for state in crash_states(store.log, len(store.log), rng=random.Random(7)):
        for name in ("vaultfs.json", "vaultfs.json.backup"):
            state.delete(name)
        assert load(state).rebuilt
        assert opens(state) == EXPECTED[kind][1]
