"""What is written over again and again takes no more room in the store each time, and what is cut off none."""

import random
from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.crashing import CHUNK
from tests.vault.harness import KEYS, TINY, new_store, open_inline, put_file
from tests.vault.walker import assert_clean, reachable
from vaultfs.format.constants import CHUNK_SIZE_DEFAULT
from vaultfs.format.layout import object_folders
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.vault import Vault

ROUNDS = 40
Change = Callable[[Inline, int, int, random.Random], None]


def room(store: MemoryStore) -> int:
    """The bytes in all objects."""
    return sum(image.size for folder in object_folders() for image in store.tree.get(folder, {}).values() if image)


def write_all(vault: Inline, file: int, chunks: int, rng: random.Random) -> None:
    vault.write(file, 0, rng.randbytes(chunks * CHUNK))


def write_a_part_of_each_chunk(vault: Inline, file: int, chunks: int, rng: random.Random) -> None:
    for chunk in range(chunks):
        vault.write(file, chunk * CHUNK + 10, rng.randbytes(20))


def write_one_chunk(vault: Inline, file: int, chunks: int, rng: random.Random) -> None:
    vault.write(file, rng.randrange(chunks) * CHUNK, rng.randbytes(CHUNK))


def cut_and_write(vault: Inline, file: int, chunks: int, rng: random.Random) -> None:
    vault.setattr(file, SetAttr(size=rng.randrange(chunks) * CHUNK + 7))
    assert vault.vault.checkpoint()
    write_all(vault, file, chunks, rng)


@pytest.mark.usefixtures("with_small_limits")
@pytest.mark.parametrize("change", [write_all, write_a_part_of_each_chunk, write_one_chunk, cut_and_write])
@pytest.mark.parametrize("chunks", [2, 5, 30])
@pytest.mark.parametrize("reopened", [False, True])
def test_a_file_that_is_changed_again_and_again(change: Change, chunks: int, reopened: bool) -> None:
    """Files of one segment, of several, and with nodes above them."""
    store = new_store()
    vault = open_inline(store)
    rng = random.Random(chunks)
    file = put_file(vault, b"file")
    write_all(vault, file, chunks, rng)
    sizes = []
    for _ in range(ROUNDS):
        if reopened:
            vault.vault.close()
            vault = open_inline(store)
            vault.vault.remember(vault.walk(b"file").id)
        change(vault, file, chunks, rng)
        assert vault.vault.checkpoint()
        sizes.append(room(store))
    # Each chunk may stand in two places until a checkpoint, and the nodes above them likewise.
    assert max(sizes) < 3 * chunks * CHUNK, sizes
    vault.vault.close()
    assert_clean(store)


@pytest.mark.usefixtures("with_small_limits")
@pytest.mark.parametrize("chunks", [4, 40])
def test_a_file_that_is_cut_gives_its_room_back(chunks: int) -> None:
    """Of a segment it needs, the end; of those behind it, all."""
    store = new_store()
    vault = open_inline(store)
    file = put_file(vault, b"file")
    write_all(vault, file, chunks, random.Random(1))
    assert vault.vault.checkpoint()
    assert room(store) >= chunks * CHUNK
    vault.setattr(file, SetAttr(size=CHUNK))
    assert vault.vault.checkpoint()
    assert room(store) < 2 * CHUNK


@pytest.mark.usefixtures("with_small_limits")
def test_a_key_seals_no_more_than_it_should() -> None:
    """Each object has its own; a file that is changed often enough moves to others (TINY: 64 seals)."""
    store = new_store()
    vault = open_inline(store)
    file = put_file(vault, b"file")
    objects: dict[bytes, int] = {}
    for number in range(100):
        write_all(vault, file, 2, random.Random(number))
        assert vault.vault.checkpoint()
        (name,) = [name for name, owner in reachable(store).items() if owner == f"file {file}"]
        objects[name] = objects.get(name, 0) + 2
    assert sum(objects.values()) == 200
    assert max(objects.values()) <= TINY.seals_per_object + 4
    vault.vault.close()
    assert_clean(store)


def test_a_segment_that_is_nearly_empty_moves_to_a_smaller_object() -> None:
    """What is left may stand at its very end; it moves with the next change."""
    store = MemoryStore()
    Vault.create(store, KEYS)
    vault = Inline(Vault.open(store, KEYS))
    file = put_file(vault, b"file")
    chunks = 80
    for chunk in reversed(range(chunks)):  # so that the beginning of the file stands at the end of the object
        vault.write(file, chunk * CHUNK_SIZE_DEFAULT, b"x" * CHUNK_SIZE_DEFAULT)
    assert vault.vault.checkpoint()
    vault.setattr(file, SetAttr(size=2 * CHUNK_SIZE_DEFAULT))
    assert vault.vault.checkpoint()
    assert room(store) >= chunks * CHUNK_SIZE_DEFAULT
    vault.write(file, 0, b"y" * CHUNK_SIZE_DEFAULT)
    assert vault.vault.checkpoint()
    assert room(store) < 4 * CHUNK_SIZE_DEFAULT
    assert vault.read(file, 0, 3 * CHUNK_SIZE_DEFAULT) == b"y" * CHUNK_SIZE_DEFAULT + b"x" * CHUNK_SIZE_DEFAULT
