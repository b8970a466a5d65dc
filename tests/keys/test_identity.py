"""Label and owner: read by who has the keys, hidden from who has not, bound to the vault."""

import pytest

from vaultfs.errors import HeaderDamaged, UsageError
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.keys.identity import NOBODY, Identity, open_identity, seal_identity

KEYS = VaultKeys.from_master(bytes(16), bytes(range(32)))
SOMEBODY = Identity("Family 👪", "+49 170 1234567")


def test_round_trip_with_a_fresh_nonce() -> None:
    one, other = seal_identity(KEYS, SOMEBODY), seal_identity(KEYS, SOMEBODY)
    assert one != other
    assert open_identity(KEYS, one) == open_identity(KEYS, other) == SOMEBODY
    assert open_identity(KEYS, b"") == NOBODY


def test_the_length_tells_nothing() -> None:
    assert len(seal_identity(KEYS, NOBODY)) == len(seal_identity(KEYS, SOMEBODY)) == 12 + 512 + 16
    assert b"Family" not in seal_identity(KEYS, SOMEBODY)
    longest = Identity("\U0001f46a" * 256, '"' * 256)
    assert open_identity(KEYS, seal_identity(KEYS, longest)) == longest


def test_any_change_is_damage() -> None:
    sealed = seal_identity(KEYS, SOMEBODY)
    for index in range(len(sealed)):
        with pytest.raises(HeaderDamaged):
            open_identity(KEYS, sealed[:index] + bytes([sealed[index] ^ 1]) + sealed[index + 1 :])
    for vault_id, master in ((bytes(15) + b"x", bytes(range(32))), (bytes(16), bytes(32))):
        with pytest.raises(HeaderDamaged):
            open_identity(VaultKeys.from_master(vault_id, master), sealed)
    for short in (sealed[:5], sealed[:-1]):
        with pytest.raises(HeaderDamaged):
            open_identity(KEYS, short)


def test_texts_that_are_refused() -> None:
    for identity in (Identity("x" * 257), Identity(owner="two\nlines"), Identity("\x1b[2J")):
        with pytest.raises(UsageError, match="256 printable characters"):
            identity.check()
