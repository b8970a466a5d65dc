"""Key files: what can be one, and where none belongs."""

import hashlib
import os
from pathlib import Path

import pytest

from vaultfs.errors import PasswordUnreadable, UsageError
from vaultfs.keys.keyfile import make_keyfile, read_keyfile, refuse_in_store


def test_the_content_counts(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert read_keyfile(str(tmp_path / "a")) == hashlib.sha256(b"x" * 100_000).digest()


def test_a_new_one_is_random_private_and_never_made_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_keyfile(str(tmp_path / name))
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    assert len(read_keyfile(str(tmp_path / "a"))) == 32
    with pytest.raises(UsageError, match="there already"):
        make_keyfile(str(tmp_path / "a"))


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "small").write_bytes(b"x" * 31)
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", (16 << 20) + 1)
    said_of = {"empty": "32 bytes to 16 MiB", "small": "32 bytes", "large": "16 MiB", "none": "No such"}
    for name, said in said_of.items():
        with pytest.raises(PasswordUnreadable, match=said):
            read_keyfile(str(tmp_path / name))


def test_none_belongs_in_the_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (tmp_path / "link").symlink_to(store / "key")
    for path in (store / "key", tmp_path / "link", store / "deep" / ".." / "key"):
        with pytest.raises(UsageError, match="in the store"):
            refuse_in_store(str(path), store)
    refuse_in_store(str(tmp_path / "key"), store)
