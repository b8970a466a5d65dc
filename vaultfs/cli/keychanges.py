"""What every change of a vault's keys goes through: who may, on which header, and how it is put in force.

A change needs no look at the vault's content and is instant at any size. It is made while the vault is mounted, too:
the header files are ours to replace then, and the process that has the vault open carries the new header's epoch and
a copy of it into the roots, at its next checkpoint and at the latest when it is unmounted.
"""

import argparse
import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import opening, passwords, unlocking
from vaultfs.cli.output import Output
from vaultfs.errors import HeaderDamaged, LockedElsewhere, RollbackRefused

if TYPE_CHECKING:
    from vaultfs.crypto.kdf import Kdf
    from vaultfs.keys.header import Header, Unlocked
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.store.api import Store
    from vaultfs.store.lock import VaultLock

_NO_LOCKS_HERE = (errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK, errno.EBADF)


@dataclass(frozen=True, slots=True)
class OpenedKeys:
    """A header that was opened with `secret`, and the store it is from."""

    path: Path
    loaded: "LoadedHeader"
    unlocked: "Unlocked"
    secret: bytes

    def __repr__(self) -> str:
        return f"<OpenedKeys of {self.path}>"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the store, the options that say how to open it, and `--accept-rollback`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    passwords.add_arguments(parser)
    parser.add_argument(
        "--accept-rollback", action="store_true", help="change a header that is older than the vault has known"
    )


def open_keys(
    args: argparse.Namespace,
    out: Output,
    *,
    loaded: "LoadedHeader | None" = None,
    prompt: str = "Password: ",
    avoid: bytes | None = None,
) -> OpenedKeys:
    """Load the header (unless that is done) and open it with the secret the options name, before any change.

    Raises what loading and unlocking raise, StoreUnusable if the store cannot be written to, and RollbackRefused for a
    header older than the vault has known.
    """
    from vaultfs.store.directory import DirectoryStore

    path = opening.store_path(args.store)
    loaded = loaded or opening.load_header(path, out)
    with DirectoryStore(path, write=True):
        pass  # where nothing can be written no secret need be asked for, or shown
    opened = unlocking.open_header(loaded.raw, passwords.source(args), out, prompt=prompt, avoid=avoid)
    unlocked = _not_older(path, opened.unlocked, accept=args.accept_rollback)
    return OpenedKeys(path, loaded, unlocked, opened.secret)


def put_in_force(opened: OpenedKeys, header: "Header", out: Output) -> None:
    """Make the changed header the vault's, in all its copies; warns of a copy that could not be replaced.

    Raises what `replace_header` does.
    """
    if not replace_header(opened, header, out):
        out.note("The vault is open; its roots take the change over at its next checkpoint, or when it is unmounted.")


def replace_header(opened: OpenedKeys, header: "Header", out: Output) -> bool:
    """The same, without a word about the roots: False if whoever has the vault open has to take the change over.

    Raises LockedElsewhere if another command was quicker, HeaderUnwritable.
    """
    from vaultfs.keys.header import serialise
    from vaultfs.keys.headerfile import load, save
    from vaultfs.store.directory import DirectoryStore

    data = serialise(header, opened.unlocked.keys.header_mac_key)
    with _one_at_a_time(opened.path), DirectoryStore(opened.path, write=True) as store:
        if not opened.loaded.rebuilt and load(store).raw != opened.loaded.raw:
            raise LockedElsewhere("Another command has changed the keys meanwhile; nothing was changed by this one.")
        with _roots_are_ours(opened.path, header.vault_id) as ours:
            notes = save(store, data, roots_too=ours)
    for note in notes:
        out.warn(note)
    return ours


def costs(args: argparse.Namespace, opened: OpenedKeys) -> "Kdf":
    """The KDF for a new slot: what the options say, else that of the slot that was opened, unless it is weak."""
    from vaultfs.cli import kdfoptions
    from vaultfs.crypto.calibration import calibrate, is_weak

    present = opened.unlocked.slot.kdf
    return kdfoptions.chosen(args) or (calibrate() if is_weak(present) else present)


def _not_older(path: Path, unlocked: "Unlocked", *, accept: bool) -> "Unlocked":
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.vault.sealedepoch import refuse_older_header, sealed_epoch

    header = unlocked.header
    with DirectoryStore(path, write=False) as store:
        sealed = sealed_epoch(store, unlocked.keys, header.chunk_size)
        _refuse_another_master(store, unlocked)
    if not accept:
        refuse_older_header(header.epoch, sealed)
    # The next epoch has to be one the roots have not seen, or the header would be refused once more.
    return unlocked._replace(header=replace(header, epoch=max(header.epoch, sealed)))


def _refuse_another_master(store: "Store", unlocked: "Unlocked") -> None:
    """RollbackRefused if the roots hold a newer header with another master key: it must not be written over.

    Whatever an older one would be changed to, nothing in the vault opens with its master key any more.
    """
    from vaultfs.keys.header import verify_mac
    from vaultfs.keys.headerfile import load_from_roots

    try:
        newest = load_from_roots(store)
    except HeaderDamaged:
        return
    if newest.header.epoch <= unlocked.header.epoch:
        return
    try:
        verify_mac(newest.raw, unlocked.keys.header_mac_key)
    except HeaderDamaged:
        raise RollbackRefused(
            "The header is from before the vault got a new master key, and opens nothing in it any more; "
            "`vaultfs key rebuild` puts back the newer one."
        ) from None


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Keep two commands on this machine from changing the keys at once (flock(2) on the store's folder)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedElsewhere("Another command is changing the keys; try again when it is done.") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _roots_are_ours(path: Path, vault_id: bytes) -> Iterator[bool]:
    """Whether nobody has the vault open for writing, who then is kept from opening it meanwhile.

    Who has it open for reading writes no roots, when it ends neither, and takes no new header over.
    """
    lock = _lock(path, vault_id, write=True) or _lock(path, vault_id, write=False)
    if lock is None:
        yield False
        return
    with lock:
        yield lock.foreign_note is None


def _lock(path: Path, vault_id: bytes, *, write: bool) -> "VaultLock | None":
    from vaultfs.store.lock import VaultLock

    try:
        return VaultLock.acquire(path, vault_id, write=write)
    except LockedElsewhere:
        return None
