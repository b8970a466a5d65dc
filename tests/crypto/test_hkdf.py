"""HKDF-SHA256: RFC 5869's test cases, and the two paths held to the libraries."""

import pytest
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF as OtherHkdf
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st

from vaultfs.crypto.hkdf import derive, derive_from_master, expand
from vaultfs.crypto.mac import hmac_sha256

# RFC 5869, appendix A, test cases 1 to 3: input key, salt, info, size, extracted key, output.
CASES = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        42,
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        82,
        "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
        "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        42,
        "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_rfc_5869(case: tuple[str, str, str, int, str, str]) -> None:
    size = case[3]
    key, salt, info, extracted, output = map(bytes.fromhex, (*case[:3], *case[4:]))
    assert hmac_sha256(salt or bytes(32), key) == extracted
    assert expand(extracted, info, size) == output
    assert derive_from_master(key, salt, info, size) == output


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=30), st.binary(max_size=50), st.integers(1, 8160))
def test_derive_is_the_expand_step_of_the_libraries(key: bytes, label: bytes, context: bytes, size: int) -> None:
    for length in (32, size):
        info = label + b"\0" + context
        assert derive(key, label, context, length) == HKDFExpand(hashes.SHA256(), length, info).derive(key)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=20), st.binary(max_size=30), st.integers(1, 200))
def test_the_libraries_agree_on_the_whole(master: bytes, salt: bytes, label: bytes, size: int) -> None:
    derived = derive_from_master(master, salt, label, size)
    assert derived == OtherHkdf(hashes.SHA256(), size, salt, label).derive(master)
    # pycryptodome has no expand step of its own: its whole HKDF is held to ours after HMAC's extract step.
    extracted = hmac_sha256(salt or bytes(32), master)
    assert HKDF(master, size, salt, SHA256, context=label) == expand(extracted, label, size)


def test_labels_and_contexts_separate_keys() -> None:
    key = bytes(range(32))
    derived = {
        derive(key, b"a"),
        derive(key, b"b"),
        derive(key, b"a", b"b"),
        derive(key, b"ab"),
        derive(key, b"a", b"\0b"),
        derive(bytes(32), b"a"),
    }
    assert len(derived) == 6


@pytest.mark.parametrize("size", [-1, 0, 8161])
def test_sizes_hkdf_cannot_give_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="8,160"):
        derive(bytes(32), b"label", b"", size)
