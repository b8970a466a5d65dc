"""Adding, removing and replacing key slots: each change one epoch later, and never the last key gone."""

from dataclasses import replace

import pytest

from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.errors import LastKey, UsageError, WrongPassword
from vaultfs.keys.header import Header, create, serialise, unlock
from vaultfs.keys.identity import Identity, open_identity
from vaultfs.keys.slotchanges import add_slot, change_identity, find_slot, remove_slot, replace_slot
from vaultfs.keys.slots import KeySlot, make_slot

CHEAP = Scrypt(10, 8, 1)
MADE = create(b"first", kdf=CHEAP, minimum=OPEN_FLOOR)
FIRST = MADE.slot


def slot(secret: bytes, label: str = "") -> KeySlot:
    return make_slot(secret, MADE.master, MADE.header.vault_id, kdf=CHEAP, label=label, minimum=OPEN_FLOOR)


def data(header: Header) -> bytes:
    return serialise(header, MADE.keys.header_mac_key)


def test_every_change_is_one_epoch_later() -> None:
    second, third = slot(b"second"), slot(b"third")
    header = add_slot(MADE.header, second)
    assert (header.epoch, header.slots) == (2, (FIRST, second))
    header = replace_slot(header, FIRST.id, third)
    assert (header.epoch, header.slots) == (3, (third, second))
    with pytest.raises(WrongPassword):
        unlock(data(header), b"first")
    assert unlock(data(header), b"third").master == unlock(data(header), b"second").master == MADE.master
    header = remove_slot(header, third.id)
    assert (header.epoch, header.slots) == (4, (second,))
    with pytest.raises(WrongPassword):
        unlock(data(header), b"third")
    with pytest.raises(LastKey, match="only key"):
        remove_slot(header, second.id)


def test_there_are_at_most_32_slots() -> None:
    header = MADE.header
    for _ in range(31):
        header = add_slot(header, replace(FIRST, id=header.epoch.to_bytes(8)))
    with pytest.raises(UsageError, match="32 key slots"):
        add_slot(header, slot(b"one more"))


def test_a_slot_is_found_by_number_label_and_id() -> None:
    second, twin = slot(b"second", "home"), slot(b"third", "home")
    header = add_slot(MADE.header, second)
    assert find_slot(header, "1") == FIRST
    assert find_slot(header, "2") == find_slot(header, "home") == second
    assert find_slot(header, second.id.hex()) == find_slot(header, second.id.hex()[:4].upper()) == second
    for name in ("0", "3", "work", second.id.hex()[:3], ""):
        with pytest.raises(UsageError, match="no key slot"):
            find_slot(header, name)
    with pytest.raises(UsageError, match="2 key slots"):
        find_slot(add_slot(header, twin), "home")


def test_label_and_owner_can_change() -> None:
    header = change_identity(MADE, Identity("Family", "Ada"))
    assert header.epoch == 2
    opened = unlock(data(header), b"first")
    assert open_identity(opened.keys, opened.header.identity) == Identity("Family", "Ada")
    with pytest.raises(UsageError):
        change_identity(MADE, Identity("x" * 257))
