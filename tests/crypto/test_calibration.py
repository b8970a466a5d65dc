"""Costs for new slots: memory before passes, floor and ceiling; and both Argon2 libraries agree."""

import sys

import pytest

from vaultfs.crypto.calibration import LEAST, LEAST_SCRYPT, argon2id_for, calibrate, is_weak
from vaultfs.crypto.kdf import CREATE_FLOOR, DEFAULT, Argon2id, Scrypt

MIB = 1 << 10


@pytest.mark.parametrize(
    ("factor", "most_mib", "expected"),
    [
        (0.01, 8192, LEAST),
        (1, 8192, LEAST),
        (4, 8192, Argon2id(256 * MIB, 3, 4)),
        (16, 8192, Argon2id(1024 * MIB, 3, 4)),
        (48, 8192, Argon2id(1024 * MIB, 9, 4)),
        (1e9, 8192, Argon2id(1024 * MIB, 16, 4)),
        (16, 256, Argon2id(256 * MIB, 12, 4)),
        (16, 10, Argon2id(64 * MIB, 16, 4)),
    ],
)
def test_memory_first(factor: float, most_mib: int, expected: Argon2id) -> None:
    costs = argon2id_for(factor, most_mib * MIB)
    assert costs == expected
    costs.check(CREATE_FLOOR)
    assert not is_weak(costs)


def test_calibration_gives_what_new_slots_may_have() -> None:
    costs = calibrate(target=0.001)
    assert costs == LEAST


def test_what_is_weak() -> None:
    for weak in (Argon2id(64 * MIB, 2, 4), Argon2id(32 * MIB, 60, 4), Scrypt(16, 8, 1), Scrypt(10, 8, 1)):
        assert is_weak(weak)
    for fine in (DEFAULT, LEAST, LEAST_SCRYPT, Argon2id(192 * MIB, 1, 4), Scrypt(16, 8, 2)):
        assert not is_weak(fine)


def test_without_argon2_cffi_cryptography_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Argon2id(8 * MIB, 2, 3)
    expected = costs.derive("pässword".encode(), bytes(16))
    monkeypatch.setitem(sys.modules, "argon2", None)
    assert costs.derive("pässword".encode(), bytes(16)) == expected


def test_without_any_argon2_scrypt_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argon2", None)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.kdf.argon2", None)
    with pytest.raises(ImportError):
        Argon2id(8 * MIB, 1, 1).derive(b"password", bytes(16))
    costs = calibrate(target=0.001)
    assert costs == LEAST_SCRYPT
    costs.check(CREATE_FLOOR)
