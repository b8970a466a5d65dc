"""What has no content takes none, no file grows over the format's limit, and new content takes old privileges."""

import stat
from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, differences, open_inline, put_file, snapshot
from vaultfs.errors import FilesystemError, InvalidArgument, IsADirectory, TooLarge
from vaultfs.format.constants import MAX_FILE_SIZE
from vaultfs.vault.fileio import CAPABILITY
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr

KINDS: dict[int, type[FilesystemError]] = {
    stat.S_IFDIR: IsADirectory, stat.S_IFLNK: InvalidArgument, stat.S_IFIFO: InvalidArgument,
    stat.S_IFSOCK: InvalidArgument, stat.S_IFCHR: InvalidArgument, stat.S_IFBLK: InvalidArgument,
}  # fmt: skip
USES: dict[str, Callable[[Inline, int], object]] = {
    "write": lambda vault, inode: vault.write(inode, 0, b"content"),
    "read": lambda vault, inode: vault.read(inode, 0, 10),
    "cut": lambda vault, inode: vault.setattr(inode, SetAttr(size=0)),
}
CONTENT_CHANGES: dict[str, Callable[[Inline, int], object]] = {
    "write": lambda vault, inode: vault.write(inode, 2, b"new"),
    "write a chunk": lambda vault, inode: vault.write(inode, 0, b"c" * 1024),
    "cut": lambda vault, inode: vault.setattr(inode, SetAttr(size=3)),
    "lengthen": lambda vault, inode: vault.setattr(inode, SetAttr(size=3000)),
    "another owner": lambda vault, inode: vault.setattr(inode, SetAttr(uid=7)),
}


def _hole_behind(vault: Inline, inode: int, size: int) -> int:
    vault.setattr(inode, SetAttr(size=size + 50_000))
    return size


def _more_behind_a_hole(vault: Inline, inode: int, size: int) -> int:
    vault.write(inode, 20 * 1024, b"d" * 700)
    return size + 700


def _part_again(vault: Inline, inode: int, size: int) -> int:
    vault.write(inode, 1, b"b" * 5)
    return size


def _all_again(vault: Inline, inode: int, size: int) -> int:
    vault.write(inode, 0, b"c" * size)
    return size


def _cut(vault: Inline, inode: int, size: int) -> int:
    vault.setattr(inode, SetAttr(size=size // 2))
    return size // 2


def _cut_and_part_again(vault: Inline, inode: int, size: int) -> int:
    _cut(vault, inode, size)
    vault.write(inode, 0, b"e")
    return size // 2


def _cut_to_nothing_and_written_anew(vault: Inline, inode: int, size: int) -> int:
    vault.setattr(inode, SetAttr(size=0))
    vault.write(inode, 0, b"f" * 3000)
    return 3000


CHANGES_OF_BLOCKS: dict[str, Callable[[Inline, int, int], int]] = {
    "nothing": lambda vault, inode, size: size,
    "a hole behind": _hole_behind,
    "more behind a hole": _more_behind_a_hole,
    "a part again": _part_again,
    "all again": _all_again,
    "cut": _cut,
    "cut, and a part again": _cut_and_part_again,
    "cut to nothing, and written anew": _cut_to_nothing_and_written_anew,
}
"""Each returns the bytes of chunks there are afterwards."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use", USES)
def test_only_files_have_content(store: MemoryStore, use: str, kind: int) -> None:
    vault = open_inline(store)
    inode = vault.create_inode(ROOT, b"x", kind | 0o755, target=b"y" if kind == stat.S_IFLNK else b"").id
    before = snapshot(vault)
    with pytest.raises(KINDS[kind]):
        USES[use](vault, inode)
    assert not differences(before, snapshot(vault))


def test_no_file_is_larger_than_the_format_allows(store: MemoryStore) -> None:
    vault = open_inline(store)
    inode = put_file(vault, b"x", b"content")
    before = snapshot(vault)
    with pytest.raises(TooLarge):
        vault.write(inode, MAX_FILE_SIZE - 3, b"four")
    with pytest.raises(TooLarge):
        vault.setattr(inode, SetAttr(size=MAX_FILE_SIZE + 1))
    with pytest.raises(InvalidArgument):
        vault.setattr(inode, SetAttr(size=-1))
    assert not differences(before, snapshot(vault))
    assert vault.write(inode, MAX_FILE_SIZE - 4, b"last") == 4
    vault.vault.close()
    again = open_inline(store)
    found = again.walk(b"x")
    assert found.size == MAX_FILE_SIZE
    assert again.read(found.id, 0, 10) == b"content\0\0\0"
    assert again.read(found.id, MAX_FILE_SIZE - 6, 100) == b"\0\0last"


@pytest.mark.parametrize("how", CHANGES_OF_BLOCKS)
@pytest.mark.parametrize("size", [7, 300, 1024, 5000, 9 * 1024])
def test_a_file_takes_as_many_blocks_before_a_checkpoint_as_after(store: MemoryStore, size: int, how: str) -> None:
    """stat(2), du(1): what changed lately is not counted twice, and not left out."""
    vault = open_inline(store)
    inode = put_file(vault, b"x", b"a" * size)
    assert vault.vault.checkpoint()
    expected = CHANGES_OF_BLOCKS[how](vault, inode, size)
    before = vault.vault.blocks(vault.vault.getattr(inode))
    assert vault.vault.checkpoint()
    assert (before, vault.vault.blocks(vault.vault.getattr(inode))) == (-(-expected // 512), -(-expected // 512))


@pytest.mark.parametrize("how", CONTENT_CHANGES)
def test_new_content_and_new_owners_take_capabilities_and_set_id_bits(store: MemoryStore, how: str) -> None:
    """capabilities(7), chown(2), write(2); after a kill as well."""
    vault = open_inline(store)
    inode = put_file(vault, b"x", b"content")
    vault.setattr(inode, SetAttr(mode=0o6755))
    vault.setxattr(inode, CAPABILITY, b"\1\0\0\2" + bytes(16))
    vault.setxattr(inode, b"user.kept", b"value")
    CONTENT_CHANGES[how](vault, inode)
    vault.fsync()
    for seen in (vault, open_inline(store.copy())):
        found = seen.walk(b"x")
        assert found.mode == stat.S_IFREG | 0o755
        assert dict(found.xattrs) == {b"user.kept": b"value"}
