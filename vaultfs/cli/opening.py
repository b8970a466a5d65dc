"""From what the user typed to an opened vault: store, header, password, keys; each failure with its sentence."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import passwords, unlocking, upkeep
from vaultfs.cli.mountoptions import CipherBackend
from vaultfs.cli.output import Output
from vaultfs.cli.progress import ProgressLine
from vaultfs.errors import LockedElsewhere, StoreUnusable

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.store.api import Store
    from vaultfs.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Choices:
    """How to open a vault; `cipher_backend` None is the default one, `journal_dir` None the store itself."""

    read_only: bool = False
    accept_rollback: bool = False
    accept_damage: bool = False
    cipher_backend: CipherBackend | None = None
    journal_dir: Path | None = None


def store_path(text: str) -> Path:
    """The store that was named, as an absolute path. Raises StoreUnusable unless it is a folder."""
    path = Path(os.path.abspath(text))
    if not path.exists():
        raise StoreUnusable(f"There is no folder {text}: look whether its disk is attached, and the name right.")
    if not path.is_dir():
        raise StoreUnusable(f"{text} is not a folder; a vault's store is one.")
    return path


def load_header(path: Path, out: Output) -> "LoadedHeader":
    """The header of the vault in the store `path`; warns of copies that are not as they should be.

    Raises StoreUnusable, HeaderUnreadable, HeaderDamaged, WrongVault or UnsupportedVaultVersion.
    """
    from vaultfs.keys.headerfile import load
    from vaultfs.store.directory import DirectoryStore

    with DirectoryStore(path, write=False) as store:
        loaded = load(store)
    for note in loaded.notes:
        out.warn(note)
    return loaded


def refuse_if_open(path: Path, *, write: bool) -> None:
    """LockedElsewhere if someone has the vault open who is in the way: said before a password is asked for, in vain."""
    from vaultfs.store.lock import already_open, holder

    who = holder(path)
    if who is not None and (write or who.mode == "write"):
        raise LockedElsewhere(already_open(who))


def unlock(loaded: "LoadedHeader", where: passwords.PasswordSource, out: Output) -> "Unlocked":
    """Get the secret and open the header with it. Raises what `unlocking.open_header` does.

    For who needs the vault's content, not its master key: that is overwritten, like the secret.
    """
    from vaultfs.crypto.memory import wipe

    unlocked, secret = unlocking.open_header(loaded.raw, where, out)
    wipe(secret)
    wipe(unlocked.master)
    return unlocked


@contextlib.contextmanager
def opened(path: Path, unlocked: "Unlocked", choices: Choices, out: Output) -> Iterator["Vault"]:
    """The open vault, locked against others meanwhile; whoever uses it closes it (serve does).

    What recovery did is shown. Raises LockedElsewhere, RollbackRefused, PartlySynced, JournalDamaged, Damaged.
    """
    from vaultfs.cli.logs import show_log
    from vaultfs.crypto.aead import select_backend
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.handles import raise_descriptor_limit
    from vaultfs.store.journalfolder import JournalElsewhere
    from vaultfs.store.lock import VaultLock
    from vaultfs.vault.memory import GenerationMemory
    from vaultfs.vault.vault import OpenOptions, Vault

    show_log(out)
    raise_descriptor_limit()
    if choices.cipher_backend is not None:
        select_backend(choices.cipher_backend)
    vault_id, write = unlocked.header.vault_id, not choices.read_only
    options = OpenOptions(
        chunk_size=unlocked.header.chunk_size,
        header_epoch=unlocked.header.epoch,
        inline_data=unlocked.header.inline_data,
        read_only=choices.read_only,
        accept_rollback=choices.accept_rollback,
        accept_damage=choices.accept_damage,
        memory=GenerationMemory.default(vault_id),
    )
    # What is left of it after a crash has to be replayed first, which may take some seconds.
    recovery = ProgressLine(out, "Recovery", "changes")
    with VaultLock.acquire(path, vault_id, write=write) as lock, DirectoryStore(path, write=write) as store:
        if lock.foreign_note is not None:
            out.warn(
                f"The store says that {lock.foreign_note} has the vault open. If that is so, close it there first: two "
                "writers would each lose what the other wrote."
            )
        folder = choices.journal_dir
        whole: Store = store if folder is None else JournalElsewhere.in_folder(store, folder, vault_id)
        with contextlib.closing(whole):
            with recovery:
                vault = Vault.open(whole, unlocked.keys, options._replace(progress=recovery.update))
            upkeep.warn_of_conflict(store, vault, out)
            yield vault
