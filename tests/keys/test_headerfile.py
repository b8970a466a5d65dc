"""Both copies of the header in a store: which one counts, and what crashes and failures leave."""

import errno
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.errors import (
    HeaderDamaged,
    HeaderUnreadable,
    HeaderUnwritable,
    StoreUnusable,
    UnsupportedVaultVersion,
    WrongPassword,
    WrongVault,
)
from vaultfs.keys.header import create, serialise, unlock
from vaultfs.keys.headerfile import LoadedHeader, load, load_authentic, load_from_roots, save
from vaultfs.keys.slotchanges import replace_slot
from vaultfs.keys.slots import make_slot
from vaultfs.store.api import Space, Store, StoreFile
from vaultfs.store.directory import DirectoryStore

OLD, NEW = b"old password", b"new password"
MADE = create(OLD, kdf=Scrypt(10, 8, 1), minimum=OPEN_FLOOR)
DATA = serialise(MADE.header, MADE.keys.header_mac_key)
ROOT = (100).to_bytes(4, "little") + bytes(12) + bytes(range(100))
TRAILER = len(DATA).to_bytes(4, "little") + DATA
LATER = serialise(replace(MADE.header, epoch=2), MADE.keys.header_mac_key)


def change_password(store: Store, old: bytes, new: bytes) -> LoadedHeader:
    """What `vaultfs passwd` does, with the lowest costs."""
    opened = unlock(load(store).raw, old)
    slot = make_slot(new, opened.master, opened.header.vault_id, kdf=opened.slot.kdf, minimum=OPEN_FLOOR)
    header = replace_slot(opened.header, opened.slot.id, slot)
    save(store, serialise(header, opened.keys.header_mac_key))
    return load(store)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryStore]:
    opened = DirectoryStore(tmp_path, write=True)
    yield opened
    opened.close()


