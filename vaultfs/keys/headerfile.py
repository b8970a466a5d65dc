"""The vault header in its store: two copies, `vaultfs.json` and `vaultfs.json.backup`, read and replaced.

Replacing is crash-safe: both new files are whole and synced under temporary names before either takes its
place, so at any instant each copy is the old or the new header, whole. A temporary file left by a crash is
never read, and the next change replaces it.
"""

import contextlib
from dataclasses import dataclass

from vaultfs.crypto.kdf import CREATE_FLOOR, Floor, Kdf
from vaultfs.errors import HeaderDamaged, HeaderUnreadable, HeaderUnwritable, OpenError, StoreUnusable
from vaultfs.keys.header import LARGEST_HEADER, Header, change_slot, parse
from vaultfs.store.api import Store

MAIN = "vaultfs.json"
BACKUP = "vaultfs.json.backup"
COPIES = (MAIN, BACKUP)
TEMPORARY_SUFFIX = ".new"


@dataclass(frozen=True, slots=True)
class LoadedHeader:
    """A whole header, its exact bytes, and sentences for the user about copies that are not as they should be.

    Where there are notes, `save(store, raw)` puts both copies right, once a password has opened `raw`.
    """

    header: Header
    raw: bytes
    notes: tuple[str, ...]


def load(store: Store) -> LoadedHeader:
    """The header in force: the main copy if it is whole, else the backup.

    A whole main copy counts even beside a backup with a higher epoch: it is the one written first.
    Raises StoreUnusable if there is no copy, HeaderUnreadable if none can be read, HeaderDamaged if none is
    whole, UnsupportedVaultVersion for a whole copy that needs a newer vaultfs.
    """
    main, backup = _read(store, MAIN), _read(store, BACKUP)
    if isinstance(main, FileNotFoundError) and isinstance(backup, FileNotFoundError):
        raise StoreUnusable(f"{store.description} is not a vault: it has no {MAIN}.")
    try:
        header, raw = _whole(main, MAIN)
    except (HeaderDamaged, HeaderUnreadable) as error:
        with contextlib.suppress(HeaderDamaged, HeaderUnreadable):
            header, raw = _whole(backup, BACKUP)
            return LoadedHeader(header, raw, (f"{error} Its backup copy is used instead.",))
        raise
    return LoadedHeader(header, raw, _backup_notes(header, raw, backup))


def save(store: Store, data: bytes) -> None:
    """Make `data` both copies of the header, durably; returns only when both are synced.

    Raises HeaderUnwritable; its message says whether the old header is still in force.
    """
    try:
        for copy in COPIES:
            _write(store, copy + TEMPORARY_SUFFIX, data)
    except OSError as error:
        for copy in COPIES:
            with contextlib.suppress(OSError):
                store.delete(copy + TEMPORARY_SUFFIX)
        raise HeaderUnwritable(f"The header could not be written: {error}. The old one is in force.") from error
    try:
        # One copy after the other: a store that loses the order of two renames still has one of them synced.
        for copy in COPIES:
            store.rename(copy + TEMPORARY_SUFFIX, copy)
            store.sync_folder("")
    except OSError as error:
        raise HeaderUnwritable(
            f"The header could not be replaced for certain: {error}. The old one or the new one may be in force; "
            "try again when the store can be written."
        ) from error


def change_password(
    store: Store, old: bytes, new: bytes, *, kdf: Kdf | None = None, minimum: Floor = CREATE_FLOOR
) -> LoadedHeader:
    """Replace the first slot that `old` opens by one that `new` opens; both as `normalise` gives them.

    The epoch grows by one; `kdf` None keeps the old slot's costs. Returns the new header with what `load` noted of
    the old one. Raises what `load`, `unlock`, `make_slot` and `save` raise.
    """
    loaded = load(store)
    data = change_slot(loaded.raw, old, new, kdf=kdf, minimum=minimum)
    save(store, data)
    return LoadedHeader(parse(data), data, loaded.notes)


def _read(store: Store, path: str) -> bytes | OSError:
    try:
        file = store.open(path)
        try:
            # One byte more than a header may have, so that a larger file is seen to be one.
            return file.read(LARGEST_HEADER + 1, 0)
        finally:
            file.close()
    except OSError as error:
        return error


def _whole(content: bytes | OSError, path: str) -> tuple[Header, bytes]:
    if isinstance(content, FileNotFoundError):
        raise HeaderDamaged(f"{path} is missing.")
    if isinstance(content, OSError):
        raise HeaderUnreadable(f"{path} cannot be read: {content}.") from content
    try:
        return parse(content), content
    except HeaderDamaged as error:
        raise HeaderDamaged(f"{path}: {error}") from error


def _backup_notes(header: Header, raw: bytes, content: bytes | OSError) -> tuple[str, ...]:
    try:
        backup, backup_raw = _whole(content, BACKUP)
    except OpenError as error:
        return (f"The backup of the header is no help: {error}",)
    if backup_raw == raw:
        return ()
    if backup.vault_id != header.vault_id:
        return (f"{BACKUP} is the header of another vault.",)
    return (f"{BACKUP} differs from {MAIN}: epoch {backup.epoch}, not {header.epoch}.",)


def _write(store: Store, path: str, data: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):
        store.delete(path)
    file = store.create(path)
    try:
        file.write([data], 0)
        file.sync()
    finally:
        file.close()
