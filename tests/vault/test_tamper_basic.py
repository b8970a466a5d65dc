"""Whatever is done to a store's objects: the vault shows the right bytes or an error, and damage stays where it is."""

import logging
import stat
from collections.abc import Callable, Iterator

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.crashing import CHUNK
from tests.vault.harness import KEYS, ROOT, new_store, open_inline, options, small_limits
from tests.vault.walker import reachable
from vaultfs.errors import Damaged, JournalDamaged, OpenError, PartlySynced
from vaultfs.format.layout import object_path
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.state import shard_of
from vaultfs.vault.vault import Vault

Bytes = Callable[[bytes], bytes | None]


@pytest.fixture(autouse=True)
def _small_limits(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    for name in ("vaultfs.vault", "vaultfs.recovery"):
        caplog.set_level(logging.CRITICAL, name)
    with small_limits():
        yield


def content_of(path: bytes, version: int, size: int) -> bytes:
    unit = path + b" v%d " % version
    return (unit * (size // len(unit) + 1))[:size]


SIZES = {b"small": 700, b"inline": 2 * CHUNK, b"tree": 13 * CHUNK + 5, b"d/one": CHUNK, b"d/two": 3 * CHUNK}


def fill(vault: Inline, version: int) -> None:
    """Write every file anew."""
    for path, size in SIZES.items():
        inode = vault.walk(path)
        vault.setattr(inode.id, SetAttr(size=0))
        vault.write(inode.id, 0, content_of(path, version, size))


def make_files(vault: Inline) -> None:
    for path in (b"d", b"e"):
        vault.create_inode(ROOT, path, stat.S_IFDIR | 0o755)
    for path in SIZES:
        folder, _, name = path.rpartition(b"/")
        vault.create_inode(vault.walk(folder).id, name, stat.S_IFREG | 0o644)
    for number in range(30):
        vault.create_inode(vault.walk(b"e").id, b"filler %d" % number, stat.S_IFREG | 0o644)
    shared = vault.create_inode(ROOT, b"shared", stat.S_IFREG | 0o644)
    vault.link(shared.id, vault.walk(b"d").id, b"shared too")


@pytest.fixture(scope="module")
def versions() -> tuple[MemoryStore, MemoryStore]:
    """A store with version 1 of every file, and the same store with version 2; both closed cleanly."""
    with small_limits():
        store = new_store()
        vault = open_inline(store)
        make_files(vault)
        fill(vault, 1)
        vault.vault.close()
        older = store.copy()
        vault = open_inline(store)
        fill(vault, 2)
        vault.vault.checkpoint()
        vault.create_inode(vault.walk(b"e").id, b"one more", stat.S_IFREG | 0o644)
        vault.vault.close()
        return older, store


def replaced(store: MemoryStore, path: str, change: Bytes) -> MemoryStore:
    """A copy of a store in which one object's bytes are changed, or the object is gone."""
    store = store.copy()
    file = store.open(path, write=True)
    data = change(file.read(file.size(), 0))
    if data is None:
        store.delete(path)
    else:
        file.truncate(0)
        file.write([data], 0)
    return store


def flipped(position: float) -> Bytes:
    """Flip a bit in the byte at this share of the object's length."""

    def change(data: bytes) -> bytes:
        at = min(int(len(data) * position), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]

    return change


CHANGES: dict[str, Bytes] = {
    **{f"flip at {position}": flipped(position) for position in (0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1)},
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by one byte": lambda data: data[:-1],
    "emptied": lambda data: b"",
    "zeroed": lambda data: bytes(len(data)),
    "deleted": lambda data: None,
    "longer": lambda data: data + b"tail" * 99,
    "turned around": lambda data: data[::-1],
}


def judge(store: MemoryStore, owner: str, version: int) -> int:
    """Look at everything; how many files or directories are damaged. Only what `owner` says may be."""
    vault = open_inline(store, options(read_only=True))
    damaged = 0
    unreadable: set[bytes] = set()
    names: dict[bytes, list[bytes]] = {}
    for folder in (b"", b"d", b"e"):
        try:
            inode = vault.walk(folder)
        except Damaged:
            assert unreadable, "a directory is damaged below one that is not"
            continue
        try:
            names[folder] = [name for name, _ in vault.list_directory(inode.id)]
        except Damaged:
            assert owner == f"directory {inode.id}", f"/{folder.decode()} is damaged"
            damaged += 1
            unreadable.add(folder)
    for path, size in SIZES.items():
        folder, _, name = path.rpartition(b"/")
        if folder in unreadable or b"" in unreadable:
            continue
        assert name in names[folder]
        inode = vault.walk(path)
        assert inode.size == size
        chunks = 0
        for offset in range(0, size, CHUNK):
            try:
                seen = vault.read(inode.id, offset, CHUNK)
            except Damaged:
                chunks += 1
                assert owner.endswith(f"file {inode.id}"), f"{path!r} is damaged"
                continue
            assert seen == content_of(path, version, size)[offset : offset + CHUNK], f"{path!r} has wrong bytes"
        damaged += bool(chunks)
    return damaged


def test_untouched_stores_are_whole(versions: tuple[MemoryStore, MemoryStore]) -> None:
    older, store = versions
    assert judge(older, "", 1) == 0
    assert judge(store, "", 2) == 0


@pytest.mark.parametrize("how", CHANGES)
def test_a_changed_object_costs_only_what_it_holds(versions: tuple[MemoryStore, MemoryStore], how: str) -> None:
    store = versions[1]
    damaged = 0
    objects = reachable(store)
    for name, owner in objects.items():
        damaged += judge(replaced(store, object_path(name), CHANGES[how]), owner, 2)
    if how == "longer":
        assert damaged == 0
    elif how in ("emptied", "zeroed", "deleted", "turned around"):
        seen = [owner for owner in objects.values() if "directory" not in owner or owner.split()[1] in ("1",)]
        assert damaged >= len(seen) // 2
    elif how != "flip at 0":
        assert damaged > 0


def test_swapped_objects_are_noticed(versions: tuple[MemoryStore, MemoryStore]) -> None:
    store = versions[1]
    objects = reachable(store)
    for name in objects:
        for other, owner in objects.items():
            if other != name:
                data = store.open(object_path(name)).read(1 << 30, 0)
                assert judge(replaced(store, object_path(other), lambda _, data=data: data), owner, 2) <= 1  # type: ignore[misc]


def test_an_older_object_is_noticed(versions: tuple[MemoryStore, MemoryStore]) -> None:
    """An object put back as it was before its last change must not show old bytes."""
    older, store = versions
    shared = [name for name in reachable(store) if older.exists(object_path(name))]
    assert shared
    changed = 0
    for name in shared:
        data = older.open(object_path(name)).read(1 << 30, 0)
        if data == store.open(object_path(name)).read(1 << 30, 0):
            continue
        changed += 1
        judge(replaced(store, object_path(name), lambda _, data=data: data), reachable(store)[name], 2)  # type: ignore[misc]
    assert changed


@pytest.mark.parametrize("how", CHANGES)
def test_one_damaged_root_costs_nothing(versions: tuple[MemoryStore, MemoryStore], how: str) -> None:
    for slot in ("root.0", "root.1"):
        store = replaced(versions[1], slot, CHANGES[how])
        if how == "deleted":
            with pytest.raises(PartlySynced):
                Vault.open(store.copy(), KEYS, options())
        else:
            open_inline(store.copy()).vault.close()
        assert judge(store, "", 2) == 0


def test_both_roots_damaged_are_an_error_that_says_so(versions: tuple[MemoryStore, MemoryStore]) -> None:
    store = replaced(replaced(versions[1], "root.0", flipped(0.5)), "root.1", flipped(0.5))
    with pytest.raises(OpenError, match="root"):
        Vault.open(store, KEYS, options())


@pytest.fixture(scope="module")
def unclean(versions: tuple[MemoryStore, MemoryStore]) -> MemoryStore:
    """Version 2 committed, version 3 synced but in the journal alone; the process is gone."""
    with small_limits():
        store = versions[1].copy()
        vault = open_inline(store)
        fill(vault, 3)
        vault.fsync()
        vault.write(vault.walk(b"small").id, 0, b"never synced")
        return store.copy()


def journal_of(store: MemoryStore) -> str:
    names = [f"journal/{name}" for name in store.names("journal")]
    return max(names, key=lambda path: store.open(path).size())


def test_a_journal_that_lost_synced_records_needs_consent(unclean: MemoryStore) -> None:
    path = journal_of(unclean)
    size = unclean.open(path).size()
    refused = 0
    for at in range(0, size, 97):
        store = replaced(unclean, path, flipped(at / size))
        try:
            vault = Inline(Vault.open(store.copy(), KEYS, options()))
        except JournalDamaged:
            refused += 1
            vault = Inline(Vault.open(store.copy(), KEYS, options(accept_damage=True)))
            assert vault.list_directory(ROOT)
        else:
            for path_, length in SIZES.items():
                seen = vault.read(vault.walk(path_).id, 0, 1 << 20)
                assert path_ == b"small" or seen == content_of(path_, 3, length), f"flip at {at}"
        looked = Inline(Vault.open(store, KEYS, options(read_only=True)))
        assert looked.list_directory(ROOT)
    assert refused > 10


def test_a_missing_journal_is_a_store_that_is_not_all_there(unclean: MemoryStore) -> None:
    store = replaced(unclean, journal_of(unclean), lambda data: None)
    with pytest.raises(PartlySynced, match="journal"):
        Vault.open(store, KEYS, options())


def test_a_bad_chunk_under_a_journaled_patch_costs_that_file_alone(versions: tuple[MemoryStore, MemoryStore]) -> None:
    """Recovery must not fail for the whole vault because one chunk it has to patch does not verify."""
    store = versions[1].copy()
    vault = open_inline(store)
    inode = vault.walk(b"inline")
    vault.write(inode.id, 100, b"patched")
    vault.fsync()
    store = store.copy()
    (name,) = [name for name, owner in reachable(store).items() if owner == f"file {inode.id}"]
    store = replaced(store, object_path(name), lambda data: data[:96] + bytes(len(data) - 96))
    for opening in (options(read_only=True), options()):
        vault = open_inline(store.copy() if opening.read_only else store, opening)
        with pytest.raises(Damaged):
            vault.read(vault.walk(b"inline").id, 0, 200)
        assert vault.read(vault.walk(b"tree").id, 0, 1 << 20) == content_of(b"tree", 2, SIZES[b"tree"])


@pytest.mark.parametrize("was_read", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda vault, inode: vault.write(inode, 100, b"patched"),
        lambda vault, inode: vault.setattr(inode, SetAttr(size=100)),
    ],
    ids=["write", "cut"],
)
def test_a_change_to_a_part_of_a_bad_chunk_is_refused_before_anything_changes(
    versions: tuple[MemoryStore, MemoryStore], change: Callable[[Inline, int], object], was_read: bool
) -> None:
    """Refused after it is in the journal it would turn the whole vault read-only."""
    inode = open_inline(versions[1].copy()).walk(b"inline").id
    (name,) = [name for name, owner in reachable(versions[1]).items() if owner == f"file {inode}"]
    store = replaced(versions[1], object_path(name), lambda data: data[:96] + bytes(len(data) - 96))
    vault = open_inline(store)
    found = vault.walk(b"inline")
    if was_read:
        with pytest.raises(Damaged):
            vault.read(found.id, 0, CHUNK)
    for _ in range(2):
        with pytest.raises(Damaged):
            change(vault, found.id)
        assert vault.walk(b"inline") == found
    assert not vault.vault.read_only
    vault.write(found.id, 0, content_of(b"inline", 3, SIZES[b"inline"]))  # all of it can be replaced
    vault.vault.close()
    again = open_inline(store)
    assert again.read(again.walk(b"inline").id, 0, 1 << 20) == content_of(b"inline", 3, SIZES[b"inline"])


def test_a_bad_directory_under_journaled_changes_needs_consent(versions: tuple[MemoryStore, MemoryStore]) -> None:
    """What the journal says of a directory that cannot be read is lost; the vault around it is not."""
    store = versions[1].copy()
    vault = open_inline(store)
    folder = vault.walk(b"e")
    made = vault.create_inode(folder.id, b"new", stat.S_IFREG | 0o644)
    vault.write(made.id, 0, b"in the lost directory")
    vault.create_inode(ROOT, b"kept", stat.S_IFREG | 0o644)
    vault.fsync()
    store = store.copy()
    for name, owner in reachable(store).items():
        if owner == f"directory {folder.id}":
            store = replaced(store, object_path(name), lambda data: bytes(len(data)))
    with pytest.raises(JournalDamaged):
        Vault.open(store.copy(), KEYS, options())
    for opening in (options(read_only=True), options(accept_damage=True)):
        vault = open_inline(store.copy(), opening)
        assert vault.walk(b"kept")
        assert vault.read(vault.walk(b"tree").id, 0, 1 << 20) == content_of(b"tree", 2, SIZES[b"tree"])
        with pytest.raises(Damaged):
            vault.list_directory(vault.walk(b"e").id)
        vault.vault.close()


def test_bad_orphans_do_not_keep_the_vault_from_opening(versions: tuple[MemoryStore, MemoryStore]) -> None:
    store = versions[1].copy()
    vault = open_inline(store)
    vault.open_inode(vault.walk(b"small").id)
    vault.unlink(ROOT, b"small")
    vault.vault.close()
    (name,) = [name for name, owner in reachable(store).items() if owner == "directory 3"]
    store.delete(object_path(name))
    vault = open_inline(store)
    assert vault.read(vault.walk(b"tree").id, 0, 1 << 20) == content_of(b"tree", 2, SIZES[b"tree"])


@pytest.mark.parametrize("looked_at", [False, True])
def test_a_file_whose_map_is_damaged_can_be_deleted(versions: tuple[MemoryStore, MemoryStore], looked_at: bool) -> None:
    """Which objects it had nobody can tell: they stay behind, and everything else goes on."""
    store = versions[1].copy()
    vault = open_inline(store)
    number = vault.walk(b"tree").id
    (index,) = [name for name, owner in reachable(store).items() if owner == f"index of file {number}"]
    store = replaced(store, object_path(index), lambda data: bytes(len(data)))
    vault = open_inline(store)
    if looked_at:
        with pytest.raises(Damaged):
            vault.read(vault.walk(b"tree").id, 0, 10)
    vault.unlink(ROOT, b"tree")
    vault.create_inode(ROOT, b"new", stat.S_IFREG | 0o644)
    assert vault.vault.checkpoint()
    vault.vault.close()
    names = dict(open_inline(store).list_directory(ROOT))
    assert b"new" in names
    assert b"tree" not in names


def test_deleted_files_that_cannot_be_found_keep_nothing_from_opening(
    versions: tuple[MemoryStore, MemoryStore],
) -> None:
    """What was open when its name went is deleted at the next opening, if it can be found."""
    store = versions[1].copy()
    vault = open_inline(store)
    shared = vault.walk(b"shared")
    vault.open_inode(shared.id)
    vault.unlink(ROOT, b"shared")
    vault.unlink(vault.walk(b"d").id, b"shared too")
    vault.open_inode(vault.walk(b"small").id)
    vault.unlink(ROOT, b"small")
    assert vault.vault.checkpoint()
    store = store.copy()
    (shard,) = [name for name, owner in reachable(store).items() if owner == f"directory {shard_of(shared.id)}"]
    store = replaced(store, object_path(shard), lambda data: bytes(len(data)))
    vault = open_inline(store)
    assert {b"d", b"e", b"tree", b"inline"} <= dict(vault.list_directory(ROOT)).keys()
    vault.create_inode(ROOT, b"new", stat.S_IFREG | 0o644)
    vault.vault.close()
    assert b"new" in dict(open_inline(store).list_directory(ROOT))
