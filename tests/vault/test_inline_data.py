"""Very small files: their data stands in the directory's entries, and comes and goes there without losing a byte."""

import errno
import itertools
import logging
import random
import stat
from collections.abc import Callable, Iterator

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, new_store, nothing_loaded_late, open_inline, small_limits
from tests.vault.walker import assert_clean, object_names
from vaultfs.sealing.maps import ONE_CHUNK_SIZE, has_data
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions

CHUNK = 1024
LIMIT = 300
SETTINGS = Settings(
    checkpoint_age=1e9, journal_preallocation=0, ballast_size=0, recovery_name_gap=32, direct_minimum=512,
    inline_data=LIMIT, inline_room=4000,
)  # fmt: skip
OPENING = OpenOptions(chunk_size=CHUNK, settings=SETTINGS)


@pytest.fixture(autouse=True)
def _small_limits() -> Iterator[None]:
    with small_limits(), nothing_loaded_late():
        yield


@pytest.fixture
def store() -> MemoryStore:
    return new_store(CHUNK)


@pytest.fixture
def vault(store: MemoryStore) -> Inline:
    return open_inline(store, OPENING)


def new_file(vault: Inline, name: bytes, data: bytes, parent: int = ROOT) -> int:
    inode = vault.create_inode(parent, name, stat.S_IFREG | 0o600).id
    vault.write(inode, 0, data)
    return inode


def some_bytes(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def content(vault: Inline, name: bytes) -> bytes:
    inode = vault.lookup(ROOT, name)
    return vault.read(inode.id, 0, 1 << 30)


def reopened(store: MemoryStore) -> Inline:
    return open_inline(store.copy(), OPENING)


def checkpoint(vault: Inline) -> None:
    assert vault.vault.checkpoint()


@pytest.mark.parametrize(("size", "objects"), [(1, 1), (LIMIT, 1), (LIMIT + 1, 2)])
def test_little_data_needs_no_object(store: MemoryStore, vault: Inline, size: int, objects: int) -> None:
    data = some_bytes(size)
    new_file(vault, b"file", data)
    vault.vault.close()
    assert len(object_names(store)) == objects
    assert_clean(store, CHUNK)
    again = reopened(store)
    assert content(again, b"file") == data
    inode = again.lookup(ROOT, b"file")
    assert again.vault.blocks(inode) == 1


@pytest.mark.parametrize("first", [1, 200, LIMIT])
@pytest.mark.parametrize("second", [0, 1, 90, LIMIT, LIMIT + 1, CHUNK, 3 * CHUNK])
@pytest.mark.parametrize("offset", [0, 3, 150, LIMIT - 1, CHUNK, 5 * CHUNK + 7])
def test_data_moves_to_a_segment_when_it_grows(
    store: MemoryStore, vault: Inline, first: int, second: int, offset: int
) -> None:
    expected = bytearray(some_bytes(first))
    file = new_file(vault, b"file", bytes(expected))
    checkpoint(vault)
    added = some_bytes(second, 2)
    vault.write(file, offset, added)
    if second:
        expected.extend(bytes(max(offset + second - len(expected), 0)))
        expected[offset : offset + second] = added
    assert content(vault, b"file") == expected
    assert content(reopened(store), b"file") == expected
    checkpoint(vault)
    assert content(vault, b"file") == expected
    assert content(reopened(store), b"file") == expected
    vault.setattr(file, SetAttr(size=100))
    checkpoint(vault)
    assert content(vault, b"file") == expected.ljust(100, b"\0")[:100]
    vault.vault.close()
    assert_clean(store, CHUNK)
    assert content(reopened(store), b"file") == expected.ljust(100, b"\0")[:100]


def test_data_comes_back_to_the_entry_when_a_file_is_written_anew(store: MemoryStore, vault: Inline) -> None:
    file = new_file(vault, b"file", some_bytes(CHUNK))
    checkpoint(vault)
    vault.setattr(file, SetAttr(size=0))
    vault.write(file, 0, b"short")
    vault.vault.close()
    assert len(object_names(store)) == 1
    assert_clean(store, CHUNK)
    assert content(reopened(store), b"file") == b"short"


def test_a_sparse_file_with_little_data_at_its_beginning(store: MemoryStore, vault: Inline) -> None:
    file = new_file(vault, b"file", b"head")
    vault.setattr(file, SetAttr(size=10 * CHUNK))
    vault.vault.close()
    assert len(object_names(store)) == 1
    again = reopened(store)
    assert content(again, b"file") == b"head" + bytes(10 * CHUNK - 4)
    assert again.data_range(again.lookup(ROOT, b"file").id, 0) == (0, CHUNK)
    assert again.data_range(again.lookup(ROOT, b"file").id, CHUNK) is None


def test_names_may_change(store: MemoryStore, vault: Inline) -> None:
    folder = vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o700).id
    linked = new_file(vault, b"linked", b"one")
    new_file(vault, b"moved", b"two")
    new_file(vault, b"over", b"three")
    checkpoint(vault)
    vault.link(linked, folder, b"second")
    vault.rename(ROOT, b"moved", folder, b"third")
    new_file(vault, b"new", b"four")
    vault.rename(ROOT, b"new", ROOT, b"over")
    checkpoint(vault)
    vault.unlink(ROOT, b"linked")
    vault.vault.close()
    assert_clean(store, CHUNK)
    again = reopened(store)
    inside = again.lookup(ROOT, b"folder").id
    found = {
        name: again.read(again.lookup(parent, name).id, 0, 100)
        for parent, name in [(ROOT, b"over"), (inside, b"second"), (inside, b"third")]
    }
    assert found == {b"over": b"four", b"second": b"one", b"third": b"two"}


