"""Checks of whole vaults: nothing is found in a sound one, mounted or not; damage is named with path and bytes."""

import os
import threading
from pathlib import Path

import pytest

from tests.check.checking import check, objects_of
from tests.support.samples import CHUNK, KEYS, OPTIONS, Model
from vaultfs.check.findings import Finding, Kind, Severity
from vaultfs.format.constants import OBJECT_HEADER_SIZE
from vaultfs.format.layout import slot_offset
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.memory import Seen
from vaultfs.vault.vault import Vault


def flip(path: Path, offset: int) -> None:
    """Change one bit."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ 4,)))


def only(found: list[Finding]) -> Finding:
    assert len(found) == 1, [str(finding) for finding in found]
    return found[0]


def test_a_sound_vault(store_path: Path) -> None:
    assert check(store_path) == []


def test_a_flipped_chunk_is_named_with_its_bytes(store_path: Path) -> None:
    stored = objects_of(store_path, b"docs/inline")[0]
    flip(store_path / stored, slot_offset(2, CHUNK) + 100)
    assert check(store_path, data=False) == []
    found = only(check(store_path))
    assert (found.severity, found.kind, found.path, found.stored) == (
        Severity.ERROR, Kind.CORRUPT, b"docs/inline", stored,
    )  # fmt: skip
    assert (found.start, found.end) == (2 * CHUNK, 3 * CHUNK)


def test_neighbouring_chunks_are_one_finding(store_path: Path) -> None:
    stored = objects_of(store_path, b"docs/leafy")[0]
    for slot in (7, 8, 9):
        flip(store_path / stored, slot_offset(slot, CHUNK) + 5)
    found = only(check(store_path))
    assert (found.start, found.end) == (7 * CHUNK, 10 * CHUNK)


def test_a_missing_object(store_path: Path) -> None:
    stored = objects_of(store_path, b"docs/deep/two segments")[1]
    (store_path / stored).unlink()
    found = only(check(store_path, data=False))
    assert (found.kind, found.path, found.stored) == (Kind.MISSING, b"docs/deep/two segments", stored)
    assert found.start == 1024 * CHUNK
    assert found.end == 1024 * CHUNK + 3 * CHUNK


def test_an_object_cut_at_a_slot_is_older_than_expected(store_path: Path) -> None:
    stored = objects_of(store_path, b"docs/leafy")[0]
    os.truncate(store_path / stored, slot_offset(10, CHUNK))
    found = check(store_path, data=False)
    assert {finding.kind for finding in found} == {Kind.OLDER}
    os.truncate(store_path / stored, slot_offset(10, CHUNK) - 7)
    assert {finding.kind for finding in check(store_path, data=False)} == {Kind.CORRUPT}


def test_a_replayed_chunk_is_older_than_expected(store_path: Path) -> None:
    stored = store_path / objects_of(store_path, b"docs/inline")[0]
    before = stored.read_bytes()
    with DirectoryStore(store_path, write=True) as store:
        inline = Inline(Vault.open(store, KEYS, OPTIONS))
        inode = inline.walk(b"docs/inline")
        for _ in range(4):
            inline.write(inode.id, 0, os.urandom(CHUNK))
            inline.vault.checkpoint()
        inline.vault.close()
    # Slots are used again, so the old bytes of some slot stand where newer ones are expected.
    stored.write_bytes(before.ljust(stored.stat().st_size, b"\0"))
    found = check(store_path)
    assert Kind.OLDER in {finding.kind for finding in found}
    assert {finding.path for finding in found} == {b"docs/inline"}


def test_a_broken_object_header_is_a_warning(store_path: Path) -> None:
    for plain in (b"small", b"many"):
        flip(store_path / objects_of(store_path, plain)[0], 30)
    found = check(store_path)
    assert {(finding.severity, finding.path) for finding in found} == {
        (Severity.WARNING, b"small"), (Severity.WARNING, b"many"),
    }  # fmt: skip


def test_a_directory_that_cannot_be_read(store_path: Path) -> None:
    base = objects_of(store_path, b"many")[0]
    flip(store_path / base, OBJECT_HEADER_SIZE + 60)
    found = only(check(store_path))
    assert (found.severity, found.kind, found.path, found.stored) == (Severity.ERROR, Kind.CORRUPT, b"many", base)


def test_a_map_node_that_cannot_be_read(store_path: Path) -> None:
    index = objects_of(store_path, b"docs/deep/indexed")[0]
    flip(store_path / index, OBJECT_HEADER_SIZE + 40)
    assert only(check(store_path, data=False)).path == b"docs/deep/indexed"


def test_orphans_foreign_files_and_conflict_copies(store_path: Path) -> None:
    stored = objects_of(store_path, b"small")[0]
    folder, _, name = stored.rpartition("/")
    (store_path / folder / f"{name}.sync-conflict-20240102-030405-ABCDEF7").write_bytes(
        (store_path / stored).read_bytes()
    )
    (store_path / folder / f"{name} (1)").write_bytes(b"not what it seems")
    (store_path / "objects/00" / ("f" * 30)).write_bytes(bytes(500))
    (store_path / "root (conflicted copy 2018-04-10 093612).0").write_bytes((store_path / "root.0").read_bytes())
    (store_path / ".stfolder").mkdir()
    (store_path / folder / f".syncthing.{name}.tmp").write_bytes(b"half")
    found = {finding.stored: (finding.severity, finding.kind) for finding in check(store_path)}
    assert found == {
        f"{folder}/{name}.sync-conflict-20240102-030405-ABCDEF7": (Severity.WARNING, Kind.CONFLICT),
        f"{folder}/{name} (1)": (Severity.NOTE, Kind.FOREIGN),
        "objects/00/" + "f" * 30: (Severity.NOTE, Kind.FOREIGN),
        "root (conflicted copy 2018-04-10 093612).0": (Severity.WARNING, Kind.CONFLICT),
        ".stfolder": (Severity.NOTE, Kind.FOREIGN),
        f"{folder}/.syncthing.{name}.tmp": (Severity.WARNING, Kind.PARTLY_SYNCED),
    }


def test_an_object_nothing_reaches(store_path: Path) -> None:
    stored = objects_of(store_path, b"small")[0]
    kept = (store_path / stored).read_bytes()
    with DirectoryStore(store_path, write=True) as store:
        inline = Inline(Vault.open(store, KEYS, OPTIONS))
        inline.unlink(1, b"small")
        inline.vault.close()
    assert check(store_path) == []
    (store_path / stored).write_bytes(kept)
    found = only(check(store_path))
    assert (found.severity, found.kind, found.stored) == (Severity.WARNING, Kind.ORPHAN, stored)


def test_an_older_store_and_a_broken_root_slot(store_path: Path) -> None:
    flip(store_path / "root.1", 40)
    found = only(check(store_path, seen=None))
    assert (found.kind, found.stored, found.severity) == (Kind.CORRUPT, "root.1", Severity.WARNING)
    kinds = [finding.kind for finding in check(store_path, seen=Seen(10**6, bytes(16)))]
    assert Kind.OLDER in kinds


def test_an_unclean_vault_without_its_journal_is_partly_synced(store_path: Path) -> None:
    with DirectoryStore(store_path, write=True) as store:
        inline = Inline(Vault.open(store, KEYS, OPTIONS))
        inline.write(inline.walk(b"small").id, 0, b"x" * 50)
        inline.fsync()
        del inline
    assert check(store_path) == []
    for journal in (store_path / "journal").iterdir():
        journal.unlink()
    assert only(check(store_path)).kind == Kind.PARTLY_SYNCED


def test_nothing_is_found_beside_a_writer(store_path: Path) -> None:
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        with DirectoryStore(store_path, write=True) as store:
            vault = Vault.open(store, KEYS, OPTIONS)
            inline = Inline(vault)
            number = 0
            try:
                while not stop.is_set():
                    number += 1
                    busy = inline.walk(b"docs/leafy")
                    inline.write(busy.id, number % 40 * CHUNK, os.urandom(CHUNK))
                    made = inline.create_inode(1, b"new %d" % number, 0o100600)
                    inline.write(made.id, 0, os.urandom(3 * CHUNK))
                    if number > 3:
                        inline.unlink(1, b"new %d" % (number - 3))
                    if number % 3 == 0:
                        inline.vault.checkpoint()
            except BaseException as error:
                failures.append(error)
            vault.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [finding for _ in range(12) for finding in check(store_path)]
    finally:
        stop.set()
        writer.join()
    assert not failures
    assert [str(finding) for finding in found] == []


@pytest.mark.parametrize("damaged", [b"docs", b""])
def test_what_lies_below_a_lost_directory_is_not_called_an_orphan(store_path: Path, damaged: bytes) -> None:
    (store_path / objects_of(store_path, damaged)[0]).unlink()
    assert {finding.kind for finding in check(store_path)} == {Kind.MISSING}


def test_the_model_is_of_every_kind(model: Model) -> None:
    assert len({content.kind for content in model.values()}) == 5
