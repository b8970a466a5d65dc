"""Conflict copies as each sync client names them."""

import pytest

from vaultfs.check.conflicts import copied_from, is_unfinished

NAME = "0123456789abcdef0123456789abcd"


@pytest.mark.parametrize(
    ("copy", "original"),
    [
        (f"{NAME} (conflicted copy 2018-04-10 093612)", NAME),
        (f"{NAME} (Anna's conflicted copy 2024-01-02)", NAME),
        (f"{NAME} (Anna's Laptop's conflicted copy 2024-01-02)", NAME),
        (f"{NAME}.sync-conflict-20240102-030405-ABCDEF7", NAME),
        (f"{NAME}_conflict-20240102-030405", NAME),
        (f"{NAME}-DESKTOP-1ABC", NAME),
        (f"{NAME} (1)", NAME),
        (f"{NAME}(2)", NAME),
        (f"{NAME} 2", NAME),
        (f"{NAME} (Case Conflict)", NAME),
        ("root.sync-conflict-20240102-030405-ABCDEF7.0", "root.0"),
        ("root (conflicted copy 2018-04-10 093612).1", "root.1"),
        ("root-HOST.0", "root.0"),
        ("vaultfs (1).json", "vaultfs.json"),
        ("vaultfs.json (Anna's conflicted copy 2024-01-02).backup", "vaultfs.json.backup"),
    ],
)
def test_copies_are_traced_to_their_original(copy: str, original: str) -> None:
    assert original in copied_from(copy)


@pytest.mark.parametrize("name", [NAME, "root.0", "vaultfs.json", "lock", "00000017"])
def test_own_names_are_no_copies(name: str) -> None:
    assert copied_from(name) == []
    assert not is_unfinished(name)


NAMES = [f".syncthing.{NAME}.tmp", f"~syncthing~{NAME}.tmp", f"{NAME}.part", f".{NAME}.Xa3b9C"]


@pytest.mark.parametrize("name", NAMES)
def test_unfinished_downloads(name: str) -> None:
    assert is_unfinished(name)
