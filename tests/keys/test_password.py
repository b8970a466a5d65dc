"""Password text to bytes."""

import pytest

from vaultfs.errors import PasswordUnreadable
from vaultfs.keys.password import normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("caf\u00e9", "cafe\u0301"),  # composed, decomposed
        ("\ufb01sh", "fish"),  # ligature
        ("\uff21\uff11", "A1"),  # full width
        ("\u212b", "\u00c5"),  # Ångström sign
    ],
)
def test_the_same_visible_password_is_the_same_bytes(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


def test_bytes_are_utf_8() -> None:
    assert normalise("pässwörd 🔑") == "pässwörd 🔑".encode()


def test_nothing_is_stripped_folded_or_cut() -> None:
    assert normalise("  a\tB ") == b"  a\tB "
    assert normalise("x" * 5000) == b"x" * 5000


def test_bytes_that_were_not_utf_8_are_refused() -> None:
    with pytest.raises(PasswordUnreadable):
        normalise(b"p\xe4ssword".decode("utf-8", "surrogateescape"))
