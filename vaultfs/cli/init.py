"""`vaultfs init STORE`: make a new, empty vault.

The header is written last, when everything else is synced: a folder in which init was interrupted
is not a vault, and never half of one.
"""

import argparse
import contextlib
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import kdfoptions, newkeys, passwords, recoverypage, unlocking
from vaultfs.cli.output import Output
from vaultfs.errors import HeaderDamaged, HeaderUnwritable, InitRefused, Interrupted, UsageError
from vaultfs.format import layout
from vaultfs.format.constants import CHUNK_SIZE_DEFAULT, CHUNK_SIZE_MAX, CHUNK_SIZE_MIN

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked
    from vaultfs.store.api import Store

SUMMARY = "Make a new vault in an empty or new folder."

_NO_RECOVERY = "Keep the password safe: vaultfs cannot help recover a forgotten password, and without it all is lost."
_TWO_WAYS = "Keep the password and the recovery key safe, apart from each other: without both of them all is lost."
_FOLDERS = (layout.OBJECTS_FOLDER, layout.JOURNAL_FOLDER)
_FILES = (
    layout.HEADER_PATH,
    layout.HEADER_BACKUP_PATH,
    layout.root_slot_path(0),
    layout.root_slot_path(1),
    layout.LOCK_PATH,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `init`."""
    parser.add_argument("store", metavar="STORE", help="the folder for the encrypted files; made if it is missing")
    passwords.add_arguments(parser)
    kdfoptions.add_arguments(parser)
    parser.add_argument(
        "--chunk-size",
        metavar="KIB",
        type=int,
        default=CHUNK_SIZE_DEFAULT >> 10,
        help=f"the unit of encryption, a power of two from {CHUNK_SIZE_MIN >> 10} to {CHUNK_SIZE_MAX >> 10} "
        "(default: %(default)s); larger ones suit large files",
    )
    parser.add_argument("--label", metavar="TEXT", default="", help="what to call the vault; kept encrypted")
    parser.add_argument("--owner", metavar="TEXT", default="", help="whose it is, such as a number; kept encrypted")
    parser.add_argument(
        "--recovery", action=argparse.BooleanOptionalAction, help="make a recovery key, or do not ask whether to"
    )
    passwords.add_weak_ok(parser)
    recoverypage.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def run(args: argparse.Namespace, out: Output) -> None:
    """Make the vault. Nothing is left behind of one that could not be made."""
    from vaultfs.crypto.calibration import calibrate
    from vaultfs.keys import header
    from vaultfs.keys.identity import Identity
    from vaultfs.keys.password import normalise

    path = Path(os.path.abspath(args.store))
    source = passwords.source(args)
    kdf = kdfoptions.chosen(args)
    chunk_size = _chunk_size(args.chunk_size)
    identity = Identity(args.label, args.owner)
    identity.check()
    recoverypage.check_arguments(args)
    _refuse_unless_free(path)
    _say_what_is_at_stake(args, out)
    unlocking.keep_from_others()
    password = normalise(passwords.read_new_password(source, out, newkeys.password_check(args), credential=True))
    if kdf is None:
        with out.working("Measuring what this machine can afford for each guess at the password, about 1 s"):
            kdf = calibrate()
    with out.working("Making the keys, about 1 s"):
        made = header.create(password, kdf=kdf, chunk_size=chunk_size, identity=identity)
    is_shown = _wants_recovery(args, out)
    if is_shown:
        slot = newkeys.recovery_slot(args, out, made, made.slot.kdf, "")
        made = made._replace(header=replace(made.header, slots=(*made.header.slots, slot)))
    with (
        recoverypage.valid_if_this_ends(out, is_shown=is_shown),
        out.working("Making the vault"),
        _claimed(path, made.header.vault_id) as store,
    ):
        _fill(store, made)
    out.say(f"The vault in {path} is ready. To open it: vaultfs mount {shlex.quote(str(path))} MOUNTPOINT")


def _chunk_size(kib: int) -> int:
    size = kib << 10
    if not CHUNK_SIZE_MIN <= size <= CHUNK_SIZE_MAX or size & (size - 1):
        raise UsageError(
            f"The chunk size must be a power of two from {CHUNK_SIZE_MIN >> 10} to {CHUNK_SIZE_MAX >> 10} KiB."
        )
    return size


def _refuse_unless_free(path: Path) -> None:
    """InitRefused unless `path` is an empty folder, or can be made as one."""
    if not path.parent.is_dir():
        raise InitRefused(f"The folder {path.parent}, in which the vault should be made, does not exist.")
    if not os.path.lexists(path):
        _refuse_unless_writable(path.parent)
        return
    if not path.is_dir():
        raise InitRefused(f"{path} is not a folder.")
    names = set(os.listdir(path)) - {layout.LOCK_PATH}
    if layout.HEADER_PATH in names or layout.HEADER_BACKUP_PATH in names:
        raise InitRefused(f"{path} is a vault already.")
    if _has_header_in_roots(path):
        raise InitRefused(f"{path} is a vault already; its header is lost, and `vaultfs key rebuild` writes it again.")
    if names and names <= {*_FOLDERS, *_FILES}:
        raise InitRefused(f"{path} holds what an interrupted init has left; remove that and try again.")
    if names:
        raise InitRefused(f"{path} is not empty; a vault needs a folder of its own.")
    _refuse_unless_writable(path)


def _refuse_unless_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise InitRefused(f"The folder {folder} cannot be written to.")


def _has_header_in_roots(path: Path) -> bool:
    from vaultfs.keys.headerfile import load_from_roots
    from vaultfs.store.directory import DirectoryStore

    try:
        with DirectoryStore(path, write=False) as store:
            load_from_roots(store)
    except (HeaderDamaged, OSError):
        return False
    return True


def _say_what_is_at_stake(args: argparse.Namespace, out: Output) -> None:
    out.warn(_TWO_WAYS if args.recovery else _NO_RECOVERY)
    if os.isatty(0) and not args.yes and not out.confirm("Is the new password safe with you?"):
        raise Interrupted("No vault was made.")


def _wants_recovery(args: argparse.Namespace, out: Output) -> bool:
    if args.recovery is None and os.isatty(0) and not args.yes:
        return out.confirm("Shall a recovery key be made as well, to write down and lock away?")
    return bool(args.recovery)


def _fill(store: "Store", made: "Unlocked") -> None:
    """Write an empty filesystem and then the header, all synced."""
    from vaultfs.keys.header import serialise
    from vaultfs.keys.headerfile import save
    from vaultfs.vault.vault import Vault

    header = made.header
    Vault.create(
        store,
        made.keys,
        chunk_size=header.chunk_size,
        header_epoch=header.epoch,
        uid=os.getuid(),
        gid=os.getgid(),
    )
    try:
        save(store, serialise(header, made.keys.header_mac_key))
    except HeaderUnwritable as error:
        raise HeaderUnwritable(
            f"The vault was not made, because its header cannot be written: {error.__cause__}."
        ) from error


@contextlib.contextmanager
def _claimed(path: Path, vault_id: bytes) -> Iterator["Store"]:
    """The store's folder, locked, made if it is missing; when what follows fails, all that was put there is removed."""
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.lock import VaultLock

    missing = not path.exists()
    if missing:
        path.mkdir(mode=0o700)
    try:
        with VaultLock.acquire(path, vault_id, write=True), DirectoryStore(path, write=True) as store:
            # Once more, now that no other init can be at work here: what is removed below is ours alone.
            _refuse_unless_free(path)
            try:
                yield store
            except BaseException:
                _remove_all(path)
                raise
    except BaseException:
        if missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
    with DirectoryStore(path.parent, write=False) as parent:
        parent.sync_folder("")


def _remove_all(path: Path) -> None:
    """Remove what init makes, and nothing else."""
    for name in _FILES:
        with contextlib.suppress(OSError):
            (path / name).unlink()
    for name in _FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
