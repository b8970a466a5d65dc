"""`STORE[:PATH]` on the command line, and opening a vault to read what is there."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vaultfs.cli import opening, passwords
from vaultfs.cli.output import Output, printable
from vaultfs.errors import Damaged, NotFound, VaultfsError

if TYPE_CHECKING:
    from vaultfs.check.committed import CommittedTree
    from vaultfs.keys.header import Unlocked
    from vaultfs.store.api import Store
    from vaultfs.vault.inline import Inline
    from vaultfs.vault.inode import Inode

_LACKS_CHANGES = (
    "the last changes are missing in this: the journal that has them, or what they change, is broken; `vaultfs export "
    "--salvage` gets out what is left of them"
)


class VaultPath(NamedTuple):
    """A place in a vault: the store's folder, and the plain path below the top, without slashes at its ends."""

    store: Path
    path: bytes


def parse(text: str) -> VaultPath:
    """Split at the first colon that has a folder before it. Raises StoreUnusable if there is none."""
    if not os.path.isdir(text):
        for position, sign in enumerate(text):
            if sign == ":" and os.path.isdir(text[:position]):
                return VaultPath(opening.store_path(text[:position]), _clean(text[position + 1 :]))
    return VaultPath(opening.store_path(text), b"")


def _clean(text: str) -> bytes:
    return b"/".join(part for part in os.fsencode(text).split(b"/") if part not in (b"", b"."))


def shown(path: bytes) -> str:
    """A plain path for people, from the vault's top."""
    return shown_name(b"/" + path)


def shown_name(name: bytes) -> str:
    """A name for people, on one line."""
    return printable(name.decode("utf-8", "backslashreplace"))


def add_arguments(parser: argparse.ArgumentParser, metavar: str = "STORE[:PATH]") -> None:
    """Declare the place and how to open its vault for reading."""
    parser.add_argument("place", metavar=metavar, help="the folder with the encrypted files, and a path in the vault")
    passwords.add_arguments(parser)
    parser.add_argument(
        "--accept-rollback", action="store_true", help="open a store that is older than this machine last saw it"
    )
    add_journal_dir(parser)
    parser.add_argument(
        "--accept-damage", action="store_true", help="leave out the changes in a journal that is broken or missing"
    )
    parser.add_argument(
        "--anchor", metavar="FILE|TEXT", help="refuse a store older than this anchor from `vaultfs info --anchor`"
    )


def add_journal_dir(parser: argparse.ArgumentParser) -> None:
    """Declare the folder that mounts of the vault keep its journals in."""
    parser.add_argument(
        "--journal-dir", metavar="DIR", type=Path, help="the folder given to mount --journal-dir, if one was"
    )


@contextlib.contextmanager
def reading(args: argparse.Namespace, out: Output) -> Iterator[tuple["Inline", "Inode", bytes]]:
    """(the vault, the inode at the place, its path); what an unclean end left is recovered in memory only.

    Raises Damaged at the end if changes had to be left out, unless --accept-damage says that they may be.
    """
    from vaultfs.cli.anchors import take_anchor
    from vaultfs.vault.inline import Inline

    place = parse(args.place)
    loaded = opening.load_header(place.store, out)
    opening.refuse_if_open(place.store, write=False)
    unlocked = opening.unlock(loaded, passwords.source(args), out)
    if args.anchor is not None:
        take_anchor(args.anchor, unlocked.header.vault_id)
    choices = opening.Choices(
        read_only=True,
        accept_rollback=args.accept_rollback,
        accept_damage=args.accept_damage,
        journal_dir=args.journal_dir,
    )
    with opening.opened(place.store, unlocked, choices, out) as vault:
        try:
            inline = Inline(vault)
            yield inline, find(inline, place.path), place.path
        finally:
            vault.close()
        if vault.lacks_changes and not args.accept_damage:
            raise Damaged(_LACKS_CHANGES)


@contextlib.contextmanager
def committed(path: Path, unlocked: "Unlocked", journal_dir: Path | None = None) -> Iterator["CommittedTree"]:
    """The committed tree of a vault, mounted or not; `journal_dir` is where its journals are, None: in the store."""
    from vaultfs.check.committed import CommittedTree
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.journalfolder import JournalElsewhere

    with DirectoryStore(path, write=False) as store:
        whole: Store = store
        if journal_dir is not None:
            whole = JournalElsewhere.in_folder(store, journal_dir, unlocked.header.vault_id)
        with contextlib.closing(whole):
            tree = CommittedTree(whole, unlocked.keys, unlocked.header.chunk_size)
            try:
                yield tree
            finally:
                tree.close()


def find(inline: "Inline", path: bytes) -> "Inode":
    """The inode at a path, symlinks not followed; an error names the path."""
    try:
        return inline.walk(path)
    except NotFound:
        raise NotFound(f"there is no {shown(path)} in the vault") from None
    except VaultfsError as error:
        raise type(error)(f"{shown(path)}: {error}") from error
