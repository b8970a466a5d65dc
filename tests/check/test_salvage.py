"""Salvage of files whose map is lost: every chunk in its place, by one segment after the other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.check.checking import objects_of
from tests.support.samples import CHUNK, KEYS, Content, Model
from vaultfs.check import salvage
from vaultfs.check.committed import CommittedTree
from vaultfs.check.salvage import Salvage
from vaultfs.check.scan import Found, Scan
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.objects import Objects

LOST_FOLDER = b"docs/deep"


def chunks_of(content: Content) -> dict[int, bytes]:
    """What a file has that is not a hole, by offset, without the zeros behind it."""
    chunks = {
        number for start, data in content.pieces for number in range(start // CHUNK, -(-(start + len(data)) // CHUNK))
    }
    return {number * CHUNK: content.read(number * CHUNK, CHUNK).rstrip(b"\0") for number in chunks}


def test_files_of_a_lost_folder_come_out_segment_by_segment(
    store_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in [*objects_of(store_path, LOST_FOLDER), "root.0", "root.1"]:
        (store_path / path).unlink()
    looked: list[int] = []
    plain_slots = salvage.slots_of

    def watched(objects: Objects, found: Found, strict: bool) -> Iterator[tuple[int, int, bytes]]:
        looked.append(found.segment)
        return plain_slots(objects, found, strict)

    with DirectoryStore(store_path, write=False) as store:
        tree = CommittedTree(store, KEYS, CHUNK)
        scan = Scan(tree.objects)
        scan.run(lambda done, total: None)
        saved = Salvage(tree.objects, scan)
        monkeypatch.setattr(salvage, "slots_of", watched)
        lost = [found.inode for found in saved.walk() if not found.inode.content and found.inode.size > 2 * CHUNK]
        files = []
        for inode in lost:
            looked.clear()
            pieces: dict[int, bytes] = {}
            for offset, data in saved.pieces(inode, lambda start, end, cause: pytest.fail(cause)):
                assert offset not in pieces
                assert looked[-1] == offset // CHUNK // 1024  # nothing of a later segment is in memory yet
                pieces[offset] = data
            files.append({offset: data.rstrip(b"\0") for offset, data in pieces.items() if any(data)})
        tree.close()
    for name in (b"two segments", b"indexed"):
        assert chunks_of(model[LOST_FOLDER + b"/" + name]) in files
