"""Names and targets that no directory can hold are refused, whoever brings them; nothing has changed then."""

import stat
from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, differences, open_inline, put_file, snapshot
from vaultfs.errors import FilesystemError, InvalidArgument, NameTooLong
from vaultfs.vault.inline import Inline

NAMES: dict[bytes, type[FilesystemError]] = {
    b"": InvalidArgument,
    b".": InvalidArgument,
    b"..": InvalidArgument,
    b"a/b": InvalidArgument,
    b"/": InvalidArgument,
    b"a\0": InvalidArgument,
    b"x" * 256: NameTooLong,
}
USES: dict[str, Callable[[Inline, bytes], object]] = {
    "create": lambda vault, name: vault.create_inode(ROOT, name, stat.S_IFREG | 0o600),
    "mkdir": lambda vault, name: vault.create_inode(ROOT, name, stat.S_IFDIR | 0o700),
    "link": lambda vault, name: vault.link(vault.walk(b"file").id, ROOT, name),
    "rename": lambda vault, name: vault.rename(ROOT, b"file", ROOT, name),
    "exchange": lambda vault, name: vault.rename(ROOT, b"file", ROOT, name, 2),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("use", USES)
def test_a_name_that_is_none_is_refused(store: MemoryStore, use: str, name: bytes) -> None:
    vault = open_inline(store)
    put_file(vault, b"file", b"content")
    before = snapshot(vault)
    with pytest.raises(NAMES[name]):
        USES[use](vault, name)
    assert not differences(before, snapshot(vault))


@pytest.mark.parametrize("use", ["create", "mkdir", "link", "rename"])
def test_the_longest_name_is_taken(store: MemoryStore, use: str) -> None:
    vault = open_inline(store)
    inode = put_file(vault, b"file", b"content")
    USES[use](vault, b"x" * 255)
    assert vault.lookup(ROOT, b"x" * 255).id in (inode, inode + 1)


def test_a_target_is_as_long_as_a_path_can_be(store: MemoryStore) -> None:
    vault = open_inline(store)
    vault.create_inode(ROOT, b"longest", stat.S_IFLNK | 0o777, target=b"t" * 4095)
    before = snapshot(vault)
    with pytest.raises(NameTooLong):
        vault.create_inode(ROOT, b"longer", stat.S_IFLNK | 0o777, target=b"t" * 4096)
    assert not differences(before, snapshot(vault))
    vault.vault.close()
    reopened = open_inline(store)
    assert reopened.vault.readlink(reopened.walk(b"longest").id) == b"t" * 4095


def test_what_is_too_long_for_a_name_is_not_looked_up(store: MemoryStore) -> None:
    with pytest.raises(NameTooLong):
        open_inline(store).lookup(ROOT, b"x" * 256)