def _direct_first(vault: Inline, file: int, expected: bytearray) -> None:
    _put(vault, file, expected, 0, some_bytes(CHUNK, 3))


def _direct_second(vault: Inline, file: int, expected: bytearray) -> None:
    _put(vault, file, expected, CHUNK, some_bytes(CHUNK, 4))


def _far(vault: Inline, file: int, expected: bytearray) -> None:
    _put(vault, file, expected, 9 * CHUNK, some_bytes(CHUNK, 5))


def _patch(vault: Inline, file: int, expected: bytearray) -> None:
    _put(vault, file, expected, 1, b"patch")


def _empty(vault: Inline, file: int, expected: bytearray) -> None:
    vault.setattr(file, SetAttr(size=0))
    expected.clear()


def _cut(vault: Inline, file: int, expected: bytearray) -> None:
    vault.setattr(file, SetAttr(size=2))
    expected[:] = expected[:2].ljust(2, b"\0")


def _nothing(vault: Inline, file: int, expected: bytearray) -> None:
    vault.setattr(file, SetAttr(mode=0o640))


def _put(vault: Inline, file: int, expected: bytearray, offset: int, data: bytes) -> None:
    vault.write(file, offset, data)
    expected.extend(bytes(max(offset + len(data) - len(expected), 0)))
    expected[offset : offset + len(data)] = data


