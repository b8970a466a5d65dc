"""The header's way through a change of the master key."""

import json
from dataclasses import replace

import pytest

from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.errors import HeaderDamaged, UnsupportedVaultVersion, WrongPassword
from vaultfs.keys.header import create, keys_of, parse, serialise, unlock
from vaultfs.keys.hierarchy import VaultKeys, unwrap_previous, wrap_previous
from vaultfs.keys.identity import Identity, open_identity
from vaultfs.keys.rekey import begin, carry_over, finish

PASSWORD = b"the password"
CHEAP = Scrypt(10, 8, 1)
MADE = create(PASSWORD, kdf=CHEAP, identity=Identity("label", "owner"), minimum=OPEN_FLOOR)
FRESH = begin(MADE)
SLOT = carry_over(MADE.slot, PASSWORD, FRESH, CHEAP, OPEN_FLOOR)
BEGUN = FRESH._replace(header=replace(FRESH.header, slots=(SLOT,)))
RAW = serialise(BEGUN.header, BEGUN.keys.header_mac_key)


def test_the_header_on_the_way_opens_with_both_keys() -> None:
    found = unlock(RAW, PASSWORD)
    assert found.header == parse(RAW) == BEGUN.header
    assert found.header.features == ("inline-data", "rekey")
    assert found.header.epoch == MADE.header.epoch + 1
    assert found.master == BEGUN.master != MADE.master
    assert found.keys.is_same(BEGUN.keys)
    assert found.keys.previous is not None
    assert found.keys.previous.is_same(MADE.keys)
    assert open_identity(found.keys, found.header.identity) == Identity("label", "owner")


def test_the_old_key_learns_nothing_of_the_new_one() -> None:
    assert MADE.master not in RAW
    with pytest.raises(HeaderDamaged):
        keys_of(RAW, MADE.master)
    with pytest.raises(HeaderDamaged):
        unwrap_previous(MADE.master, BEGUN.header.previous, BEGUN.header.vault_id)
    with pytest.raises(HeaderDamaged):
        open_identity(MADE.keys, BEGUN.header.identity)


def test_the_last_header_has_nothing_of_the_old_key() -> None:
    header = finish(BEGUN.header)
    raw = serialise(header, BEGUN.keys.header_mac_key)
    assert (header.features, header.previous) == (("inline-data",), b"")
    assert header.epoch == MADE.header.epoch + 2
    assert unlock(raw, PASSWORD).keys.previous is None
    assert set(json.loads(raw)) == set(json.loads(serialise(MADE.header, MADE.keys.header_mac_key)))


def test_a_second_change_does_not_begin_within_the_first() -> None:
    with pytest.raises(HeaderDamaged, match="under way"):
        begin(unlock(RAW, PASSWORD))


def test_a_wrong_password_opens_neither() -> None:
    with pytest.raises(WrongPassword):
        unlock(RAW, b"another")


@pytest.mark.parametrize("change", ["no flag", "no member", "short", "twice", "another flag"])
def test_flag_and_member_belong_together(change: str) -> None:
    text = RAW.decode()
    lines = {
        "no flag": (',\n    "rekey"', ""),
        "no member": (f'  "previous": "{BEGUN.header.previous.hex()}",\n', ""),
        "short": (BEGUN.header.previous.hex(), BEGUN.header.previous.hex()[:-2]),
        "twice": ('    "rekey"', '    "rekey",\n    "rekey"'),
        "another flag": ('    "rekey"', '    "rekey",\n    "more"'),
    }
    old, new = lines[change]
    assert text.count(old) == 1
    body = text.replace(old, new).partition('",\n  "checksum": "')[0] + '",\n  "checksum": "'
    from vaultfs.crypto.mac import sha256

    altered = body.encode() + sha256(body.encode()).hex().encode() + b'"\n}\n'
    with pytest.raises(UnsupportedVaultVersion if change == "another flag" else HeaderDamaged):
        parse(altered)


def test_the_previous_key_is_bound_to_the_vault() -> None:
    wrapped = wrap_previous(bytes(32), bytes(range(32)), bytes(16))
    assert unwrap_previous(bytes(32), wrapped, bytes(16)) == bytes(range(32))
    assert len(wrapped) == 48
    for master, vault_id in ((bytes(31) + b"x", bytes(16)), (bytes(32), bytes(15) + b"x")):
        with pytest.raises(HeaderDamaged):
            unwrap_previous(master, wrapped, vault_id)


def test_wiped_keys_take_the_previous_ones_along() -> None:
    vault_id = bytes(16)
    keys = VaultKeys.from_master(vault_id, bytes(32), VaultKeys.from_master(vault_id, bytes(range(32))))
    previous = keys.previous
    assert previous is not None
    keys.wipe()
    assert not hasattr(previous, "wrap_key")
