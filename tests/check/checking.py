"""Running a whole check in a test, and finding out which objects a path has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.samples import CHUNK, KEYS
from vaultfs.check.checker import Checker
from vaultfs.check.committed import CommittedTree, Place
from vaultfs.check.findings import Finding
from vaultfs.check.structure import load_map
from vaultfs.format.constants import ROOT_ID
from vaultfs.format.layout import object_path
from vaultfs.sealing.entries import decode_head
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.memory import Seen


@contextmanager
def tree_of(path: Path) -> Iterator[CommittedTree]:
    with DirectoryStore(path, write=False) as store:
        tree = CommittedTree(store, KEYS, CHUNK)
        tree.open()
        try:
            yield tree
        finally:
            tree.close()


def check(path: Path, *, data: bool = True, seen: Seen | None = None) -> list[Finding]:
    """All findings of a check."""
    found: list[Finding] = []
    with DirectoryStore(path, write=False) as store:
        tree = CommittedTree(store, KEYS, CHUNK)
        checker = Checker(tree, found.append)
        try:
            counts = checker.structure(seen)
            if data:
                checker.data(None, counts.stored, None, None, lambda cursor: None)
        finally:
            tree.close()
    return found


def objects_of(path: Path, plain: bytes) -> list[str]:
    """The stored paths of a file's segments, or of a directory's base and delta; the index object comes first."""
    with tree_of(path) as tree:
        entry = tree.find(Place(ROOT_ID, tuple(plain.split(b"/")) if plain else ()))
        assert entry is not None
        if entry.mode & 0o40000 and not entry.mode & 0o100000:
            head = decode_head(entry.content)
            return [object_path(part.object) for part in (head.base, head.delta) if part is not None]
        content = load_map(tree.objects, entry)
        index = [object_path(content.index.name)] if content.index is not None else []
        return index + [segment.path for segment in content.committed.values()]
