"""Key slots: only the right password, in the right vault, with the right costs, opens one."""

import re
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from vaultfs.crypto.kdf import OPEN_FLOOR, Argon2id, Kdf, Scrypt
from vaultfs.errors import HeaderDamaged, OpenError, UsageError, WrongPassword
from vaultfs.keys.slots import KeySlot, make_slot, open_slot

MASTER = bytes(range(32))
VAULT_ID = bytes(range(100, 116))
PASSWORD = b"correct horse"
CHEAP = Scrypt(10, 8, 1)


def cheap_slot(kdf: Kdf = CHEAP) -> KeySlot:
    return make_slot(PASSWORD, MASTER, VAULT_ID, kdf=kdf, label="mine", minimum=OPEN_FLOOR)


CHEAP_SLOT = cheap_slot()


@pytest.mark.parametrize("kdf", [CHEAP, Argon2id(8 << 10, 1, 2)])
def test_a_slot_opens_with_its_password_alone(kdf: Kdf) -> None:
    slot = cheap_slot(kdf)
    assert open_slot(slot, PASSWORD, VAULT_ID) == MASTER
    for wrong in (b"", b"correct hors", b"correct horse ", b"Correct horse"):
        with pytest.raises(WrongPassword):
            open_slot(slot, wrong, VAULT_ID)


def test_slots_hold_fresh_randomness() -> None:
    one, other = cheap_slot(), cheap_slot()
    assert one.id != other.id
    assert one.salt != other.salt
    assert one.wrapped != other.wrapped
    assert (one.type, one.label, one.kdf) == ("password", "mine", CHEAP)
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.created)


def test_a_slot_is_bound_to_its_vault_id_type_salt_and_costs() -> None:
    slot = cheap_slot()
    with pytest.raises(WrongPassword):
        open_slot(slot, PASSWORD, bytes(16))
    for altered in (
        replace(slot, id=bytes(8)),
        replace(slot, type="recovery"),
        replace(slot, salt=bytes(16)),
        replace(slot, salt=slot.salt + b"\0"),
        replace(slot, kdf=Scrypt(11, 8, 1)),
        replace(slot, kdf=Scrypt(10, 9, 1)),
        replace(slot, kdf=Scrypt(10, 8, 2)),
        replace(slot, wrapped=slot.wrapped[:-1] + bytes([slot.wrapped[-1] ^ 1])),
        replace(slot, wrapped=b""),
    ):
        with pytest.raises(WrongPassword):
            open_slot(altered, PASSWORD, VAULT_ID)


@pytest.mark.parametrize(
    "kdf",
    [Argon2id(4 << 30, 3, 4), Argon2id(256 << 10, 10**12, 4), Argon2id(64, 1, 1), Scrypt(30, 8, 1), Scrypt(5, 8, 1)],
)
@pytest.mark.usefixtures("no_key_is_tried")
def test_absurd_costs_are_refused_before_they_are_paid(kdf: Kdf) -> None:
    with pytest.raises(HeaderDamaged, match=r"refused: .* must be between"):
        open_slot(replace(CHEAP_SLOT, kdf=kdf), PASSWORD, VAULT_ID)


@pytest.mark.parametrize("kdf", [Argon2id((64 << 10) - 1, 3, 4), Argon2id(4 << 30, 3, 4), CHEAP, Scrypt(15, 8, 1)])
def test_new_slots_need_real_costs(kdf: Kdf) -> None:
    with pytest.raises(UsageError, match="must be between"):
        make_slot(PASSWORD, MASTER, VAULT_ID, kdf=kdf)


def test_missing_memory_is_said() -> None:
    slot = replace(cheap_slot(), kdf=Argon2id(3 << 20, 1, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    try:
        with pytest.raises(OpenError, match="not enough memory"):
            open_slot(slot, PASSWORD, VAULT_ID)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_repr_shows_neither_salt_nor_wrapped_key() -> None:
    slot = cheap_slot()
    assert repr(slot.salt) not in repr(slot)
    assert repr(slot.wrapped) not in repr(slot)
