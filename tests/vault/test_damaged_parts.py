"""Damage to one file or folder stays with it: who changes something near it does not stop the whole vault."""

import logging
import random
import stat

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, SMALL_CHUNK, open_inline, options, put_file
from tests.vault.walker import object_names
from vaultfs.errors import Damaged, WriteFailed
from vaultfs.format.layout import object_path, slot_offset
from vaultfs.sealing.entries import decode_head
from vaultfs.sealing.maps import leaf_entries
from vaultfs.store.api import read_file
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.segment import Segment


def committed(vault: Inline, inode: int) -> dict[int, Segment]:
    return vault.vault._state.contents[inode].committed


def break_slot(store: MemoryStore, path: str, slot: int) -> None:
    file = store.open(path, write=True)
    file.write([bytes(8)], slot_offset(slot, SMALL_CHUNK) + 20)
    file.close()


def file_in_an_object(store: MemoryStore) -> tuple[Inline, int, str]:
    """An open vault with a file of two chunks, `x`, and another file; the first one's inode id and object's path."""
    vault = open_inline(store)
    inode = put_file(vault, b"file", b"x" * 2048)
    put_file(vault, b"other", b"o" * 5000)
    vault.vault.open_inode(inode)
    assert vault.vault.checkpoint()
    return vault, inode, committed(vault, inode)[0].path


def without_its_object(store: MemoryStore) -> tuple[Inline, int, str, bytes]:
    """The same opened anew when the object is gone from the store, and what that had stored."""
    vault, inode, path = file_in_an_object(store)
    vault.vault.release(inode)
    vault.vault.close()
    stored = read_file(store, path)
    store.delete(path)
    vault = open_inline(store)
    inode = vault.walk(b"file").id
    vault.vault.remember(inode)
    return vault, inode, path, stored


def end_and_reopen(store: MemoryStore, vault: Inline, inode: int) -> Inline:
    """After a sync and a checkpoint, which has to succeed; as a kill leaves it, and closed, it opens again."""
    vault.fsync(inode)
    killed = store.copy()
    assert vault.vault.checkpoint()
    vault.vault.close()
    open_inline(killed).vault.close()
    return open_inline(store)


@pytest.fixture
def broken_leaf(store: MemoryStore, request: pytest.FixtureRequest) -> MemoryStore:
    """A file of four segments; the third one's leaf is damaged, or its object is missing."""
    vault = open_inline(store)
    inode = put_file(vault, b"large", b"x" * (14 * SMALL_CHUNK))
    put_file(vault, b"other", b"o" * 5000)
    vault.vault.open_inode(inode)
    assert vault.vault.checkpoint()
    segment = committed(vault, inode)[2]
    assert segment.node is not None
    vault.vault.release(inode)
    vault.vault.close()
    if request.param:
        store.delete(segment.path)
    else:
        break_slot(store, segment.path, segment.node.slot)
    return store


@pytest.mark.expects_log("a damaged part is cut off")
@pytest.mark.parametrize("broken_leaf", [False, True], ids=["damaged", "missing"], indirect=True)
@pytest.mark.parametrize("size", [0, 5 * SMALL_CHUNK, 4 * SMALL_CHUNK, 8 * SMALL_CHUNK])
def test_a_file_is_cut_before_its_damaged_part(broken_leaf: MemoryStore, size: int) -> None:
    """As `cp good bad` does, which empties it first."""
    vault = open_inline(broken_leaf)
    inode = vault.walk(b"large").id
    vault.vault.remember(inode)
    vault.setattr(inode, SetAttr(size=size))
    vault.write(inode, 0, b"good" * 200)
    again = end_and_reopen(broken_leaf, vault, inode)
    found = again.walk(b"large")
    assert found.size == max(size, 800)
    assert again.read(found.id, 0, 1 << 20) == (b"good" * 200).ljust(size, b"x")
    assert again.read(again.walk(b"other").id, 0, 9999) == b"o" * 5000


@pytest.mark.parametrize("broken_leaf", [False], indirect=True)
def test_a_file_is_cut_to_a_part_whose_leaf_is_damaged(broken_leaf: MemoryStore) -> None:
    vault = open_inline(broken_leaf)
    inode = vault.walk(b"large").id
    with pytest.raises(Damaged):
        vault.setattr(inode, SetAttr(size=11 * SMALL_CHUNK))
    vault.setattr(inode, SetAttr(size=12 * SMALL_CHUNK))
    again = end_and_reopen(broken_leaf, vault, inode)
    found = again.walk(b"large").id
    assert again.read(found, 0, 8 * SMALL_CHUNK) == b"x" * (8 * SMALL_CHUNK)
    with pytest.raises(Damaged):
        again.read(found, 8 * SMALL_CHUNK, 10)