Change = Callable[[Inline, int, bytearray], None]
CHANGES: list[Change] = [_nothing, _patch, _cut, _empty, _direct_first, _direct_second, _far]


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize(("before", "meanwhile"), list(itertools.product(CHANGES, repeat=2)))
def test_writes_while_a_checkpoint_decides_lose_nothing(
    store: MemoryStore, before: Change, meanwhile: Change, failing: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A change before the checkpoint, one between its freeze and its work, one between its work and its end.

    With `failing` it finds no room the first time, and is tried again after the third change.
    """
    caplog.set_level(logging.CRITICAL, "vaultfs")
    for late in CHANGES:
        write_around_a_checkpoint(store.copy(), before, meanwhile, late, failing)


def write_around_a_checkpoint(
    store: MemoryStore, before: Change, meanwhile: Change, late: Change, failing: bool
) -> None:
    faulty = FaultyStore(store)
    vault = open_inline(faulty, OPENING)
    expected = bytearray(b"content")
    file = new_file(vault, b"file", bytes(expected))
    checkpoint(vault)
    before(vault, file, expected)
    job = vault.vault.begin_checkpoint()
    assert job is not None
    meanwhile(vault, file, expected)
    if failing:
        faulty.faults.append(Fault(errno.ENOSPC, kinds=frozenset({"write"}), below="objects", lasting=True))
    job.run()
    faulty.faults.clear()
    late(vault, file, expected)
    assert job.finish() is not failing
    if not failing:
        job.clean_up()
    vault.fsync()
    assert content(vault, b"file") == expected
    assert content(reopened(store), b"file") == expected
    for _ in range(3):
        vault.vault.checkpoint()
        assert content(vault, b"file") == expected
    vault.vault.close()
    assert_clean(store, CHUNK)
    assert content(reopened(store), b"file") == expected


def test_a_directory_takes_only_so_much_data(store: MemoryStore, vault: Inline) -> None:
    """It is read whole to find a name, and copied when its delta is merged."""
    for number in range(50):
        new_file(vault, b"%d" % number, some_bytes(250, number))
    vault.vault.close()
    outside = 50 - SETTINGS.inline_room // 250
    assert outside <= len(object_names(store)) <= outside + 2
    again = open_inline(store, OPENING)
    for number in range(50):
        assert content(again, b"%d" % number) == some_bytes(250, number)
        again.write(again.lookup(ROOT, b"%d" % number).id, 0, b"changed")
    again.vault.close()
    assert len(object_names(store)) > outside + 10, "the entries took all the room there is"
    assert_clean(store, CHUNK)


def test_data_no_longer_than_to_say_where_it_is_is_always_taken(store: MemoryStore, vault: Inline) -> None:
    for number in range(100):
        new_file(vault, b"%d" % number, some_bytes(250, number))
    checkpoint(vault)
    full = object_names(store)
    for number in range(100, 200):
        new_file(vault, b"%d" % number, some_bytes(ONE_CHUNK_SIZE - 1, number))
    new_file(vault, b"more", some_bytes(ONE_CHUNK_SIZE))
    vault.vault.close()
    assert len(object_names(store)) <= len(full) + 2, "the larger one, and perhaps the directory's delta"
    assert_clean(store, CHUNK)
    again = reopened(store)
    for number in range(200):
        assert content(again, b"%d" % number) == some_bytes(250 if number < 100 else ONE_CHUNK_SIZE - 1, number)
    sections = [again.lookup(ROOT, name).content for name in (b"99", b"more", b"100")]
    assert [len(section) for section in sections] == [ONE_CHUNK_SIZE] * 3
    assert [has_data(section) for section in sections] == [False, False, True]


def test_a_vault_from_before_keeps_all_data_in_objects(store: MemoryStore) -> None:
    vault = open_inline(store, OPENING._replace(inline_data=False))
    new_file(vault, b"file", b"data")
    vault.vault.close()
    assert len(object_names(store)) == 2
    assert content(reopened(store), b"file") == b"data"


def test_memory_does_not_grow_with_what_was_read(store: MemoryStore) -> None:
    settings = Settings(checkpoint_age=1e9, entry_budget=8000, directory_budget=30_000, fresh_directories=2)
    vault = open_inline(store, OPENING._replace(settings=settings))
    for number in range(40):
        folder = vault.create_inode(ROOT, b"%d" % number, stat.S_IFDIR | 0o700).id
        for inner in range(10):
            new_file(vault, b"%d" % inner, some_bytes(250, number * 10 + inner), folder)
    vault.vault.close()
    vault = open_inline(store, OPENING._replace(settings=settings))
    state = vault.vault._state
    for number in range(40):
        folder = vault.lookup(ROOT, b"%d" % number).id
        for inner in range(10):
            file = vault.lookup(folder, b"%d" % inner).id
            vault.open_inode(file)
            assert vault.read(file, 0, 500) == some_bytes(250, number * 10 + inner)
            vault.release(file)
            assert file not in state.contents
            vault.vault.evict()
        assert sum(directory.size for directory in state.directories.values()) < 60_000
        assert sum(inode.content_size for inode in state.cache.values()) < 30_000


def test_memory_does_not_grow_with_what_was_written(store: MemoryStore) -> None:
    settings = Settings(checkpoint_age=1e9, entry_budget=8000, directory_budget=30_000, fresh_directories=2)
    vault = open_inline(store, OPENING._replace(settings=settings))
    state = vault.vault._state
    for number in range(40):
        folder = vault.create_inode(ROOT, b"%d" % number, stat.S_IFDIR | 0o700).id
        for inner in range(10):
            new_file(vault, b"%d" % inner, some_bytes(250, number * 10 + inner), folder)
        checkpoint(vault)
        vault.vault.evict()
        assert not state.contents
        assert sum(directory.size for directory in state.directories.values()) < 60_000
        assert sum(inode.content_size for inode in state.cache.values()) < 30_000
    for number in range(40):
        folder = vault.lookup(ROOT, b"%d" % number).id
        for inner in range(10):
            file = vault.lookup(folder, b"%d" % inner).id
            assert vault.read(file, 0, 500) == some_bytes(250, number * 10 + inner)
