"""Looks through all names in the store for what no root reaches: orphans, foreign files, copies in conflict."""

import errno
from collections.abc import Iterator

from vaultfs.check.committed import CommittedTree
from vaultfs.check.conflicts import copied_from, is_unfinished
from vaultfs.check.findings import Finding, Kind, Report, Severity, error, note, warning
from vaultfs.check.idset import NameSet
from vaultfs.errors import Damaged
from vaultfs.format.constants import OBJECT_DIRECTORY, OBJECT_HEADER_SIZE, ROOT_SLOTS
from vaultfs.format.layout import (
    BALLAST_PATH,
    HEADER_BACKUP_PATH,
    HEADER_PATH,
    JOURNAL_FOLDER,
    LOCK_PATH,
    OBJECTS_FOLDER,
    QUARANTINE_FOLDER,
    is_journal,
    journal_path,
    object_folders,
    object_name,
    root_slot_path,
)
from vaultfs.sealing.ancestry import are_parted
from vaultfs.sealing.journal import JournalHeader, object_name_of, open_journal_header
from vaultfs.sealing.objects import ObjectHeader, open_object_header
from vaultfs.sealing.roots import open_root
from vaultfs.store.api import read_file
from vaultfs.vault.recovery import journal_numbers

_ROOTS = tuple(root_slot_path(slot) for slot in range(ROOT_SLOTS))
_OWN = {
    HEADER_PATH, HEADER_BACKUP_PATH, LOCK_PATH, JOURNAL_FOLDER, OBJECTS_FOLDER, BALLAST_PATH, QUARANTINE_FOLDER,
    *_ROOTS, *object_folders(),
}  # fmt: skip
# Left by a crash while the header or a memory of it was replaced; the next change replaces them.
_LEFT = {f"{HEADER_PATH}.new", f"{HEADER_BACKUP_PATH}.new"}
# While a vault is in use, objects of its next generations are there before any root reaches them.
_GENERATIONS_IN_FLIGHT = 3
_STRAYS_IN_FLIGHT = 4096


