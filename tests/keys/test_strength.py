"""New passwords: which are refused, with which reason, and what makes a good one."""

import pytest

from vaultfs.errors import EmptyPassword, WeakPassword
from vaultfs.keys.passphrase import make_passphrase, passphrase_bits
from vaultfs.keys.strength import GUESSABLE_BITS, STRONG_BITS, check_new, estimate
from vaultfs.keys.words import WORDS


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "something else entirely",
        "Gr\u00fc\u00dfe aus K\u00f6ln",
        "x7Kq9vTz2mPw",
        "a b c d e f g h i j k l m n o p q r s t",
        "\U0001f511\U0001f6aa\U0001f332\U0001f40b\U0001f355\U0001f3b7\U0001f9ca\U0001f30b\U0001f9f2\U0001f400\U0001f9ff",
        "x" + "correct horse battery staple " * 1000,
    ],
)
def test_good_ones(password: str) -> None:
    check_new(password)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("a", "at least 8"),
        ("7 chars", "at least 8"),
        ("a\u0301" * 7, "at least 8"),
        ("password", "one of the most common"),
        ("Password1!", "one of the most common"),
        ("P@ssw0rd2024", "one of the most common"),
        ("correct horse battery staple", "one of the most common"),
        ("iloveyou!!", "one of the most common"),
        ("passwordpassword", "repeats"),
        ("abababababababababab", "repeats"),
        ("aaaaaaaaaaaaaaaaaaaaaaa", "repeats"),
        ("12345678901234567890", "easily guessed"),
        ("abcdefghijklmnop", "sequence, or a row of keys"),
        ("qwertyuiopasdfgh", "sequence, or a row of keys"),
        ("zyxwvutsrqponmlk", "sequence, or a row of keys"),
        ("letmein letmein letmein", "easily guessed"),
        ("zzgzggzzggzgzgzzggg", "few different characters"),
        ("1987-11-30", "easily guessed"),
        ("wachtwoord1234567", "easily guessed"),
    ],
)
def test_guessable_ones_are_refused_whatever_is_accepted(password: str, said: str) -> None:
    for weak_ok in (False, True):
        with pytest.raises(WeakPassword, match=said):
            check_new(password, weak_ok=weak_ok)


@pytest.mark.parametrize("password", ["u8#Kz!p2", "dog cat sun", "marigolds in May"[:13]])
def test_short_ones_must_be_strong_or_accepted(password: str) -> None:
    with pytest.raises(WeakPassword, match="--weak-ok"):
        check_new(password)
    check_new(password, weak_ok=True)
    assert GUESSABLE_BITS <= estimate(password).bits < STRONG_BITS


def test_an_empty_one_is_said_to_be() -> None:
    with pytest.raises(EmptyPassword):
        check_new("")


def test_a_passphrase_is_random_words() -> None:
    assert len(WORDS) == len(set(WORDS)) == 2048
    made = {make_passphrase() for _ in range(50)}
    assert len(made) == 50
    for passphrase in made:
        assert len(passphrase.split(" ")) == 6
        assert set(passphrase.split(" ")) <= set(WORDS)
        check_new(passphrase)
    assert passphrase_bits(6) == 66
    assert len({word for _ in range(400) for word in make_passphrase(24).split()}) > 2000
