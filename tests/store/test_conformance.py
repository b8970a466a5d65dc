"""What every store does alike: one suite over the directory, memory, and what wraps memory."""

import errno
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.faultystore import FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from vaultfs.store.api import Store
from vaultfs.store.directory import DirectoryStore
from vaultfs.store.journalfolder import JournalElsewhere

MAKERS: dict[str, Callable[[Path], Store]] = {
    "directory": lambda path: DirectoryStore(path, write=True),
    "memory": lambda _: MemoryStore(),
    "recording": lambda _: RecordingStore(MemoryStore()),
    "faulty": lambda _: FaultyStore(MemoryStore()),
    "journals elsewhere": lambda _: JournalElsewhere(MemoryStore(), MemoryStore()),
}


@pytest.fixture(params=MAKERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MAKERS[request.param](tmp_path)
    yield made
    made.close()


def test_written_bytes_come_back_to_every_opener(store: Store) -> None:
    file = store.create("a")
    file.write([b"hello ", bytearray(b"small "), memoryview(b"world")], 0)
    for reader in (file, store.open("a"), store.open("a", write=True)):
        assert reader.read(100, 0) == b"hello small world"
        assert reader.read(5, 6) == b"small"
        assert reader.size() == 17


def test_reads_are_short_only_at_the_end(store: Store) -> None:
    file = store.create("a")
    file.write([b"0123456789"], 0)
    assert file.read(4, 8) == b"89"
    assert file.read(4, 10) == b""
    assert file.read(4, 1 << 40) == b""
    assert file.read(0, 0) == b""


def test_cached_reads_are_none_or_what_read_says(store: Store) -> None:
    file = store.create("a")
    file.write([bytes(range(256)) * 64], 0)
    for size, offset, cached in ((16384, 0, 16384), (100, 16334, 50), (10, 20000, 0)):
        buffer = bytearray(size)
        done = file.read_cached(buffer, offset)
        assert done in (None, cached)
        assert done is None or buffer[:done] == file.read(size, offset)
        assert done is not None or offset, "just written, so cached"


def test_a_gap_reads_as_zeros(store: Store) -> None:
    file = store.create("a")
    file.write([b"end"], 10_000)
    assert file.size() == 10_003
    assert file.read(20_000, 0) == bytes(10_000) + b"end"


def test_truncate_cuts_and_lengthens_with_zeros(store: Store) -> None:
    file = store.create("a")
    file.write([b"x" * 9000], 0)
    file.truncate(5000)
    file.truncate(12_000)
    assert file.read(20_000, 0) == b"x" * 5000 + bytes(7000)


def test_many_buffers_in_one_write(store: Store) -> None:
    file = store.create("a")
    buffers = [bytes([number % 256]) * (number % 5) for number in range(3000)]
    file.write(buffers, 7)
    assert file.read(1 << 20, 7) == b"".join(buffers)
    file.write([], 3)
    file.write([b""], 1 << 30)
    assert file.size() == 7 + len(b"".join(buffers))


def test_random_writes_and_truncates_equal_a_bytearray(store: Store) -> None:
    rng = random.Random(7)
    file, model = store.create("a"), bytearray()
    for _ in range(300):
        offset, size = rng.randrange(20_000), rng.choice((1, 511, 4096, 5000))
        if rng.random() < 0.2:
            file.truncate(offset)
            model = model[:offset].ljust(offset, b"\0")
        else:
            data = rng.randbytes(size)
            file.write([data], offset)
            model = model.ljust(offset, b"\0")
            model[offset : offset + size] = data
        assert file.size() == len(model)
    assert file.read(1 << 20, 0) == bytes(model)


def test_allocated_room_reads_as_zeros_and_keeps_content(store: Store) -> None:
    file = store.create("a")
    file.write([b"abc"], 0)
    file.allocate(100_000)
    size = file.size()
    assert size in (3, 100_000), "the object keeps its length where the store cannot reserve room"
    assert file.read(1 << 20, 0) == b"abc".ljust(size, b"\0")
    file.allocate(10)
    file.allocate(0)
    assert file.size() == size


def test_create_refuses_a_taken_name(store: Store) -> None:
    store.create("a").write([b"kept"], 0)
    with pytest.raises(FileExistsError):
        store.create("a")
    assert store.open("a").read(10, 0) == b"kept"


@pytest.mark.parametrize("operation", ["open", "delete"])
def test_what_is_missing_is_not_found(store: Store, operation: str) -> None:
    store.make_folder("there")
    for path in ("missing", "there/missing", "missing/missing"):
        with pytest.raises(FileNotFoundError):
            getattr(store, operation)(path)
        assert not store.exists(path)
    for act in (lambda: store.rename("missing", "a"), lambda: store.create("missing/a")):
        with pytest.raises(FileNotFoundError):
            act()


def test_a_deleted_object_is_gone_but_its_open_file_works(store: Store) -> None:
    file = store.create("a")
    file.write([b"still here"], 0)
    store.delete("a")
    assert not store.exists("a")
    assert store.names("") == []
    assert file.read(100, 0) == b"still here"
    store.create("a").write([b"another"], 0)
    assert file.read(100, 0) == b"still here"


def test_rename_replaces_and_open_files_follow(store: Store) -> None:
    store.make_folder("f")
    old, new = store.create("a"), store.create("f/b")
    old.write([b"old"], 0)
    new.write([b"new"], 0)
    store.rename("a", "f/b")
    assert (store.names(""), store.names("f")) == (["f"], ["b"])
    old.write([b"!"], 3)
    assert store.open("f/b").read(10, 0) == b"old!"
    assert new.read(10, 0) == b"new"
    store.rename("f/b", "f/b")
    assert store.open("f/b").read(10, 0) == b"old!"


def test_folders_are_made_once_and_listed_sorted(store: Store) -> None:
    for folder in ("objects", "objects/ab", "objects/ab", "objects/00"):
        store.make_folder(folder)
    store.create("objects/ab/2")
    store.create("objects/ab/10")
    store.create("root.0")
    assert store.names("") == ["objects", "root.0"]
    assert store.names("objects") == ["00", "ab"]
    assert store.names("objects/ab") == ["10", "2"]
    with pytest.raises(FileNotFoundError):
        store.names("missing")


def test_a_folder_is_not_an_object_nor_an_object_a_folder(store: Store) -> None:
    store.make_folder("folder")
    store.create("object")
    for act in (
        lambda: store.open("folder"),
        lambda: store.open("folder", write=True),
        lambda: store.exists("folder"),
        lambda: store.open("object/x"),
        lambda: store.make_folder("object"),
        lambda: store.names("object"),
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileExistsError):
        store.create("folder")


@pytest.mark.parametrize("path", ["", "/", "/a", "..", "../a", "a/../b", ".", "./a", "a/", "a//b", "/etc/passwd"])
def test_paths_cannot_leave_the_store(store: Store, path: str) -> None:
    store.create("b")
    store.make_folder("a")
    for act in (store.open, store.create, store.exists, store.delete, store.make_folder):
        with pytest.raises(OSError) as caught:
            act(path)
        assert caught.value.errno == errno.EINVAL
    assert store.names("") == ["a", "b"]


def test_syncs_and_space(store: Store) -> None:
    store.make_folder("f")
    file = store.create("f/a")
    file.write([b"x"], 0)
    file.sync()
    store.sync_folder("f")
    store.sync_folder("")
    space = store.space()
    assert 0 < space.available <= space.free <= space.total
    assert store.writable


def test_a_closed_file_refuses_everything(store: Store) -> None:
    file = store.create("a")
    file.write([b"x"], 0)
    file.close()
    file.close()
    for act in (
        lambda: file.read(1, 0),
        lambda: file.read_cached(bytearray(1), 0),
        lambda: file.write([b"y"], 0),
        lambda: file.truncate(0),
        file.sync,
        file.size,
    ):
        with pytest.raises(OSError) as caught:
            act()
        assert caught.value.errno == errno.EBADF
    assert store.open("a").read(1, 0) == b"x"


def test_a_file_opened_for_reading_cannot_be_written(store: Store) -> None:
    store.create("a").write([b"x"], 0)
    file = store.open("a")
    for act in (lambda: file.write([b"y"], 0), lambda: file.truncate(0)):
        with pytest.raises(OSError):
            act()
    assert store.open("a").read(2, 0) == b"x"
