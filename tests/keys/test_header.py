"""The vault header: exact bytes, strict reading, and damage told from a wrong password, an attack and a newer vault."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultfs.crypto.kdf import DEFAULT, OPEN_FLOOR, Scrypt
from vaultfs.crypto.mac import hmac_sha256
from vaultfs.errors import HeaderDamaged, UnsupportedVaultVersion, WrongPassword
from vaultfs.keys.header import Header, create, parse, serialise, unlock, verify_mac
from vaultfs.keys.slots import make_slot

PASSWORD = b"correct horse"
CHEAP = Scrypt(10, 8, 1)
MADE = create(PASSWORD, kdf=CHEAP, minimum=OPEN_FLOOR)
MAC_KEY = MADE.keys.header_mac_key
DATA = serialise(MADE.header, MAC_KEY)
MEMBERS: dict[str, Any] = json.loads(DATA)
GUARDS = {"mac", "checksum"}


def guarded(text: str, mac_key: bytes = MAC_KEY) -> bytes:
    """A header file with this JSON object, and a MAC and checksum as they should be: an attacker's, or a bug's."""
    body = text.rstrip().removesuffix("}").rstrip().encode("utf-8", "surrogatepass") + b',\n  "mac": "'
    body += hmac_sha256(mac_key, body).hex().encode() + b'",\n  "checksum": "'
    return body + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    members = json.loads(DATA)
    for guard in GUARDS:
        del members[guard]
    change(members)
    return guarded(json.dumps(members, indent=2))


def test_round_trip() -> None:
    assert parse(DATA) == MADE.header
    opened = unlock(DATA, PASSWORD)
    assert opened.header == MADE.header
    assert opened.master == MADE.master
    assert opened.keys.wrap_key == MADE.keys.wrap_key
    assert opened.master.hex() not in repr(opened)
    assert repr(opened.master) not in repr(opened)


def test_it_is_one_plain_json_object_in_this_order() -> None:
    assert list(MEMBERS) == [
        "format",
        "version",
        "vault_id",
        "epoch",
        "features",
        "cipher",
        "chunk_size",
        "slots",
        "identity",
        "mac",
        "checksum",
    ]
    assert (MEMBERS["format"], MEMBERS["version"], MEMBERS["epoch"], MEMBERS["features"]) == (
        "vaultfs", 1, 1, ["inline-data"],
    )  # fmt: skip
    assert (MEMBERS["cipher"], MEMBERS["chunk_size"]) == ("AES-256-GCM", 65536)
    slot = MEMBERS["slots"][0]
    assert slot["kdf"]["name"] == "scrypt"
    assert slot["kdf"]["params"] == {"log_n": 10, "r": 8, "p": 1}
    assert DATA.isascii()


def test_the_guards_cover_the_bytes_the_docstring_says() -> None:
    mac_at = DATA.index(b'"mac": "') + len(b'"mac": "')
    assert DATA[mac_at : mac_at + 64].decode() == hmac_sha256(MAC_KEY, DATA[:mac_at]).hex()
    assert DATA[-68:] == hashlib.sha256(DATA[:-68]).hexdigest().encode() + b'"\n}\n'
    assert guarded(DATA[: DATA.index(b',\n  "mac"')].decode() + "\n}") == DATA


def test_the_default_kdf_and_a_label_round_trip() -> None:
    slot = replace(MADE.header.slots[0], kdf=DEFAULT, label="Büro 🔑", id=bytes(8))
    header = replace(MADE.header, slots=(*MADE.header.slots, slot), epoch=7, chunk_size=1 << 20)
    assert parse(serialise(header, MAC_KEY)) == header


def test_every_slot_is_tried() -> None:
    header = MADE.header
    other = make_slot(b"other password", MADE.master, header.vault_id, kdf=CHEAP, minimum=OPEN_FLOOR)
    data = serialise(replace(header, slots=(*header.slots, other)), MAC_KEY)
    assert unlock(data, PASSWORD).master == unlock(data, b"other password").master == MADE.master
    with pytest.raises(WrongPassword):
        unlock(data, b"third password")


def test_a_wrong_password_is_not_damage_and_damage_no_wrong_password() -> None:
    with pytest.raises(WrongPassword):
        unlock(DATA, b"correct house")
    wrapped = MEMBERS["slots"][0]["wrapped"].encode()
    digit = b"0" if wrapped[:1] != b"0" else b"1"
    with pytest.raises(HeaderDamaged, match="checksum"):
        unlock(DATA.replace(wrapped, digit + wrapped[1:]), PASSWORD)


def test_any_accident_to_any_byte_is_damage() -> None:
    for index in range(len(DATA)):
        for mask in (0x01, 0x20, 0xFF):
            broken = bytearray(DATA)
            broken[index] ^= mask
            with pytest.raises(HeaderDamaged):
                parse(bytes(broken))
        with pytest.raises(HeaderDamaged):
            parse(DATA[:index])
        with pytest.raises(HeaderDamaged):
            parse(DATA[:index] + DATA[index + 1 :])
    for longer in (DATA + b"\n", b"\n" + DATA, DATA.replace(b"\n", b"\r\n"), DATA * 2, b"\xef\xbb\xbf" + DATA):
        with pytest.raises(HeaderDamaged):
            parse(longer)


def test_any_attack_on_any_byte_is_refused() -> None:
    """Each byte altered and the checksum made to fit again: without the key there is no MAC to go with it."""
    end = len(DATA) - 68
    for index in range(end):
        broken = bytearray(DATA)
        broken[index] ^= 1
        broken[end : end + 64] = hashlib.sha256(broken[:end]).hexdigest().encode()
        with pytest.raises((HeaderDamaged, UnsupportedVaultVersion, WrongPassword)):
            unlock(bytes(broken), PASSWORD)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_damage(noise: bytes) -> None:
    for data in (noise, DATA[:-200] + noise, guarded(noise.decode("latin-1"))):
        with pytest.raises(HeaderDamaged):
            parse(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
places = st.sampled_from(
    [
        *[(name,) for name in MEMBERS if name not in GUARDS],
        ("slots", 0),
        *[("slots", 0, name) for name in MEMBERS["slots"][0]],
        *[("slots", 0, "kdf", name) for name in ("name", "params", "salt")],
        *[("slots", 0, "kdf", "params", name) for name in ("log_n", "r", "p")],
    ]
)


@settings(max_examples=400, deadline=None)
@given(places, json_values)
def test_any_value_anywhere_is_read_or_refused_by_name(place: tuple[Any, ...], value: object) -> None:
    def change(members: Any) -> None:
        for step in place[:-1]:
            members = members[step]
        members[place[-1]] = value

    data = changed(change)
    said = ""
    try:
        header = parse(data)
    except (HeaderDamaged, UnsupportedVaultVersion) as error:
        said = str(error)
    else:
        assert parse(serialise(header, MAC_KEY)) == header
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(extra=1), "unknown member 'extra'"),
        (lambda m: m["slots"][0].update(extra=1), "unknown member 'extra'"),
        (lambda m: m["slots"][0]["kdf"].update(extra=1), "unknown member 'extra'"),
        (lambda m: m["slots"][0]["kdf"]["params"].update(extra=1), "unknown member 'extra'"),
        (lambda m: m.pop("epoch"), "no 'epoch'"),
        (lambda m: m["slots"][0].pop("wrapped"), "no 'wrapped'"),
        (lambda m: m["slots"][0]["kdf"]["params"].pop("r"), "no 'r'"),
        (lambda m: m.update(format="gocryptfs"), '"format" is not "vaultfs"'),
        (lambda m: m.update(version=True), "version is not an integer"),
        (lambda m: m.update(version=1.0), "version is not an integer"),
        (lambda m: m.update(version="1"), "version is not an integer"),
        (lambda m: m.update(epoch=0), "epoch is not an integer from 1"),
        (lambda m: m.update(epoch=2**63), "epoch is not an integer"),
        (lambda m: m.update(features="none"), "features is not a list"),
        (lambda m: m.update(chunk_size=4096), "chunk_size is not an integer from 32768"),
        (lambda m: m.update(chunk_size=2**21), "chunk_size is not an integer"),
        (lambda m: m.update(chunk_size=65537), "chunk_size is not a power of two"),
        (lambda m: m.update(vault_id=m["vault_id"].upper() + "A"), "vault_id has not the form"),
        (lambda m: m.update(vault_id="AB" * 16), "vault_id has not the form"),
        (lambda m: m.update(vault_id="ab" * 15), "vault_id has not the form"),
        (lambda m: m.update(slots=[]), "no key slot"),
        (lambda m: m.update(slots=m["slots"] * 33), "slots is not a list of at most 32"),
        (lambda m: m.update(slots=m["slots"] * 2), "same id"),
        (lambda m: m["slots"][0].update(label="a\x1b[2J"), "label is not a text"),
        (lambda m: m["slots"][0].update(label="a" * 257), "label is not a text"),
        (lambda m: m["slots"][0].update(created="yesterday"), "creation time has not the form"),
        (lambda m: m["slots"][0].update(created="2025-13-01T00:00:00Z"), "creation time is no time there is"),
        (lambda m: m["slots"][0].update(created=m["slots"][0]["created"] + "\n"), "creation time has not the form"),
        (lambda m: m["slots"][0].update(wrapped="00" * 47), "wrapped key has not the form"),
        (lambda m: m["slots"][0]["kdf"].update(salt="00" * 15), "kdf salt has not the form"),
        (lambda m: m["slots"][0]["kdf"].update(salt="00" * 33), "kdf salt has not the form"),
        (lambda m: m["slots"][0]["kdf"]["params"].update(log_n=40), r"log2\(N\) is 40"),
        (lambda m: m["slots"][0]["kdf"]["params"].update(log_n=1), r"log2\(N\) is 1,"),
        (lambda m: m["slots"][0]["kdf"]["params"].update(log_n=-1), "kdf log_n is not an integer"),
        (lambda m: m["slots"][0]["kdf"]["params"].update(p=10**400), "kdf p is not an integer"),
    ],
)
def test_whole_but_wrong_headers_are_damage(change: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(HeaderDamaged, match=said):
        parse(changed(change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(version=2), "version 2"),
        (lambda m: (m.clear(), m.update(format="vaultfs", version=3, all_new=[])), "version 3"),
        (lambda m: m.update(features=["time-travel"]), 'feature "time-travel"'),
        (lambda m: m.update(features=["time-travel"], new_member=1), 'feature "time-travel"'),
        (lambda m: m.update(cipher="ROT-13"), 'cipher "ROT-13"'),
        (lambda m: m["slots"][0].update(type="fingerprint", new_member=1), 'key slot type "fingerprint"'),
        (lambda m: m["slots"][0]["kdf"].update(name="yescrypt"), 'KDF "yescrypt"'),
    ],
)
@pytest.mark.usefixtures("no_key_is_tried")
def test_newer_headers_are_refused_by_name(change: Callable[[dict[str, Any]], object], said: str) -> None:
    with pytest.raises(UnsupportedVaultVersion, match=said):
        unlock(changed(change), PASSWORD)


@pytest.mark.usefixtures("no_key_is_tried")
def test_a_4_tib_kdf_is_refused_at_once() -> None:
    params = {"memory_kib": 4 << 30, "passes": 1, "lanes": 1}
    data = changed(lambda m: m["slots"][0]["kdf"].update(name="argon2id", params=params))
    with pytest.raises(HeaderDamaged, match=r"memory .* is 4294967296"):
        unlock(data, PASSWORD)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"epoch": 1,', '"epoch": 1, "epoch": 1,'),
        ('"epoch": 1,', '"epoch": 1, "\\u0065poch": 2,'),
        ('"log_n": 10,', '"log_n": 10, "log_n": 24,'),
        ('"slots": [', '"mac": "", "slots": ['),
        ('"slots": [', '"checksum": "", "slots": ['),
    ],
)
def test_duplicate_members_are_refused(old: str, new: str) -> None:
    text = DATA[: DATA.index(b',\n  "mac"')].decode() + "\n}"
    assert old in text
    with pytest.raises(HeaderDamaged, match="is there twice"):
        parse(guarded(text.replace(old, new)))


@pytest.mark.parametrize("text", ["[1]", '{"a": NaN}', '{"a": ' + "[" * 20_000 + "}", "{}", '{"epoch": 1' + "0" * 5000])
def test_other_json_is_damage(text: str) -> None:
    with pytest.raises(HeaderDamaged):
        parse(guarded(text))


def test_a_header_over_64_kib_is_damage() -> None:
    text = DATA[: DATA.index(b',\n  "mac"')].decode() + "\n}"
    assert parse(guarded(text.replace("{", "{" + " " * 60_000, 1))) == MADE.header
    with pytest.raises(HeaderDamaged, match="larger than 65536 bytes"):
        parse(guarded(text.replace("{", "{" + " " * 66_000, 1)))


def test_a_header_made_without_the_key_is_refused() -> None:
    verify_mac(DATA, MAC_KEY)
    text = DATA[: DATA.index(b',\n  "mac"')].decode() + "\n}"
    forged = guarded(text.replace('"epoch": 1', '"epoch": 2'), mac_key=bytes(32))
    assert parse(forged).epoch == 2
    with pytest.raises(HeaderDamaged, match="not vaultfs"):
        unlock(forged, PASSWORD)
    with pytest.raises(HeaderDamaged, match="not vaultfs"):
        verify_mac(DATA, bytes(32))
    with pytest.raises(HeaderDamaged, match="end"):
        verify_mac(b"", MAC_KEY)


def test_a_slot_of_another_vault_opens_nothing() -> None:
    other = create(PASSWORD, kdf=CHEAP, minimum=OPEN_FLOOR)
    mixed = replace(MADE.header, slots=other.header.slots)
    with pytest.raises(WrongPassword):
        unlock(serialise(mixed, MAC_KEY), PASSWORD)


def test_a_secret_opens_only_slots_of_its_type() -> None:
    header = MADE.header
    slot = make_slot(PASSWORD, MADE.master, header.vault_id, kdf=CHEAP, kind="keyfile", minimum=OPEN_FLOOR)
    data = serialise(replace(header, slots=(*header.slots, slot)), MAC_KEY)
    assert unlock(data, PASSWORD).slot == header.slots[0]
    assert unlock(data, PASSWORD, "keyfile").slot == slot
    with pytest.raises(WrongPassword, match="no key slot for a recovery key"):
        unlock(data, PASSWORD, "recovery")


def test_a_slot_can_be_tried_last() -> None:
    header = MADE.header
    twin = make_slot(PASSWORD, MADE.master, header.vault_id, kdf=CHEAP, minimum=OPEN_FLOOR)
    data = serialise(replace(header, slots=(*header.slots, twin)), MAC_KEY)
    assert unlock(data, PASSWORD).slot == MADE.slot
    assert unlock(data, PASSWORD, avoid=MADE.slot.id).slot == twin
    assert unlock(DATA, PASSWORD, avoid=MADE.slot.id).slot == MADE.slot


def test_what_would_not_be_read_is_not_written() -> None:
    slot = MADE.header.slots[0]
    for header in (
        replace(MADE.header, chunk_size=5),
        replace(MADE.header, epoch=0),
        replace(MADE.header, slots=()),
        replace(MADE.header, slots=(replace(slot, label="a\nb"),)),
    ):
        with pytest.raises(HeaderDamaged):
            serialise(header, MAC_KEY)
    newer: Header = replace(MADE.header, cipher="later")
    with pytest.raises(UnsupportedVaultVersion):
        serialise(newer, MAC_KEY)
