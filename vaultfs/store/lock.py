"""Keeps two writers apart: a lock on the store's `lock` file, and one by vault id on this machine.

The second one is for a store that is reached by two paths, such as two network mounts or a synced copy. One
writer shuts out everybody; readers share. The kernel drops both locks when their process ends, so a left-over
note never blocks anyone.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from vaultfs.errors import LockedElsewhere, StoreUnusable
from vaultfs.store import ofd
from vaultfs.store.descriptors import open_folder, open_regular, open_root
from vaultfs.store.holder import NOTE_SIZE, Holder, Mode, this_host

LOCK_NAME = "lock"
"""The lock file's path in the store."""


class VaultLock:
    """A vault that this process has open; made by `acquire`, given up by `release` or at the end of `with`.

    The note names the process that called `acquire`: acquire after the last fork(2).
    """

    def __init__(self, held: list["_LockFile"], foreign_note: Holder | None) -> None:
        self._held = held
        self.foreign_note = foreign_note
        """Another host that noted in the store that it has the vault open, and has not taken that back."""

    @classmethod
    def acquire(cls, store_path: Path, vault_id: bytes, *, write: bool) -> Self:
        """Lock a vault for one writer, or for reading among readers.

        Raises LockedElsewhere if someone is in the way, StoreUnusable if a lock file cannot be opened.
        """
        me = Holder.this_process("write" if write else "read")
        held: list[_LockFile] = []
        try:
            held.append(_LockFile(_open_local(vault_id), me.mode))
            store_fd = _open_in_store(store_path, write=write)
            foreign: Holder | None = None
            if store_fd is not None:
                held.append(_LockFile(store_fd, me.mode))
                foreign = Holder.from_note(held[-1].read())
            for file in held if write else held[:1]:
                file.write(me.to_note(vault_id))
        except BaseException:
            for file in held:
                file.release()
            raise
        return cls(held, foreign if foreign is not None and foreign.host != this_host() else None)

    def release(self) -> None:
        """Take back the notes and unlock; nothing happens the second time."""
        while self._held:
            self._held.pop().release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(store_path: Path) -> Holder | None:
    """Who has the store's vault open as far as this machine can see; None if nobody. Raises StoreUnusable."""
    fd = _open_in_store(store_path, write=False)
    if fd is None:
        return None
    try:
        mode = ofd.lock_in_the_way(fd)
        return None if mode is None else _who_holds(os.pread(fd, NOTE_SIZE, 0), mode)
    finally:
        os.close(fd)


class _LockFile:
    """An open and locked lock file, with a note in it while it is held."""

    def __init__(self, fd: int, mode: Mode) -> None:
        """Takes over `fd`; it is closed if the lock is not to be had (LockedElsewhere)."""
        self._fd = fd
        self._note = b""
        try:
            if not ofd.try_lock(fd, exclusive=mode == "write"):
                raise LockedElsewhere(already_open(_who_holds(self.read(), _seen_mode(fd))))
        except BaseException:
            os.close(fd)
            raise

    def read(self) -> bytes:
        """The note now in the file."""
        return os.pread(self._fd, NOTE_SIZE, 0)

    def write(self, note: bytes) -> None:
        """Leave a note, unless it would replace that of another reader who is still there."""
        if ofd.lock_in_the_way(self._fd) is not None:
            return
        try:
            os.pwrite(self._fd, note, 0)
            os.ftruncate(self._fd, len(note))
            self._note = note
        except OSError as error:
            # A full store must still open, so that something can be deleted.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise

    def release(self) -> None:
        """Take back the own note and close, which unlocks."""
        # A store that fails by now has failed the vault already; the note is only advice.
        with suppress(OSError):
            if self._note and self.read() == self._note:
                os.ftruncate(self._fd, 0)
        os.close(self._fd)


def already_open(who: Holder) -> str:
    """The sentence for a vault that somebody else has open."""
    return f"The vault is already open by {who}: close it there first (`vaultfs status` lists what is mounted)."


def _seen_mode(fd: int) -> Mode:
    """How the vault is open elsewhere; whoever was in the way may be gone by now, having been a writer most likely."""
    return ofd.lock_in_the_way(fd) or "write"


def _who_holds(note: bytes, mode: Mode) -> Holder:
    """The note's author if it can be whoever holds the lock in this mode; else an unnamed holder on this host."""
    noted = Holder.from_note(note)
    if noted is None or noted.mode != mode or noted.is_gone():
        return Holder(this_host(), mode)
    return noted


def _open_in_store(store_path: Path, *, write: bool) -> int | None:
    """The store's lock file; None for a reader who has none or may not open it, as on read-only media."""
    path = store_path / LOCK_NAME
    root = open_root(os.fspath(store_path), write=write)
    try:
        return open_regular(LOCK_NAME, os.O_RDWR | os.O_CREAT if write else os.O_RDONLY, root, str(path))
    except OSError as error:
        if not write and error.errno in (errno.ENOENT, errno.EACCES):
            return None
        raise StoreUnusable(f"the lock file {path} cannot be opened: {error.strerror}") from error
    finally:
        os.close(root)


def _open_local(vault_id: bytes) -> int:
    """This machine's lock file for a vault, in the first folder that can be had."""
    name = f"{vault_id.hex()}.lock"
    reasons = []
    for folder in _local_folders():
        try:
            parent = _open_private(folder)
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
            continue
        try:
            return open_regular(name, os.O_RDWR | os.O_CREAT, parent, str(folder / name))
        except OSError as error:
            reasons.append(f"{folder / name}: {error.strerror}")
        finally:
            os.close(parent)
    raise StoreUnusable("no place for a lock file on this machine: " + "; ".join(reasons))


def _local_folders() -> list[Path]:
    """Where this user's lock files go, best first; all of them are cleared at boot."""
    user = os.geteuid()
    folders = [Path(f"/tmp/vaultfs-{user}")]
    if user == 0:
        folders.insert(0, Path("/run/vaultfs"))
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):
        folders.insert(0, Path(runtime, "vaultfs"))
    return folders


def _open_private(folder: Path) -> int:
    """A descriptor of a folder that only this user can write to, made if missing. Raises OSError."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    fd = open_folder(str(folder), None, str(folder))
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return fd
    os.close(fd)
    raise PermissionError(errno.EPERM, "others can write to it", str(folder))