def test_saved_copies_are_loaded(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    loaded = load(store)
    assert (loaded.header, loaded.raw, loaded.notes) == (MADE.header, DATA, ())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vaultfs.json", "vaultfs.json.backup"]
    assert (tmp_path / "vaultfs.json").read_bytes() == (tmp_path / "vaultfs.json.backup").read_bytes() == DATA


def test_a_folder_without_header_is_no_vault(store: DirectoryStore) -> None:
    with pytest.raises(StoreUnusable, match="not a vault"):
        load(store)


@pytest.mark.parametrize("damage", [b"", DATA[:-1], DATA.replace(b"scrypt", b"script"), b"x" * 100_000])
def test_a_damaged_main_copy_gives_way_to_the_backup(store: DirectoryStore, tmp_path: Path, damage: bytes) -> None:
    save(store, DATA)
    (tmp_path / "vaultfs.json").write_bytes(damage)
    loaded = load(store)
    assert loaded.raw == DATA
    assert len(loaded.notes) == 1
    assert "vaultfs.json: The header is damaged" in loaded.notes[0]
    assert "backup copy is used" in loaded.notes[0]
    save(store, loaded.raw)
    assert load(store).notes == ()


def test_a_missing_main_copy_gives_way_to_the_backup(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    (tmp_path / "vaultfs.json").unlink()
    assert load(store).raw == DATA
    assert load(store).notes == ("vaultfs.json is missing. Its backup copy is used instead.",)


def test_a_planted_folder_or_link_is_not_read(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    (tmp_path / "vaultfs.json").rename(tmp_path / "elsewhere")
    (tmp_path / "vaultfs.json").symlink_to("elsewhere")
    assert "cannot be read" in load(store).notes[0]
    (tmp_path / "vaultfs.json.backup").unlink()
    (tmp_path / "vaultfs.json.backup").mkdir()
    with pytest.raises(HeaderUnreadable, match=r"vaultfs\.json cannot be read"):
        load(store)


def test_no_whole_copy_is_damage(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    (tmp_path / "vaultfs.json").write_bytes(DATA[:-5])
    (tmp_path / "vaultfs.json.backup").write_bytes(DATA[5:])
    with pytest.raises(HeaderDamaged, match=r"^vaultfs\.json: The header is damaged"):
        load(store)
    (tmp_path / "vaultfs.json.backup").unlink()
    with pytest.raises(HeaderDamaged, match=r"^vaultfs\.json: The header is damaged"):
        load(store)


def test_a_bad_backup_is_noted(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    backup = tmp_path / "vaultfs.json.backup"
    stranger = create(OLD, kdf=Scrypt(10, 8, 1), minimum=OPEN_FLOOR)
    for content, said in [
        (DATA[:-1], "The backup of the header is no help: vaultfs.json.backup: The header is damaged"),
        (LATER, "vaultfs.json.backup differs from vaultfs.json: epoch 2, not 1."),
        (
            serialise(stranger.header, stranger.keys.header_mac_key),
            "vaultfs.json.backup is the header of another vault.",
        ),
    ]:
        backup.write_bytes(content)
        loaded = load(store)
        assert loaded.raw == DATA
        assert len(loaded.notes) == 1
        assert loaded.notes[0].startswith(said)
    backup.unlink()
    assert load(store).notes == ("The backup of the header is no help: vaultfs.json.backup is missing.",)


def test_a_newer_main_copy_is_not_replaced_by_an_older_backup(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    newer = resummed(DATA.replace(b'"version": 1', b'"version": 2'))
    (tmp_path / "vaultfs.json").write_bytes(newer)
    with pytest.raises(UnsupportedVaultVersion, match="version 2"):
        load(store)
    (tmp_path / "vaultfs.json").write_bytes(DATA)
    (tmp_path / "vaultfs.json.backup").write_bytes(newer)
    assert "version 2" in load(store).notes[0]


@pytest.fixture
def rooted(store: DirectoryStore, tmp_path: Path) -> DirectoryStore:
    """A store with a header, and roots that hold a copy of it."""
    for name in ("root.0", "root.1"):
        (tmp_path / name).write_bytes(ROOT)
    assert save(store, DATA) == ()
    return store


def test_each_root_holds_a_copy_behind_its_sealed_bytes(rooted: DirectoryStore, tmp_path: Path) -> None:
    assert (tmp_path / "root.0").read_bytes() == (tmp_path / "root.1").read_bytes() == ROOT + TRAILER
    save(rooted, LATER)
    assert (tmp_path / "root.0").read_bytes()[len(ROOT) + 4 :] == LATER
    save(rooted, DATA, roots_too=False)
    assert (tmp_path / "root.0").read_bytes()[len(ROOT) + 4 :] == LATER


@pytest.mark.parametrize("damage", [None, b"", b"{}", DATA[:-1]])
def test_a_root_stands_in_for_two_lost_header_files(
    rooted: DirectoryStore, tmp_path: Path, damage: bytes | None
) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (tmp_path / name).unlink() if damage is None else (tmp_path / name).write_bytes(damage)
    loaded = load(rooted)
    assert (loaded.raw, loaded.rebuilt, len(loaded.notes)) == (DATA, True, 1)
    assert "the copy in root.0 is used instead" in loaded.notes[0]
    save(rooted, loaded.raw)
    assert (load(rooted).notes, load(rooted).rebuilt) == ((), False)


def test_the_newer_whole_copy_of_the_roots_counts(rooted: DirectoryStore, tmp_path: Path) -> None:
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (tmp_path / name).unlink()
    (tmp_path / "root.1").write_bytes(ROOT + len(LATER).to_bytes(4, "little") + LATER)
    assert load(rooted).raw == load_from_roots(rooted).raw == LATER
    (tmp_path / "root.1").write_bytes((tmp_path / "root.1").read_bytes()[:-1])
    assert load(rooted).raw == DATA


@pytest.mark.parametrize("root", [b"", ROOT[:3], ROOT[:-1], ROOT, ROOT + TRAILER[:3], ROOT + b"\xff" * 4 + DATA])
def test_roots_that_hold_no_copy(store: DirectoryStore, tmp_path: Path, root: bytes) -> None:
    for name in ("root.0", "root.1"):
        (tmp_path / name).write_bytes(root)
    with pytest.raises(StoreUnusable, match="not a vault"):
        load(store)
    with pytest.raises(HeaderDamaged, match="Neither root"):
        load_from_roots(store)


def test_the_header_of_another_vault_is_refused(rooted: DirectoryStore, tmp_path: Path) -> None:
    stranger = create(OLD, kdf=Scrypt(10, 8, 1), minimum=OPEN_FLOOR)
    for name in ("vaultfs.json", "vaultfs.json.backup"):
        (tmp_path / name).write_bytes(serialise(stranger.header, stranger.keys.header_mac_key))
        with pytest.raises(WrongVault, match=r"vaultfs\.json is the header of another vault"):
            load(rooted)
    (tmp_path / "vaultfs.json").unlink()
    with pytest.raises(WrongVault, match=r"vaultfs\.json\.backup is the header of another vault"):
        load(rooted)
    assert load_from_roots(rooted).raw == DATA


def test_only_what_was_made_with_the_key_is_authentic(store: DirectoryStore, tmp_path: Path) -> None:
    mac_key = MADE.keys.header_mac_key
    assert load_authentic(store, mac_key) is None
    (tmp_path / "vaultfs.json.backup").write_bytes(DATA)
    (tmp_path / "vaultfs.json").write_bytes(serialise(replace(MADE.header, epoch=9), bytes(32)))
    found = load_authentic(store, mac_key)
    assert found is not None and found.raw == DATA
    (tmp_path / "vaultfs.json").write_bytes(LATER)
    found = load_authentic(store, mac_key)
    assert found is not None and found.raw == LATER


def resummed(data: bytes) -> bytes:
    return data[:-68] + hashlib.sha256(data[:-68]).hexdigest().encode() + data[-4:]


def test_change_password(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    changed = change_password(store, OLD, NEW)
    assert changed.header.epoch == 2
    assert (load(store).raw, load(store).notes) == (changed.raw, ())
    assert unlock(changed.raw, NEW).master == MADE.master
    with pytest.raises(WrongPassword):
        unlock((tmp_path / "vaultfs.json.backup").read_bytes(), OLD)


def test_a_refused_change_touches_nothing(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    with pytest.raises(WrongPassword):
        change_password(store, NEW, NEW)
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == before
    assert load(store).raw == DATA


def test_left_over_temporary_files_are_harmless(store: DirectoryStore, tmp_path: Path) -> None:
    save(store, DATA)
    for name in ("vaultfs.json.new", "vaultfs.json.backup.new"):
        (tmp_path / name).write_bytes(b"half a head")
    assert load(store).notes == ()
    change_password(store, OLD, NEW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vaultfs.json", "vaultfs.json.backup"]


class Stopped(BaseException):
    """The power went."""


class Disk:
    """What a power cut may leave: synced bytes for certain; of later name changes in a folder any, none or all."""

    def __init__(self) -> None:
        self.names: dict[str, FileOnDisk] = {}
        self.durable_names: dict[str, FileOnDisk] = {}
        self.pending: list[tuple[tuple[str, FileOnDisk | None], ...]] = []
        self.left = 10**9
        self.failure: BaseException = Stopped()

    def step(self) -> None:
        if self.left == 0:
            raise self.failure
        self.left -= 1

    def change(self, *changes: tuple[str, "FileOnDisk | None"]) -> None:
        self.pending.append(changes)
        apply(self.names, changes)

    def after_the_cut(self) -> Iterator[dict[str, bytes]]:
        """Every content of the folder the next boot may find; unsynced file content may be lost or whole."""
        for kept in itertools.product((False, True), repeat=len(self.pending)):
            names = dict(self.durable_names)
            for changes in itertools.compress(self.pending, kept):
                apply(names, changes)
            yield {name: file.durable for name, file in names.items()}
            yield {name: file.content for name, file in names.items()}


class FileOnDisk:
    """A file: what a reader sees now, and what is certain to survive."""

    def __init__(self, disk: Disk) -> None:
        self.disk, self.content, self.durable = disk, b"", b""

    def write(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
        for index in range(len(buffers)):
            self.disk.step()
            data = b"".join(buffers[: index + 1])
            self.content = self.content[:offset] + data[: len(data) // 2]
            self.disk.step()
            self.content = self.content[:offset] + data

    def read(self, size: int, offset: int) -> bytes:
        return self.content[offset : offset + size]

    def read_cached(self, buffer: bytearray | memoryview, offset: int) -> int | None:
        data = self.read(len(buffer), offset)
        buffer[: len(data)] = data
        return len(data)

    def sync(self) -> None:
        self.disk.step()
        self.durable = self.content

    def read_ahead(self, size: int, offset: int) -> None:
        pass

    def write_back(self) -> None:
        pass

    def allocate(self, size: int) -> None:
        raise AssertionError

    def truncate(self, size: int) -> None:
        self.disk.step()
        self.content = self.content[:size]

    def size(self) -> int:
        return len(self.content)

    def close(self) -> None:
        pass


def apply(names: dict[str, FileOnDisk], changes: tuple[tuple[str, FileOnDisk | None], ...]) -> None:
    for name, file in changes:
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file


class DiskStore:
    """A store on a `Disk`: a second implementation of the protocol, that can lose what was not synced."""

    writable = True
    description = "the disk"

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def open(self, path: str, *, write: bool = False) -> StoreFile:
        if path not in self.disk.names:
            raise FileNotFoundError(path)
        return self.disk.names[path]

    def create(self, path: str) -> StoreFile:
        self.disk.step()
        if path in self.disk.names:
            raise FileExistsError(path)
        file = FileOnDisk(self.disk)
        self.disk.change((path, file))
        return file

    def exists(self, path: str) -> bool:
        return path in self.disk.names

    def delete(self, path: str) -> None:
        self.disk.step()
        if path not in self.disk.names:
            raise FileNotFoundError(path)
        self.disk.change((path, None))

    def rename(self, old: str, new: str) -> None:
        self.disk.step()
        self.disk.change((new, self.disk.names[old]), (old, None))

    def sync_folder(self, folder: str) -> None:
        self.disk.step()
        self.disk.durable_names = dict(self.disk.names)
        self.disk.pending.clear()

    def make_folder(self, path: str) -> None:
        raise AssertionError

    def names(self, folder: str) -> list[str]:
        return sorted(self.disk.names)

    def space(self) -> Space:
        raise AssertionError

    def close(self) -> None:
        pass


def disk_with(contents: dict[str, bytes]) -> Disk:
    disk = Disk()
    for name, content in contents.items():
        file = FileOnDisk(disk)
        file.content = file.durable = content
        disk.names[name] = disk.durable_names[name] = file
    return disk


BEFORE = {
    "vaultfs.json": DATA,
    "vaultfs.json.backup": DATA,
    "vaultfs.json.new": b"of an earlier crash",
    "root.0": ROOT + TRAILER,
    "root.1": ROOT + TRAILER + b"of a longer header before",
}


def stopped_changes(failure: BaseException) -> Iterator[tuple[Disk, BaseException | None]]:
    """A password change stopped before each of its steps in turn, then one that is not."""
    for steps in itertools.count():
        disk = disk_with(BEFORE)
        disk.left, disk.failure = steps, failure
        store: Store = DiskStore(disk)
        try:
            change_password(store, OLD, NEW)
        except (Stopped, HeaderUnwritable) as error:
            disk.left = 10**9
            yield disk, error
        else:
            yield disk, None
            return


def opens_with(contents: dict[str, bytes]) -> bytes:
    raw = load(DiskStore(disk_with(contents))).raw
    for password in (OLD, NEW):
        try:
            assert unlock(raw, password).master == MADE.master
        except WrongPassword:
            continue
        return password
    raise AssertionError("neither password opens the vault")


def test_a_power_cut_at_any_step_leaves_the_old_or_the_new_password() -> None:
    seen: list[set[bytes]] = []
    for disk, stopped in stopped_changes(Stopped()):
        states = {tuple(sorted(contents.items())) for contents in disk.after_the_cut()}
        seen.append({opens_with(dict(state)) for state in states})
        for state in map(dict, states):
            assert all(state[path].startswith(ROOT) for path in ("root.0", "root.1"))
        if stopped is None:
            new = disk.names["vaultfs.json"].durable
            for state in map(dict, states):
                assert state["vaultfs.json"] == state["vaultfs.json.backup"] == new
                assert state["root.0"] == state["root.1"] == ROOT + len(new).to_bytes(4, "little") + new
    assert len(seen) > 10
    assert seen[0] == {OLD}
    assert seen[-1] == {NEW}
    assert {OLD, NEW} in seen


def test_an_error_at_any_step_leaves_the_old_or_the_new_password() -> None:
    finished = []
    for disk, error in stopped_changes(OSError(errno.EIO, "Input/output error")):
        finished.append(error is None)
        password = opens_with({name: file.content for name, file in disk.names.items()})
        if error is None:
            assert password == NEW
        elif "The old one is in force" in str(error):
            assert password == OLD
            for contents in disk.after_the_cut():
                assert opens_with(contents) == OLD
        else:
            assert "may be in force" in str(error)
    assert finished.count(True) == 1
    assert len(finished) > 10


def test_a_full_disk_leaves_the_old_header_and_no_temporary_file() -> None:
    disk = disk_with({"vaultfs.json": DATA, "vaultfs.json.backup": DATA})

    class FullFile(FileOnDisk):
        def write(self, buffers: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    class FullStore(DiskStore):
        def create(self, path: str) -> StoreFile:
            disk.change((path, FullFile(disk)))
            return disk.names[path]

    with pytest.raises(HeaderUnwritable, match="No space left"):
        change_password(FullStore(disk), OLD, NEW)
    assert {name: file.content for name, file in disk.names.items()} == {
        "vaultfs.json": DATA,
        "vaultfs.json.backup": DATA,
    }
