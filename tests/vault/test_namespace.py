"""What cannot be done to names is refused before anything changed."""

import stat
from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, differences, nothing_loaded_late, open_inline, put_file, snapshot
from vaultfs.errors import (
    Exists,
    FilesystemError,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
)
from vaultfs.format.constants import SHARED_SHARDS
from vaultfs.vault.apply import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT
from vaultfs.vault.inline import Inline
from vaultfs.vault.state import shard_of

Change = Callable[[Inline, Callable[[bytes], int]], object]
REFUSED: dict[str, tuple[type[FilesystemError], Change]] = {
    "into itself": (InvalidArgument, lambda v, at: v.rename(ROOT, b"top", at(b"top"), b"x")),
    "into its child": (InvalidArgument, lambda v, at: v.rename(ROOT, b"top", at(b"top/middle"), b"x")),
    "below its child": (InvalidArgument, lambda v, at: v.rename(ROOT, b"top", at(b"top/middle/low"), b"x")),
    "over what is below": (InvalidArgument, lambda v, at: v.rename(ROOT, b"top", at(b"top/middle"), b"low")),
    "exchanged with what is below": (
        InvalidArgument, lambda v, at: v.rename(ROOT, b"top", at(b"top/middle"), b"low", RENAME_EXCHANGE),
    ),
    "exchanged with what is above": (
        InvalidArgument, lambda v, at: v.rename(at(b"top/middle"), b"low", ROOT, b"top", RENAME_EXCHANGE),
    ),
    "a file over a directory": (IsADirectory, lambda v, at: v.rename(ROOT, b"file", ROOT, b"empty")),
    "a directory over a file": (NotADirectory, lambda v, at: v.rename(ROOT, b"empty", ROOT, b"file")),
    "over a directory that is not empty": (NotEmpty, lambda v, at: v.rename(ROOT, b"empty", ROOT, b"top")),
    "over what is there": (Exists, lambda v, at: v.rename(ROOT, b"file", ROOT, b"other", RENAME_NOREPLACE)),
    "exchanged with nothing": (NotFound, lambda v, at: v.rename(ROOT, b"file", ROOT, b"none", RENAME_EXCHANGE)),
    "what is not there": (NotFound, lambda v, at: v.rename(ROOT, b"none", ROOT, b"file")),
    "an unknown way": (InvalidArgument, lambda v, at: v.rename(ROOT, b"file", ROOT, b"other", 8)),
    "exchanged and not replaced": (
        InvalidArgument, lambda v, at: v.rename(ROOT, b"file", ROOT, b"new", RENAME_EXCHANGE | RENAME_NOREPLACE),
    ),
    "exchanged and whited out": (
        InvalidArgument, lambda v, at: v.rename(ROOT, b"file", ROOT, b"other", RENAME_EXCHANGE | RENAME_WHITEOUT),
    ),
    "into a directory that is gone": (NotFound, lambda v, at: v.rename(ROOT, b"file", at(b"gone"), b"x")),
    "made in a directory that is gone": (NotFound, lambda v, at: v.create_inode(at(b"gone"), b"x", stat.S_IFREG)),
    "linked in a directory that is gone": (NotFound, lambda v, at: v.link(at(b"file"), at(b"gone"), b"x")),
    "a file that is gone": (NotFound, lambda v, at: v.link(at(b"deleted"), ROOT, b"x")),
    "a second name for a directory": (NotPermitted, lambda v, at: v.link(at(b"top"), ROOT, b"x")),
    "a name that is taken": (Exists, lambda v, at: v.link(at(b"file"), ROOT, b"other")),
    "made where something is": (Exists, lambda v, at: v.create_inode(ROOT, b"file", stat.S_IFREG)),
    "made of no type": (InvalidArgument, lambda v, at: v.create_inode(ROOT, b"x", 0o644)),
    "a directory unlinked": (IsADirectory, lambda v, at: v.unlink(ROOT, b"empty")),
    "a file removed as a directory": (NotADirectory, lambda v, at: v.rmdir(ROOT, b"file")),
    "a directory that is not empty": (NotEmpty, lambda v, at: v.rmdir(ROOT, b"top")),
    "a directory from within": (InvalidArgument, lambda v, at: v.rmdir(at(b"empty"), b".")),
    "the directory above": (NotEmpty, lambda v, at: v.rmdir(at(b"empty"), b"..")),
    "a name that is not there": (NotFound, lambda v, at: v.unlink(ROOT, b"none")),
    "the target of a file": (InvalidArgument, lambda v, at: v.vault.readlink(at(b"file"))),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("cold", [False, True])
def test_what_cannot_be_done_changes_nothing(store: MemoryStore, what: str, cold: bool) -> None:
    vault = open_inline(store)
    ids: dict[bytes, int] = {}
    for path in (b"top", b"top/middle", b"top/middle/low", b"empty", b"gone"):
        above = vault.walk(path.rpartition(b"/")[0]).id
        ids[path] = vault.create_inode(above, path.rpartition(b"/")[2], stat.S_IFDIR | 0o755).id
    for name in (b"file", b"other", b"deleted"):
        ids[name] = put_file(vault, name, name)
    if cold:
        vault.vault.close()
        vault = open_inline(store)
        ids = {path: vault.walk(path).id for path in ids}
    vault.open_inode(ids[b"gone"])
    vault.rmdir(ROOT, b"gone")
    vault.open_inode(ids[b"deleted"])
    vault.unlink(ROOT, b"deleted")
    before = snapshot(vault)
    refusal, change = REFUSED[what]
    with pytest.raises(refusal):
        change(vault, ids.__getitem__)
    assert not differences(before, snapshot(vault))
    vault.vault.write_out()
    assert not differences(before, snapshot(open_inline(store.copy())))


@pytest.mark.parametrize("kind", [stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO])
def test_the_umask_takes_its_bits(store: MemoryStore, kind: int) -> None:
    vault = open_inline(store)
    made = vault.call(lambda: vault.vault.create_inode(ROOT, b"x", kind | 0o777, 0, 0, 0, b"", 0o027))
    assert made.mode == kind | 0o750


def test_a_links_mode_is_whole_whatever_the_umask(store: MemoryStore) -> None:
    vault = open_inline(store)
    made = vault.call(lambda: vault.vault.create_inode(ROOT, b"x", stat.S_IFLNK | 0o777, 0, 0, 0, b"y", 0o077))
    assert made.mode == stat.S_IFLNK | 0o777


@pytest.mark.parametrize("is_open", [False, True])
def test_what_a_link_needs_is_read_before_anything_changes(store: MemoryStore, is_open: bool) -> None:
    vault = open_inline(store)
    folder = vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o755).id
    ids = [vault.create_inode(folder, b"%d" % number, stat.S_IFREG | 0o644).id for number in range(SHARED_SHARDS + 1)]
    assert shard_of(ids[0]) == shard_of(ids[-1])
    vault.link(ids[0], ROOT, b"first")
    vault.vault.close()
    vault = open_inline(store)
    for path in (b"folder", b"folder/%d" % SHARED_SHARDS):
        vault.vault.remember(vault.walk(path).id)
    if is_open:
        vault.open_inode(ids[-1])  # which keeps the inode in memory, and not its directory
    vault.vault.evict()
    with nothing_loaded_late():
        vault.link(ids[-1], ROOT, b"second")
    vault.fsync()
    again = open_inline(store.copy())
    assert again.walk(b"second").id == again.walk(b"folder/%d" % SHARED_SHARDS).id == ids[-1]
    assert again.getattr(ids[-1]).nlink == 2


