"""AES-256-GCM: published vectors on both backends, the backends against each other, and no altered byte accepted."""

from collections.abc import Callable, Iterator
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultfs.crypto import aead as module
from vaultfs.crypto.aead import Aead, AuthenticationError, aead, new_key, new_nonce, random_bytes, select_backend
from vaultfs.crypto.aead_openssl import OpensslAead
from vaultfs.crypto.aead_pycryptodome import PycryptodomeAead

BACKENDS = [OpensslAead, PycryptodomeAead]
both = pytest.mark.parametrize("backend", BACKENDS)

# McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13, 14 and 16.
LONG_KEY = "feffe9928665731c6d6a8f9467308308" * 2
LONG_TEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
LONG_SEALED = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
    "76fc6ece0f4e1768cddf8853bb2d551b"
)
VECTORS = [
    ("00" * 32, "00" * 12, "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    (LONG_KEY, "cafebabefacedbaddecaf888", LONG_TEXT, "feedfacedeadbeef" * 2 + "abaddad2", LONG_SEALED),
]

keys = st.binary(min_size=32, max_size=32)
nonces = st.binary(min_size=12, max_size=12)
texts = st.binary(max_size=300)


@pytest.fixture(autouse=True)
def restored_backend() -> Iterator[None]:
    yield
    select_backend("openssl")


@both
@pytest.mark.parametrize("vector", VECTORS)
def test_published_vectors(backend: Callable[[bytes], Aead], vector: tuple[str, ...]) -> None:
    key, nonce, text, aad, sealed = map(bytes.fromhex, vector)
    cipher = backend(key)
    assert cipher.seal(nonce, text, aad) == sealed
    assert cipher.open(nonce, sealed, aad) == text
    out = bytearray(len(sealed))
    assert cipher.seal_into(nonce, text, aad, out) == len(sealed)
    assert out == sealed
    out = bytearray(len(text))
    assert cipher.open_into(nonce, sealed, aad, memoryview(out)) == len(text)
    assert out == text


@settings(max_examples=100, deadline=None)
@given(keys, nonces, texts, texts)
def test_backends_give_the_same_bytes(key: bytes, nonce: bytes, text: bytes, aad: bytes) -> None:
    sealed = OpensslAead(key).seal(nonce, text, aad)
    assert PycryptodomeAead(key).seal(nonce, text, aad) == sealed
    assert PycryptodomeAead(key).open(nonce, sealed, aad) == text
    assert OpensslAead(key).open(nonce, sealed, aad) == text


@both
@settings(max_examples=100, deadline=None)
@given(data=st.data(), key=keys, nonce=nonces, text=texts, aad=st.binary(min_size=1, max_size=40))
def test_any_altered_bit_raises(
    backend: Callable[[bytes], Aead], data: st.DataObject, key: bytes, nonce: bytes, text: bytes, aad: bytes
) -> None:
    parts = [bytearray(key), bytearray(nonce), bytearray(backend(key).seal(nonce, text, aad)), bytearray(aad)]
    part = data.draw(st.sampled_from(parts))
    bit = data.draw(st.integers(0, len(part) * 8 - 1))
    part[bit // 8] ^= 1 << bit % 8
    key, nonce, sealed, aad = map(bytes, parts)
    with pytest.raises(AuthenticationError):
        backend(key).open(nonce, sealed, aad)
    out = bytearray(b"x" * len(text))
    with pytest.raises(AuthenticationError):
        backend(key).open_into(nonce, sealed, aad, out)
    assert out == bytes(len(text))


@both
def test_any_truncation_raises(backend: Callable[[bytes], Aead]) -> None:
    cipher, nonce = backend(new_key()), new_nonce()
    sealed = cipher.seal(nonce, b"some content", b"place")
    for size in range(len(sealed)):
        with pytest.raises(AuthenticationError):
            cipher.open(nonce, sealed[:size], b"place")
        with pytest.raises(AuthenticationError):
            cipher.open_into(nonce, sealed[:size], b"place", bytearray(max(0, size - 16)))


@both
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(backend: Callable[[bytes], Aead], wrap: Callable[[bytes], memoryview]) -> None:
    cipher, nonce = backend(new_key()), new_nonce()
    sealed = cipher.seal(nonce, wrap(b"content"), b"aad")
    assert cipher.open(nonce, wrap(sealed), b"aad") == b"content"


@both
def test_wrong_sizes_are_refused(backend: Callable[[bytes], Aead]) -> None:
    for size in (0, 16, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            backend(bytes(size))
    cipher, nonce = backend(new_key()), new_nonce()
    sealed = cipher.seal(nonce, b"content", b"")
    with pytest.raises(ValueError, match="bytes"):
        cipher.seal_into(nonce, b"content", b"", bytearray(24))
    with pytest.raises(ValueError, match="bytes"):
        cipher.open_into(nonce, sealed, b"", bytearray(8))
    with pytest.raises(ValueError, match="once"):
        cipher.seal(b"", b"content", b"")


def test_pycryptodome_takes_no_other_nonce_length() -> None:
    for size in (8, 11, 13, 16):
        with pytest.raises(ValueError, match="12 bytes"):
            PycryptodomeAead(new_key()).seal(bytes(size), b"", b"")


def test_one_cipher_serves_many_threads() -> None:
    cipher, failures = aead(new_key()), list[str]()

    def work(fill: int) -> None:
        text = bytes([fill]) * 70_000
        for _ in range(40):
            nonce = new_nonce()
            if cipher.open(nonce, cipher.seal(nonce, text, b"a"), b"a") != text:
                failures.append("mixed up")

    threads = [Thread(target=work, args=(fill,)) for fill in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_backend_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_make", None)
    assert isinstance(aead(new_key()), OpensslAead)
    select_backend("pycryptodome")
    assert isinstance(aead(new_key()), PycryptodomeAead)
    select_backend("openssl")
    assert isinstance(aead(new_key()), OpensslAead)
    with pytest.raises(ValueError, match="rot13"):
        select_backend("rot13")  # type: ignore[arg-type]


def test_randomness_has_the_sizes_asked_for_and_never_repeats() -> None:
    assert [len(new_key()), len(new_nonce()), len(random_bytes(5))] == [32, 12, 5]
    assert len({new_nonce() for _ in range(1000)}) == 1000
    assert len({new_key() for _ in range(1000)}) == 1000
