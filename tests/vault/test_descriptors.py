"""A process may have few descriptors (setrlimit(2)); a vault with many more small files works within them."""

import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vault.harness import KEYS, ROOT
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault

FEW = 1024  # what a login shell gets; the store's folders take 256 of them
COUNT = 1200


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryStore]:
    with DirectoryStore(tmp_path, write=True) as store:
        Vault.create(store, KEYS)
        yield store


def content_of(number: int, size: int) -> bytes:
    return b"%08d" % number * (size // 8)


@pytest.mark.usefixtures("few_descriptors")
@pytest.mark.parametrize(
    ("size", "in_folders"), [(80, False), (80, True), (40_000, False)], ids=["journaled", "a folder each", "direct"]
)
def test_more_files_than_descriptors_in_one_checkpoint(store: DirectoryStore, size: int, in_folders: bool) -> None:
    """Each new object kept its descriptor until the checkpoint's end, which made the vault read-only."""
    vault = Inline(Vault.open(store, KEYS))
    for number in range(COUNT):
        parent = ROOT
        if in_folders:
            parent = vault.create_inode(ROOT, b"folder %d" % number, stat.S_IFDIR | 0o755).id
        inode = vault.create_inode(parent, b"file %d" % number, stat.S_IFREG | 0o644)
        vault.write(inode.id, 0, content_of(number, size))
    assert vault.vault.checkpoint()
    assert not vault.vault.read_only
    vault.vault.close()
    vault = Inline(Vault.open(store, KEYS))
    for number in range(COUNT):
        path = b"folder %d/file %d" % (number, number) if in_folders else b"file %d" % number
        assert vault.read(vault.walk(path).id, 0, size + 1) == content_of(number, size)
    vault.vault.close()