@pytest.mark.expects_log("stays where it is")
def test_a_segment_with_a_damaged_chunk_does_not_move(store: MemoryStore) -> None:
    vault = open_inline(store)
    inode = put_file(vault, b"file", b"a" * 4096)
    vault.vault.open_inode(inode)
    assert vault.vault.checkpoint()
    for letter in (b"b", b"c", b"d"):
        vault.write(inode, 0, letter * 4096)
    vault.setattr(inode, SetAttr(size=2048))
    assert vault.vault.checkpoint()
    segment = committed(vault, inode)[0]
    slot = dict(leaf_entries(segment.leaf or b""))[0].slot
    vault.vault.release(inode)
    vault.vault.close()
    break_slot(store, segment.path, slot)
    objects = len(object_names(store))
    vault = open_inline(store)
    inode = vault.walk(b"file").id
    vault.vault.remember(inode)
    vault.write(inode, 1024, b"new" * 300)
    again = end_and_reopen(store, vault, inode)
    found = again.walk(b"file").id
    assert again.read(found, 1024, 900) == b"new" * 300
    with pytest.raises(Damaged):
        again.read(found, 0, 10)
    again.vault.close()
    assert len(object_names(store)) == objects


@pytest.mark.parametrize(("offset", "size"), [(2048, 100), (0, 1024), (0, 2048), (2000, 3), (5000, 10)])
def test_a_file_whose_object_is_missing_takes_no_data(store: MemoryStore, offset: int, size: int) -> None:
    """A sync client may still bring it: nothing is accepted that could go nowhere."""
    vault, inode, path, stored = without_its_object(store)
    with pytest.raises(Damaged, match="missing"):
        vault.write(inode, offset, b"y" * size)
    with pytest.raises(Damaged, match="missing"):
        vault.setattr(inode, SetAttr(size=1000))
    vault.setattr(inode, SetAttr(mode=0o600))
    again = end_and_reopen(store, vault, inode)
    assert again.read(again.walk(b"other").id, 0, 9999) == b"o" * 5000
    again.vault.close()
    store.create(path).write([stored], 0)
    again = open_inline(store)
    assert again.read(again.walk(b"file").id, 0, 9999) == b"x" * 2048


def test_a_file_whose_object_is_missing_is_written_anew(store: MemoryStore) -> None:
    vault, inode, _, _ = without_its_object(store)
    vault.setattr(inode, SetAttr(size=0))
    vault.write(inode, 0, b"good" * 999)
    again = end_and_reopen(store, vault, inode)
    assert again.read(again.walk(b"file").id, 0, 9999) == b"good" * 999


@pytest.mark.expects_log("object .* is missing")
def test_an_object_lost_after_a_change_was_accepted(store: MemoryStore) -> None:
    """It may still come, so the vault waits for it; with consent the new data is kept, and the old is known as lost."""
    vault, inode, path = file_in_an_object(store)
    vault.write(inode, 2048, b"new")
    vault.fsync()
    killed = store.copy()
    stored = read_file(killed, path)
    killed.delete(path)
    with pytest.raises(WriteFailed, match=r"object .* is missing"):
        open_inline(killed)
    consent = open_inline(killed.copy(), options(accept_damage=True))
    consent.vault.close()
    again = open_inline(consent.vault.store)
    found = again.walk(b"file").id
    assert again.read(found, 2048, 10) == b"new"
    with pytest.raises(Damaged):
        again.read(found, 0, 10)
    assert again.read(again.walk(b"other").id, 0, 9999) == b"o" * 5000
    killed.create(path).write([stored], 0)
    arrived = open_inline(killed)
    assert arrived.read(arrived.walk(b"file").id, 0, 9999) == b"x" * 2048 + b"new"


