"""A store whose journals are kept in another folder, so that a sync client need not carry the busiest files.

Journals that are still in the store's own folder are read and deleted there; new ones go to the other folder. The
ballast stays in the store: it is the room there that it holds free.
"""

import os
from pathlib import Path
from typing import Self

from vaultfs.errors import StoreUnusable
from vaultfs.format.layout import BALLAST_PATH, JOURNAL_FOLDER
from vaultfs.store.api import Space, Store, StoreFile
from vaultfs.store.directory import DirectoryStore

_PREFIX = JOURNAL_FOLDER + "/"


def journals_in(store: Path) -> list[str]:
    """The names of the journals in a store's own folder for them; one that was closed cleanly has none."""
    folder = store / JOURNAL_FOLDER
    names = os.listdir(folder) if folder.is_dir() else []
    return [name for name in names if _PREFIX + name != BALLAST_PATH]


class JournalElsewhere:
    """A `store.api.Store` over two others: `journals` has a folder for the journals, `store` everything else."""

    def __init__(self, store: Store, journals: Store) -> None:
        self._store = store
        self._journals = journals

    @classmethod
    def in_folder(cls, store: Store, folder: Path, vault_id: bytes) -> Self:
        """Keep the journals in `folder/<vault id>/journal`, made if missing. Raises StoreUnusable, OSError."""
        if not folder.is_dir():
            raise StoreUnusable(f"there is no folder {folder} for the journal")
        own = folder / vault_id.hex()
        if store.writable:
            own.mkdir(mode=0o700, exist_ok=True)
        if not own.is_dir():
            raise StoreUnusable(f"the folder {folder} has no journal of this vault")
        journals = DirectoryStore(own, write=store.writable)
        if store.writable:
            journals.make_folder(JOURNAL_FOLDER)
            journals.sync_folder("")
        return cls(store, journals)

    @property
    def writable(self) -> bool:
        """Whether the store was opened for writing."""
        return self._store.writable

    @property
    def description(self) -> str:
        """Where the store is."""
        return self._store.description

    def open(self, path: str, *, write: bool = False) -> StoreFile:
        """Open a regular file, wherever it is."""
        return self._place(path).open(path, write=write)

    def create(self, path: str) -> StoreFile:
        """Make a new object; a journal in the other folder."""
        return (self._journals if _moves(path) else self._store).create(path)

    def exists(self, path: str) -> bool:
        """Whether an object of that path is in either place."""
        return self._place(path).exists(path)

    def delete(self, path: str) -> None:
        """Remove an object, wherever it is."""
        self._place(path).delete(path)

    def rename(self, old: str, new: str) -> None:
        """Give an object another path within its place."""
        self._place(old).rename(old, new)

    def make_folder(self, path: str) -> None:
        """Make a folder of the store."""
        self._store.make_folder(path)

    def names(self, folder: str) -> list[str]:
        """The names in a folder; of the journals, those in both places."""
        names = self._store.names(folder)
        return sorted({*names, *self._journals.names(folder)}) if folder == JOURNAL_FOLDER else names

    def sync_folder(self, folder: str) -> None:
        """Make changes in a folder durable, in both places if it is the journals'."""
        self._store.sync_folder(folder)
        if folder == JOURNAL_FOLDER:
            self._journals.sync_folder(folder)

    def space(self) -> Space:
        """Room left in the store."""
        return self._store.space()

    def close(self) -> None:
        """Release both."""
        self._journals.close()
        self._store.close()

    def _place(self, path: str) -> Store:
        """Where an object is, or would be."""
        return self._journals if _moves(path) and self._journals.exists(path) else self._store


def _moves(path: str) -> bool:
    return path.startswith(_PREFIX) and path != BALLAST_PATH
