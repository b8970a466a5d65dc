"""The keys of a vault: separate, reproducible, and kept out of messages."""

import pytest

from vaultfs.keys.hierarchy import VaultKeys

MASTER = bytes(range(32))
VAULT_ID = bytes(range(100, 116))


def all_keys(keys: VaultKeys) -> list[bytes]:
    return [keys.wrap_key, keys.header_key, keys.metadata_key, keys.header_mac_key]


def test_sizes_and_separation() -> None:
    keys = VaultKeys.from_master(VAULT_ID, MASTER)
    assert keys.vault_id == VAULT_ID
    assert [len(key) for key in all_keys(keys)] == [64, 32, 32, 32]
    halves = {key[start : start + 32] for key in all_keys(keys) for start in range(0, len(key), 32)}
    assert len(halves | {MASTER}) == 6


def test_keys_depend_on_master_and_vault() -> None:
    one = VaultKeys.from_master(VAULT_ID, MASTER)
    for other in (VaultKeys.from_master(bytes(16), MASTER), VaultKeys.from_master(VAULT_ID, bytes(32))):
        assert not set(all_keys(one)) & set(all_keys(other))


def test_the_keys_of_format_version_1() -> None:
    """Every vault in the field depends on these bytes."""
    keys = VaultKeys.from_master(VAULT_ID, MASTER)
    assert [key.hex()[:32] for key in all_keys(keys)] == [
        "3d3d5298a860ce35208dcc133a123604",
        "0dc863e3f8268faa4c9588d6572f48bb",
        "4d2c1e292f6b0c1e442452c9c2baaaf6",
        "a4450dd0172a274f5f316df794aac4ce",
    ]


def test_repr_shows_no_key() -> None:
    keys = VaultKeys.from_master(VAULT_ID, MASTER)
    assert repr(keys) == f"<VaultKeys of {VAULT_ID.hex()}>"


def test_wiped_keys_cannot_be_used() -> None:
    keys = VaultKeys.from_master(VAULT_ID, MASTER)
    keys.wipe()
    keys.wipe()
    for name in ("wrap_key", "header_key", "metadata_key", "header_mac_key"):
        with pytest.raises(AttributeError):
            getattr(keys, name)
    assert VAULT_ID.hex() in repr(keys)


@pytest.mark.parametrize(("vault_id", "master"), [(b"", MASTER), (VAULT_ID, b""), (VAULT_ID, MASTER + b"x")])
def test_other_sizes_are_refused(vault_id: bytes, master: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        VaultKeys.from_master(vault_id, master)