@pytest.mark.expects_log("a folder that cannot be read is added to")
def test_a_folder_that_is_damaged_takes_what_changes_below_it(store: MemoryStore) -> None:
    """Its names are not in memory, and so many of its bytes are out of use that it would be written anew."""
    vault = open_inline(store)
    folder = vault.create_inode(ROOT, b"folder", stat.S_IFDIR | 0o700).id
    for number in range(30):
        vault.create_inode(folder, b"%d" % number, stat.S_IFREG | 0o600)
    vault.create_inode(folder, b"below", stat.S_IFDIR | 0o700)
    vault.vault.close()
    whole = store.copy()
    vault = open_inline(store)
    folder, below = vault.walk(b"folder").id, vault.walk(b"folder/below").id
    vault.vault.remember(folder)
    vault.vault.remember(below)
    vault.list_directory(below)
    vault.vault._state.directories.pop(folder)
    path = object_path(decode_head(vault.getattr(folder).content).base.object)
    file = store.open(path, write=True)
    file.write([bytes(8)], 200)
    for number in range(40):
        vault.create_inode(below, b"x%d" % number, stat.S_IFREG | 0o600)
        vault.fsync()
        assert vault.vault.checkpoint(), vault.vault.read_only_reason
    vault.vault.close()
    again = open_inline(store)
    with pytest.raises(Damaged):
        again.walk(b"folder/3")
    again.vault.close()
    # Once the bytes are back, so is all of it.
    file.write([read_file(whole, path)[200:208]], 200)
    again = open_inline(store)
    names = dict(again.list_directory(again.walk(b"folder/below").id)).keys()
    assert names == {b"x%d" % number for number in range(40)}


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_done_to_a_damaged_file_the_vault_goes_on(
    seed: int, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """At random: an object of one file of three is damaged or gone; the others stay whole, and the vault opens."""
    rng = random.Random(seed)
    caplog.set_level(logging.CRITICAL, "vaultfs.vault")
    caplog.set_level(logging.CRITICAL, "vaultfs.recovery")
    vault = open_inline(store)
    expected: dict[bytes, bytearray] = {}
    for name in (b"one", b"two", b"three"):
        inode = put_file(vault, name)
        expected[name] = bytearray()
        for _ in range(rng.randint(1, 4)):
            change(rng, vault, inode, expected[name], most=9 * SMALL_CHUNK)
        vault.write(inode, 0, b"a" * (2 * SMALL_CHUNK))
        expected[name][: 2 * SMALL_CHUNK] = b"a" * (2 * SMALL_CHUNK)
        assert vault.vault.checkpoint()
    objects = {name: segment_paths(vault, name) for name in expected}
    vault.vault.close()
    victim = rng.choice(sorted(expected))
    path = rng.choice(objects[victim])
    if rng.random() < 0.4:
        store.delete(path)
    else:
        file = store.open(path, write=True)
        file.write([rng.randbytes(4)], rng.randrange(96, max(97, file.size() - 4)))
        file.close()
    vault = open_inline(store)
    for _ in range(rng.randint(2, 12)):
        name = victim if rng.random() < 0.7 else rng.choice(sorted(expected))
        step = rng.random()
        try:
            if step < 0.6:
                change(rng, vault, vault.walk(name).id, expected[name], most=5 * SMALL_CHUNK)
            elif step < 0.8:
                vault.vault.checkpoint()
            elif step < 0.9:
                vault.fsync()
            else:
                vault = open_inline(store := store.copy())
        except Damaged:
            assert name == victim
        assert not vault.vault.read_only, vault.vault.read_only_reason
    vault.vault.close()
    again = open_inline(store)
    for name in expected.keys() - {victim}:
        found = again.walk(name)
        assert again.read(found.id, 0, found.size) == expected[name]


def segment_paths(vault: Inline, name: bytes) -> list[str]:
    found = vault.walk(name)
    vault.read(found.id, 0, found.size)
    return sorted(segment.path for segment in committed(vault, found.id).values())


def change(rng: random.Random, vault: Inline, inode: int, expected: bytearray, most: int) -> None:
    """Write somewhere or set another size; `expected` follows if that was accepted."""
    if rng.random() < 0.6:
        offset = rng.choice([0, rng.randrange(20) * SMALL_CHUNK, rng.randrange(20 * SMALL_CHUNK)])
        data = rng.randbytes(rng.choice([50, SMALL_CHUNK, most]))
        vault.write(inode, offset, data)
        expected.extend(bytes(max(offset + len(data) - len(expected), 0)))
        expected[offset : offset + len(data)] = data
    else:
        size = rng.choice([0, rng.randrange(20) * SMALL_CHUNK, rng.randrange(20 * SMALL_CHUNK)])
        vault.setattr(inode, SetAttr(size=size))
        del expected[size:]
        expected.extend(bytes(size - len(expected)))