class Listing:
    """Goes through the store once, after the walk that found `reached`.

    `unmapped` are the files whose objects cannot be told, None if that is so of whole directories.
    """

    def __init__(self, tree: CommittedTree, report: Report, reached: NameSet, unmapped: set[int] | None) -> None:
        self._tree = tree
        self._objects = tree.objects
        self._report = report
        self._reached = reached
        self._unmapped = unmapped

    def run(self, in_flight: set[bytes]) -> None:
        """Report what is not as it should be; `in_flight` names objects that only the journal reaches."""
        assert self._tree.sealed is not None
        root = self._tree.sealed.root
        doubtful: list[tuple[str, bytes]] = []
        expected = in_flight | set(root.let_go)
        for folder in ("", JOURNAL_FOLDER, OBJECTS_FOLDER):
            for path in self._paths(folder):
                if path not in _OWN and not is_journal(path):
                    self._strange(path)
        for number, folder in enumerate(object_folders()):
            reached = self._reached.folder(number)
            for path in self._paths(folder):
                name = object_name(path)
                if name is None:
                    self._strange(path)
                elif name not in reached and name not in expected:
                    doubtful.append((path, name))
        # Judged last: a writer may just have been making or deleting an object, or have begun to write.
        newer = self._tree.refresh()
        for path, name in doubtful:
            if not newer and self._is_there(path):
                self._unreached(path, name)

    def _paths(self, folder: str) -> Iterator[str]:
        try:
            names = self._objects.store.names(folder)
        except FileNotFoundError:
            self._report(error(Kind.MISSING, "a folder of the store is missing", None, folder))
            return
        except OSError as failure:
            kind = Kind.FOREIGN if failure.errno == errno.EINVAL else Kind.CORRUPT
            self._report(error(kind, f"a folder of the store cannot be read: {failure.strerror}", None, folder))
            return
        for name in names:
            yield f"{folder}/{name}" if folder else name

    def _is_there(self, path: str) -> bool:
        try:
            return self._objects.store.exists(path)
        except OSError:
            return True  # something that is no regular file

    def _is_empty(self, path: str) -> bool:
        try:
            return self._objects.store.open(path).size() == 0
        except OSError:
            return False

    def _unreached(self, path: str, name: bytes) -> None:
        """Judge an object by its name, that the committed root does not reach."""
        assert self._tree.sealed is not None
        root = self._tree.sealed.root
        header = self.header(path, name)
        if header is None:
            # Deleted a moment ago, or made and not filled yet.
            if not self._is_there(path) or (not root.clean and self._is_empty(path)):
                return
            self._report(note(Kind.FOREIGN, "this is called like an object, but is none of this vault's", path))
        elif self._unmapped is None or header.inode_id in self._unmapped:
            return
        elif root.clean or header.generation + _GENERATIONS_IN_FLIGHT <= root.generation:
            what = "directory" if header.kind == OBJECT_DIRECTORY else "file"
            cause = f"an object of {what} {header.inode_id} that nothing in the vault reaches"
            self._report(warning(Kind.ORPHAN, cause, None, path))

    def header(self, path: str, name: bytes) -> ObjectHeader | None:
        """The sealed header of a file, taken for the object called `name`; None if it is not that."""
        try:
            file = self._objects.store.open(path)
        except OSError:
            return None
        try:
            return open_object_header(self._objects.context, name, file.read(OBJECT_HEADER_SIZE, 0))
        except (Damaged, OSError):
            return None
        finally:
            file.close()

    def _strange(self, path: str) -> None:
        """A name that vaultfs does not use."""
        folder, slash, name = path.rpartition("/")
        for original in copied_from(name):
            identity = self._identity(path, folder + slash + original)
            if identity:
                self._report(Finding(Severity.WARNING, Kind.CONFLICT, identity, None, path))
                return
        if path in _LEFT:
            self._report(note(Kind.FOREIGN, "left over from a change of the header", path))
        elif is_unfinished(name):
            self._report(warning(Kind.PARTLY_SYNCED, "an unfinished download", None, path))
        else:
            self._report(note(Kind.FOREIGN, "not a file of vaultfs; it is left alone", path))

    def _identity(self, path: str, original: str) -> str:
        """What a copy in conflict with `original` is, going by what is sealed in it; empty if it is no copy of that."""
        name = object_name(original)
        if name is not None:
            header = self.header(path, name)
            if header is None:
                return ""
            what = "directory" if header.kind == OBJECT_DIRECTORY else "file"
            return f"another version of {original}, of {what} {header.inode_id}, generation {header.generation}"
        if original in _ROOTS:
            return self._root_identity(path, original)
        if original in (HEADER_PATH, HEADER_BACKUP_PATH) or is_journal(original):
            return f"another version of {original}"
        return ""

    def _root_identity(self, path: str, original: str) -> str:
        try:
            found = open_root(self._objects.context, read_file(self._objects.store, path))
        except (Damaged, OSError):
            return ""
        assert self._tree.sealed is not None
        known = self._tree.sealed.known()
        if are_parted(known, found.known()):
            kind = "a root of another way the vault went"
        elif (found.root.generation, found.tag) in known:
            kind = "an older root of this store"
        else:
            kind = "an older root of this store, or of another way the vault went"
        return f"another version of {original}: {kind}, generation {found.root.generation}"


def names_in_flight(headers: list[JournalHeader]) -> set[bytes]:
    """The names objects may have that were made under these journals and no root reaches yet."""
    return {
        object_name_of(header.secret, counter) for header in headers for counter in range(1, _STRAYS_IN_FLIGHT + 1)
    }


def journal_headers(tree: CommittedTree) -> list[JournalHeader]:
    """The headers of all journals in the store that verify."""
    objects = tree.objects
    headers: list[JournalHeader] = []
    for number in journal_numbers(objects):
        try:
            file = objects.store.open(journal_path(number))
            try:
                headers.append(open_journal_header(objects.context, number, file.read(4096, 0)))
            finally:
                file.close()
        except (Damaged, OSError):
            continue
    return headers
