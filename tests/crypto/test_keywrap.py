"""AES-SIV: both libraries held to a plain reading of RFC 5297, which is itself held to the RFC's examples."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultfs.crypto.aead import AuthenticationError, random_bytes
from vaultfs.crypto.keywrap import unwrap, unwrap_master, wrap, wrap_master

keks = st.binary(min_size=64, max_size=64)
wrapped_keys = st.binary(min_size=1, max_size=80)
aads = st.binary(max_size=80)


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC(algorithms.AES(key))
    mac.update(data)
    return mac.finalize()


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def double(block: bytes) -> bytes:
    value = int.from_bytes(block) << 1
    return (value & (1 << 128) - 1 ^ (0x87 if value >> 128 else 0)).to_bytes(16)


def siv_of_the_rfc(key: bytes, text: bytes, *strings: bytes) -> bytes:
    """RFC 5297 sections 2.4 (S2V) and 2.6 (encryption), word by word."""
    half = len(key) // 2
    block = cmac(key[:half], bytes(16))
    for string in strings:
        block = xor(double(block), cmac(key[:half], string))
    if len(text) >= 16:
        last = text[:-16] + xor(text[-16:], block)
    else:
        last = xor(double(block), text + b"\x80" + bytes(15 - len(text)))
    siv = cmac(key[:half], last)
    counter = int.from_bytes(siv) & ~(1 << 63 | 1 << 31)
    ctr = Cipher(algorithms.AES(key[half:]), modes.CTR(counter.to_bytes(16))).encryptor()
    return siv + ctr.update(text)


def test_the_reading_gives_rfc_5297_a1() -> None:
    key = bytes.fromhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    aad = bytes.fromhex("101112131415161718191a1b1c1d1e1f2021222324252627")
    text = bytes.fromhex("112233445566778899aabbccddee")
    sealed = "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c"
    assert siv_of_the_rfc(key, text, aad).hex() == sealed


def test_the_reading_gives_rfc_5297_a2() -> None:
    key = bytes.fromhex("7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f")
    strings = [
        "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
        "102030405060708090a0",
        "09f911029d74e35bd84156c5635688c0",
    ]
    text = b"this is some plaintext to encrypt using SIV-AES"
    sealed = (
        "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17"
        "dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d"
    )
    assert siv_of_the_rfc(key, text, *map(bytes.fromhex, strings)).hex() == sealed


@settings(max_examples=60, deadline=None)
@given(keks, wrapped_keys, aads)
def test_both_libraries_give_the_bytes_of_the_rfc(kek: bytes, key: bytes, aad: bytes) -> None:
    wrapped = siv_of_the_rfc(kek, key, aad)
    assert wrap(kek, key, aad) == wrapped
    assert wrap_master(kek, key, aad) == wrapped
    assert unwrap(kek, wrapped, aad) == key
    assert unwrap_master(kek, wrapped, aad) == key


@pytest.mark.parametrize("opened", [unwrap, unwrap_master])
@settings(max_examples=60, deadline=None)
@given(data=st.data(), kek=keks, key=wrapped_keys, aad=st.binary(min_size=1, max_size=40))
def test_any_altered_bit_raises(
    opened: Callable[[bytes, bytes, bytes], bytes], data: st.DataObject, kek: bytes, key: bytes, aad: bytes
) -> None:
    parts = [bytearray(kek), bytearray(wrap(kek, key, aad)), bytearray(aad)]
    part = data.draw(st.sampled_from(parts))
    bit = data.draw(st.integers(0, len(part) * 8 - 1))
    part[bit // 8] ^= 1 << bit % 8
    with pytest.raises(AuthenticationError):
        opened(bytes(parts[0]), bytes(parts[1]), bytes(parts[2]))


@pytest.mark.parametrize("opened", [unwrap, unwrap_master])
def test_any_truncation_raises(opened: Callable[[bytes, bytes, bytes], bytes]) -> None:
    kek = random_bytes(64)
    wrapped = wrap(kek, bytes(32), b"place")
    for size in range(len(wrapped)):
        with pytest.raises(AuthenticationError):
            opened(kek, wrapped[:size], b"place")


@pytest.mark.parametrize("function", [wrap, wrap_master, unwrap, unwrap_master])
def test_shorter_aes_keys_are_refused(function: Callable[[bytes, bytes, bytes], bytes]) -> None:
    for size in (0, 32, 48, 63, 65):
        with pytest.raises(ValueError, match="64 bytes"):
            function(bytes(size), bytes(48), b"")
