"""Password hashing: the RFCs' vectors, the libraries against each other, and costs refused before they are paid."""

import resource
from pathlib import Path

import pytest
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as OtherArgon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt as OtherScrypt
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultfs.crypto.kdf import CREATE_FLOOR, DEFAULT, OPEN_FLOOR, Argon2id, CostError, Kdf, Scrypt


@pytest.mark.parametrize(
    ("password", "salt", "costs", "key"),
    [
        # RFC 7914 section 12, the first 32 of 64 bytes: PBKDF2 gives them as its first block.
        (b"password", b"NaCl", Scrypt(10, 8, 16), "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"),
        (
            b"pleaseletmein",
            b"SodiumChloride",
            Scrypt(14, 8, 1),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
        ),
    ],
)
def test_scrypt_of_rfc_7914(password: bytes, salt: bytes, costs: Scrypt, key: str) -> None:
    assert costs.derive(password, salt).hex() == key


def test_argon2id_of_rfc_9106() -> None:
    # Section 5.3 uses a secret and associated data, which only `cryptography` takes; it is the reference below.
    reference = OtherArgon2id(
        salt=b"\x02" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\x04" * 12, secret=b"\x03" * 8
    )
    key = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    assert reference.derive(b"\x01" * 32).hex() == key


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=80), st.binary(min_size=16, max_size=32), st.integers(1, 3), st.integers(1, 4))
def test_argon2id_libraries_agree(password: bytes, salt: bytes, passes: int, lanes: int) -> None:
    reference = OtherArgon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=256)
    assert Argon2id(256, passes, lanes).derive(password, salt) == reference.derive(password)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=80), st.binary(min_size=16, max_size=32), st.integers(1, 8), st.integers(1, 9))
def test_scrypt_libraries_agree(password: bytes, salt: bytes, log_n: int, r: int) -> None:
    reference = OtherScrypt(salt=salt, length=32, n=1 << log_n, r=r, p=2)
    assert Scrypt(log_n, r, 2).derive(password, salt) == reference.derive(password)


def test_every_cost_changes_the_key() -> None:
    costs: list[Kdf] = [
        Argon2id(64, 1, 1),
        Argon2id(128, 1, 1),
        Argon2id(64, 2, 1),
        Argon2id(64, 1, 2),
        Scrypt(4, 8, 1),
        Scrypt(5, 8, 1),
        Scrypt(4, 9, 1),
        Scrypt(4, 8, 2),
    ]
    assert len({cost.derive(b"password", b"salt" * 4) for cost in costs}) == len(costs)


def test_it_is_argon2_in_its_id_variant() -> None:
    other = hash_secret_raw(b"password", b"salt" * 4, 1, 64, 1, 32, Type.I)
    assert Argon2id(64, 1, 1).derive(b"password", b"salt" * 4) != other


@pytest.mark.parametrize(
    "costs",
    [
        Argon2id(4 << 30, 3, 4),  # 4 TiB
        Argon2id((4 << 20) + 1, 1, 1),
        Argon2id(1 << 20, 65, 4),
        Argon2id(1 << 20, 10**18, 4),
        Argon2id(1 << 20, 1, 65),
        Argon2id(1 << 20, 0, 4),
        Argon2id(1 << 20, 1, 0),
        Argon2id((8 << 10) - 1, 1, 1),
        Argon2id(-1, 1, 1),
        Scrypt(25, 8, 1),
        Scrypt(10**15, 8, 1),
        Scrypt(22, 16, 1),  # 8 GiB
        Scrypt(22, 8, 1),  # 4 GiB and the output blocks
        Scrypt(16, 33, 1),
        Scrypt(16, 7, 1),
        Scrypt(16, 8, 17),
        Scrypt(16, 8, 0),
        Scrypt(9, 8, 1),
    ],
)
def test_absurd_costs_are_refused_for_free(costs: Kdf) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CostError, match="must be between"):
        costs.check(OPEN_FLOOR)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 1024  # KiB


@pytest.mark.parametrize(
    "costs",
    [Argon2id(8 << 10, 1, 1), Argon2id(4 << 20, 64, 64), Scrypt(10, 8, 1), Scrypt(21, 8, 16), Scrypt(17, 32, 1)],
)
def test_costs_at_the_limits_are_accepted(costs: Kdf) -> None:
    costs.check(OPEN_FLOOR)


def test_new_slots_have_a_higher_floor() -> None:
    DEFAULT.check(CREATE_FLOOR)
    Argon2id(64 << 10, 1, 1).check(CREATE_FLOOR)
    Scrypt(16, 8, 1).check(CREATE_FLOOR)
    with pytest.raises(CostError, match="memory"):
        Argon2id((64 << 10) - 1, 3, 4).check(CREATE_FLOOR)
    with pytest.raises(CostError, match="log2"):
        Scrypt(15, 8, 1).check(CREATE_FLOOR)


@pytest.mark.parametrize("costs", [Argon2id(3 << 20, 1, 1), Scrypt(21, 8, 1)])
def test_missing_memory_is_a_memory_error(costs: Kdf) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), hard))
    try:
        with pytest.raises(MemoryError):
            costs.derive(b"password", b"salt" * 4)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
