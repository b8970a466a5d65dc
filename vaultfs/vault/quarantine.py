"""Puts copies of journals away that nothing else has the changes of, where `check/uncommitted.py` reads them."""

from collections.abc import Iterable

from vaultfs.format.constants import RECORD_ALIGNMENT
from vaultfs.format.layout import QUARANTINE_FOLDER, another_path, kept_journal_path
from vaultfs.store.api import Store, read_file, write_new_file


def keep_journals(store: Store, journals: Iterable[tuple[int, bytes]]) -> list[str]:
    """Copy journals, given as (number, bytes), to the quarantine, durably; returns the paths. Raises OSError.

    EINVAL says that something else than a folder has the quarantine's name.
    """
    paths: list[str] = []
    for number, stored in journals:
        if not paths:
            store.make_folder(QUARANTINE_FOLDER)
        path = kept_journal_path(number)
        # Without the room for records that were to come; a record may end with zeros itself.
        kept = stored.rstrip(b"\0") + bytes(4 * RECORD_ALIGNMENT)
        if store.exists(path):
            if kept.startswith(read_file(store, path)):
                store.delete(path)  # a copy by an opening that did not get to its end
            else:
                # Numbers come again where an older root had to do: it may be all there is of another journal.
                store.rename(path, next(each for each in another_path(path) if not store.exists(each)))
        write_new_file(store, path, [kept])
        paths.append(path)
    if paths:
        for folder in (QUARANTINE_FOLDER, ""):
            store.sync_folder(folder)
    return paths
