"""What tests of keys share."""

import pytest

from vaultfs.crypto.kdf import Argon2id, Scrypt


@pytest.fixture
def no_key_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when a password is put through a KDF."""
    for kdf in (Argon2id, Scrypt):
        monkeypatch.setattr(kdf, "derive", lambda *_: pytest.fail("a key was tried"))
