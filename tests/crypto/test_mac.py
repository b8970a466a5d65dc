"""Hashes and MACs: published vectors, and no altered byte accepted."""

import pytest

from vaultfs.crypto.aead import AuthenticationError
from vaultfs.crypto.mac import equal, hmac_sha256, sha256, verify


def test_sha256_of_fips_180_4() -> None:
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_hmac_of_rfc_4231() -> None:
    mac = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    assert hmac_sha256(b"\x0b" * 20, b"Hi There").hex() == mac
    mac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == mac


def test_verify_accepts_only_the_mac() -> None:
    mac = hmac_sha256(b"key", b"data")
    verify(b"key", b"data", mac)
    for key, data, tag in [
        (b"kez", b"data", mac),
        (b"key", b"date", mac),
        (b"key", b"data", mac[:-1]),
        (b"key", b"data", b""),
        *[(b"key", b"data", mac[:index] + bytes([mac[index] ^ 1]) + mac[index + 1 :]) for index in range(32)],
    ]:
        with pytest.raises(AuthenticationError):
            verify(key, data, tag)


def test_equal() -> None:
    assert equal(b"abc", bytearray(b"abc"))
    assert not equal(b"abc", b"abd")
    assert not equal(b"abc", b"ab")