def test_what_the_end_of_a_file_needs_is_read_before_anything_changes(store: MemoryStore) -> None:
    vault = open_inline(store)
    file = put_file(vault, b"file", b"content")
    vault.link(file, ROOT, b"second")
    vault.open_inode(file)
    vault.unlink(ROOT, b"file")
    vault.unlink(ROOT, b"second")
    assert vault.vault.checkpoint()
    vault.vault.evict()
    with nothing_loaded_late():
        vault.call(lambda: vault.vault.release(file))
    with pytest.raises(NotFound):
        vault.getattr(file)
    vault.vault.close()
    assert open_inline(store).list_directory(ROOT) == []


def test_what_the_kernel_forgets_takes_no_memory(store: MemoryStore) -> None:
    vault = open_inline(store)
    ids = [put_file(vault, b"%d" % number, b"x") for number in range(50)]
    assert vault.vault.checkpoint()
    vault.vault.evict()
    assert all(vault.getattr(inode).size == 1 for inode in ids), "what the kernel knows is found by its number"
    vault.vault.evict()
    for inode in ids:
        vault.vault.forget(inode, 1)
    vault.vault.evict()
    state = vault.vault._state
    assert not state.known and not state.parents and not set(state.cache) & set(ids)
    for inode in (ids[0], 99999):
        with pytest.raises(NotFound):
            vault.open_inode(inode)
    assert not state.opens
