"""Each operation stamps the times POSIX says it does, and no others; recovery stamps the same ones."""

import stat
from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, open_inline
from vaultfs.vault.apply import RENAME_EXCHANGE, RENAME_WHITEOUT
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr

LONG_AGO = 10**18  # ns since the epoch
PLACES = (b"", b"one", b"two", b"one/file", b"one/other", b"two/linked", b"one/inner", b"two/inner")

Change = Callable[[Inline, Callable[[bytes], int]], object]
# What is done, and the changed times of what was there before: m and c by path.
STAMPED: dict[str, tuple[Change, dict[bytes, str]]] = {
    "create": (lambda v, at: v.create_inode(at(b"one"), b"x", stat.S_IFREG | 0o600), {b"one": "mc"}),
    "link": (lambda v, at: v.link(at(b"one/file"), at(b"two"), b"x"), {b"one/file": "c", b"two": "mc"}),
    "unlink": (lambda v, at: v.unlink(at(b"one"), b"file"), {b"one": "mc"}),
    "unlink one of two names": (lambda v, at: v.unlink(at(b"two"), b"linked"), {b"two": "mc", b"one/other": "c"}),
    "rmdir": (lambda v, at: v.rmdir(at(b"one"), b"inner"), {b"one": "mc"}),
    "rename": (lambda v, at: v.rename(at(b"one"), b"file", at(b"one"), b"x"), {b"one": "mc", b"one/file": "c"}),
    "rename elsewhere": (
        lambda v, at: v.rename(at(b"one"), b"file", at(b"two"), b"x"),
        {b"one": "mc", b"two": "mc", b"one/file": "c"},
    ),
    "rename over one of two names": (
        lambda v, at: v.rename(at(b"one"), b"file", at(b"two"), b"linked"),
        {b"one": "mc", b"two": "mc", b"one/file": "c", b"one/other": "c"},
    ),
    "rename a directory over another": (
        lambda v, at: v.rename(at(b"one"), b"inner", at(b"two"), b"inner"),
        {b"one": "mc", b"two": "mc", b"one/inner": "c"},
    ),
    "exchange": (
        lambda v, at: v.rename(at(b"one"), b"file", at(b"two"), b"inner", RENAME_EXCHANGE),
        {b"one": "mc", b"two": "mc", b"one/file": "c", b"two/inner": "c"},
    ),
    "white out": (
        lambda v, at: v.rename(at(b"one"), b"file", at(b"two"), b"x", RENAME_WHITEOUT),
        {b"one": "mc", b"two": "mc", b"one/file": "c"},
    ),
    "write": (lambda v, at: v.write(at(b"one/file"), 1, b"new"), {b"one/file": "mc"}),
    "truncate": (lambda v, at: v.setattr(at(b"one/file"), SetAttr(size=1)), {b"one/file": "mc"}),
    "chmod": (lambda v, at: v.setattr(at(b"one/file"), SetAttr(mode=0o600)), {b"one/file": "c"}),
    "chown": (lambda v, at: v.setattr(at(b"one"), SetAttr(uid=7)), {b"one": "c"}),
    "setxattr": (lambda v, at: v.setxattr(at(b"one/file"), b"user.a", b"b"), {b"one/file": "c"}),
    "removexattr": (lambda v, at: v.removexattr(at(b"one/other"), b"user.b"), {b"one/other": "c"}),
    "read": (lambda v, at: v.read(at(b"one/file"), 0, 9), {}),
}


@pytest.mark.parametrize("what", STAMPED)
def test_an_operation_stamps_the_times_it_should(store: MemoryStore, what: str) -> None:
    vault = open_inline(store)
    for path in (b"one", b"two", b"one/inner", b"two/inner"):
        above, _, name = path.rpartition(b"/")
        vault.create_inode(vault.walk(above).id, name, stat.S_IFDIR | 0o755)
    for path in (b"one/file", b"one/other"):
        made = vault.create_inode(vault.walk(b"one").id, path.rpartition(b"/")[2], stat.S_IFREG | 0o644)
        vault.write(made.id, 0, path)
    other = vault.walk(b"one/other").id
    vault.setxattr(other, b"user.b", b"c")
    vault.link(other, vault.walk(b"two").id, b"linked")
    ids = {path: vault.walk(path).id if path else ROOT for path in PLACES}
    for inode_id in set(ids.values()):
        vault.vault.remember(inode_id)
        vault.setattr(inode_id, SetAttr(atime=LONG_AGO, mtime=LONG_AGO, ctime=LONG_AGO))
    change, expected = STAMPED[what]

    change(vault, ids.__getitem__)

    vault.fsync()
    recovered = open_inline(store.copy())
    reached = {inode_id for _, inode_id in _everything(recovered)}
    of_inodes = {ids[path]: times for path, times in expected.items()}
    for inode_id in set(ids.values()) & reached:
        assert _stamped(vault, inode_id) == _stamped(recovered, inode_id) == of_inodes.get(inode_id, "")


def _everything(vault: Inline, directory: int = ROOT) -> list[tuple[bytes, int]]:
    found = [(b"", directory)]
    for name, inode_id in vault.list_directory(directory):
        vault.vault.remember(vault.lookup(directory, name).id)
        inner = stat.S_ISDIR(vault.getattr(inode_id).mode)
        found += _everything(vault, inode_id) if inner else [(name, inode_id)]
    return found


def _stamped(vault: Inline, inode_id: int) -> str:
    inode = vault.getattr(inode_id)
    assert inode.atime == LONG_AGO
    return "m" * (inode.mtime != LONG_AGO) + "c" * (inode.ctime != LONG_AGO)
