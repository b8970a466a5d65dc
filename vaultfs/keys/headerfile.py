"""The vault header in its store: `vaultfs.json`, `vaultfs.json.backup`, and a copy in each root; read and replaced.

Replacing is crash-safe: both new files are whole and synced under temporary names before either takes its
place, so at any instant each copy is the old or the new header, whole. A temporary file left by a crash is
never read, and the next change replaces it. The copies in the roots follow last, so that a header that only they
hold is never newer than the one a user was told is in force.
"""

import contextlib
from dataclasses import dataclass

from vaultfs.errors import (
    HeaderDamaged,
    HeaderUnreadable,
    HeaderUnwritable,
    OpenError,
    StoreUnusable,
    UnsupportedVaultVersion,
    WrongVault,
)
from vaultfs.keys.header import LARGEST_HEADER, Header, parse, verify_mac
from vaultfs.keys.rootcopies import read_copies, write_copies
from vaultfs.store.api import Store, write_new_file

MAIN = "vaultfs.json"
BACKUP = "vaultfs.json.backup"
COPIES = (MAIN, BACKUP)
TEMPORARY_SUFFIX = ".new"


@dataclass(frozen=True, slots=True)
class LoadedHeader:
    """A whole header, its exact bytes, and sentences for the user about copies that are not as they should be.

    Where there are notes, `save(store, raw)` puts all copies right, once a password has opened `raw`. `rebuilt` says
    that both header files are lost, and this header was found in a root.
    """

    header: Header
    raw: bytes
    notes: tuple[str, ...]
    rebuilt: bool = False


def load(store: Store) -> LoadedHeader:
    """The header in force: the main copy if it is whole, else the backup, else the newer of the copies in the roots.

    A whole main copy counts even beside a backup with a higher epoch: it is the one written first.
    Raises StoreUnusable if there is no copy, HeaderUnreadable if none can be read, HeaderDamaged if none is
    whole, UnsupportedVaultVersion for a whole copy that needs a newer vaultfs, WrongVault if the header file is
    that of a vault other than the roots'.
    """
    main, backup = _read(store, MAIN), _read(store, BACKUP)
    in_roots = _in_roots(store)
    try:
        header, raw = _whole(main, MAIN)
    except (HeaderDamaged, HeaderUnreadable) as error:
        with contextlib.suppress(HeaderDamaged, HeaderUnreadable):
            header, raw = _whole(backup, BACKUP)
            _refuse_stranger(header, BACKUP, in_roots)
            return LoadedHeader(header, raw, (f"{error} Its backup copy is used instead.",))
        if in_roots:
            return _from_roots(in_roots, error)
        if isinstance(main, FileNotFoundError) and isinstance(backup, FileNotFoundError):
            raise StoreUnusable(
                f"{store.description} is not a vault: it has no {MAIN}. If it should be one, let it finish syncing, or "
                "look for the right folder."
            ) from None
        raise type(error)(f"{error} No other copy of it is whole: put one back from a copy of the store.") from None
    _refuse_stranger(header, MAIN, in_roots)
    return LoadedHeader(header, raw, _backup_notes(header, raw, backup))


def load_from_roots(store: Store) -> LoadedHeader:
    """The header as the roots have it, whatever the header files say. Raises HeaderDamaged if no root has one."""
    in_roots = _in_roots(store)
    if not in_roots:
        raise HeaderDamaged("Neither root holds a copy of the header.")
    return _from_roots(in_roots, None)


def load_authentic(store: Store, mac_key: bytes) -> LoadedHeader | None:
    """The header files' newest header that was made with the key; None if there is none. Raises nothing.

    For who has the vault open: a header that something else put there is not taken up.
    """
    found = []
    for copy in COPIES:
        with contextlib.suppress(OpenError):
            header, raw = _whole(_read(store, copy), copy)
            verify_mac(raw, mac_key)
            found.append(LoadedHeader(header, raw, ()))
    return max(found, key=lambda loaded: loaded.header.epoch, default=None)


def is_newest(store: Store, loaded: LoadedHeader) -> bool:
    """Whether no copy, in the files or the roots, is another header that may have come later. Raises nothing."""
    files = [content for copy in COPIES if isinstance(content := _read(store, copy), bytes)]
    for raw in [*files, *(raw for _, raw in read_copies(store))]:
        try:
            if raw != loaded.raw and parse(raw).epoch >= loaded.header.epoch:
                return False
        except HeaderDamaged:
            continue
        except UnsupportedVaultVersion:
            return False
    return True


def save(store: Store, data: bytes, *, roots_too: bool = True) -> tuple[str, ...]:
    """Make `data` the header, durably: both files, then the copies in the roots; returns when all are synced.

    `roots_too` False leaves the roots alone, for a store in which another process writes them: it takes the new
    header over itself. Returns sentences about copies in roots that could not be replaced. Raises HeaderUnwritable
    about the files; its message says whether the old header is still in force.
    """
    try:
        for copy in COPIES:
            _write(store, copy + TEMPORARY_SUFFIX, data)
    except OSError as error:
        for copy in COPIES:
            with contextlib.suppress(OSError):
                store.delete(copy + TEMPORARY_SUFFIX)
        raise HeaderUnwritable(
            f"The header could not be written: {error.strerror or error}. The old one is in force."
        ) from error
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
    failed = write_copies(store, data) if roots_too else []
    return tuple(
        f"The header is replaced, but its copy in {path} could not be: {error}. It may still hold the keys of before."
        for path, error in failed
    )


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


def _in_roots(store: Store) -> list[tuple[str, Header, bytes]]:
    """(where, header, bytes) of the whole copies in the roots, the newest first."""
    found = []
    for path, raw in read_copies(store):
        with contextlib.suppress(HeaderDamaged, UnsupportedVaultVersion):
            found.append((path, parse(raw), raw))
    return sorted(found, key=lambda copy: copy[1].epoch, reverse=True)


def _from_roots(in_roots: list[tuple[str, Header, bytes]], error: OpenError | None) -> LoadedHeader:
    path, header, raw = in_roots[0]
    notes = () if error is None else (f"{error} Its backup is lost too; the copy in {path} is used instead.",)
    return LoadedHeader(header, raw, notes, rebuilt=True)


def _refuse_stranger(header: Header, path: str, in_roots: list[tuple[str, Header, bytes]]) -> None:
    if in_roots and all(other.vault_id != header.vault_id for _, other, _ in in_roots):
        raise WrongVault(
            f"{path} is the header of another vault ({header.vault_id.hex()}), not of this store "
            f"({in_roots[0][1].vault_id.hex()}); `vaultfs key rebuild` puts back the right one."
        )


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
    write_new_file(store, path, [data])
