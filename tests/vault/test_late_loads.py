"""What is being read while a checkpoint writes it anew is read again, and is no error."""

import stat
from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, SMALL_CHUNK, open_inline, put_file
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.waits import NotReady


def missing(operation: Callable[[], object]) -> NotReady:
    with pytest.raises(NotReady) as caught:
        operation()
    return caught.value


def test_a_folder_that_is_written_anew_meanwhile(store: MemoryStore) -> None:
    vault = open_inline(store)
    folder = vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o700).id
    vault.vault.remember(folder)
    for number in range(20):
        vault.create_inode(folder, b"%d" % number, stat.S_IFREG | 0o600)
    below = vault.create_inode(folder, b"below", stat.S_IFDIR | 0o700).id
    vault.vault.close()
    vault = open_inline(store)
    folder, below = vault.walk(b"folder").id, vault.walk(b"folder/below").id
    vault.vault.remember(folder)
    vault.vault.remember(below)
    renewed = 0
    for number in range(12):
        vault.create_inode(below, b"x%d" % number, stat.S_IFREG | 0o600)
        vault.vault.evict()
        vault.vault._state.directories.pop(folder, None)
        job = vault.vault.begin_checkpoint()
        assert job is not None
        need = missing(lambda: vault.vault.lookup(folder, b"3"))
        job.run()
        assert job.finish()
        job.clean_up()
        need.prepare()
        renewed += getattr(need, "_error", None) is not None
        need.install()
        assert vault.lookup(folder, b"3").name == b"3"
    assert renewed, "no checkpoint took the objects away"


@pytest.fixture(params=[7, 40], ids=["leaf", "index"])
def waiting(request: pytest.FixtureRequest, store: MemoryStore) -> tuple[Inline, int, int, NotReady]:
    """A large file, another one, and what has to be read before the large one can be."""
    vault = open_inline(store)
    put_file(vault, b"large", b"a" * (request.param * SMALL_CHUNK))
    put_file(vault, b"other", b"o" * 3000)
    vault.vault.close()
    vault = open_inline(store)
    large, other = vault.walk(b"large").id, vault.walk(b"other").id
    vault.vault.remember(large)
    vault.vault.remember(other)
    return vault, large, other, missing(lambda: vault.vault.read_plan(large, 0, 10))


def test_a_map_that_was_forgotten_and_written_anew_meanwhile(waiting: tuple[Inline, int, int, NotReady]) -> None:
    vault, large, other, need = waiting
    vault.read(other, 0, 10)  # more maps than are kept
    vault.write(large, 0, b"b" * (7 * SMALL_CHUNK))
    for size in (6000, 3000):
        assert vault.vault.checkpoint()
        vault.setattr(large, SetAttr(size=size))
    assert vault.vault.checkpoint()
    need.prepare()
    need.install()
    assert vault.read(large, 0, 9999) == b"b" * 3000


def test_a_map_that_moved_to_the_entry_meanwhile(waiting: tuple[Inline, int, int, NotReady]) -> None:
    vault, large, _, need = waiting
    vault.setattr(large, SetAttr(size=SMALL_CHUNK))
    assert vault.vault.checkpoint()
    need.prepare()
    need.install()
    assert vault.read(large, 0, 9999) == b"a" * SMALL_CHUNK


def test_a_map_of_a_file_that_is_deleted_meanwhile(waiting: tuple[Inline, int, int, NotReady]) -> None:
    vault, large, _, need = waiting
    vault.unlink(ROOT, b"large")
    vault.vault.forget(large, 1)
    assert vault.vault.checkpoint()
    need.prepare()
    need.install()
