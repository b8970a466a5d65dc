"""`vaultfs import DIRECTORY STORE[:PATH]`: copy a tree into a vault without mounting it."""

import argparse
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import opening, passwords, vaultpaths
from vaultfs.cli.insight import taken
from vaultfs.cli.interrupts import BetweenChanges
from vaultfs.cli.output import Output, counted, size_text
from vaultfs.cli.progress import ProgressLine
from vaultfs.errors import Damaged, NotADirectory, NotFound, UsageError

if TYPE_CHECKING:
    from vaultfs.cli.importing import Comparison, Importer
    from vaultfs.vault.inline import Inline
    from vaultfs.vault.inode import Inode
    from vaultfs.vault.vault import Vault

SUMMARY = "Copy a directory's files into a vault without mounting it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `import`."""
    parser.add_argument("directory", metavar="DIRECTORY", help="what to copy: the entries of this directory")
    parser.add_argument("place", metavar="STORE[:PATH]", help="the vault, and the directory in it, made if missing")
    passwords.add_arguments(parser)
    vaultpaths.add_journal_dir(parser)
    parser.add_argument("--verify", action="store_true", help="read everything back and compare")


def run(args: argparse.Namespace, out: Output) -> None:
    """Copy, then compare if asked; raises Damaged if something differs, Exists if a file has a directory's name."""
    from vaultfs.vault.inline import Inline

    if not os.path.isdir(args.directory):
        raise UsageError(f"The directory to copy, {args.directory}, is none, or is not there.")
    place = vaultpaths.parse(args.place)
    for growing in filter(None, (place.store, args.journal_dir)):
        _refuse_itself(args.directory, growing)
    loaded = opening.load_header(place.store, out)
    opening.refuse_if_open(place.store, write=True)
    unlocked = opening.unlock(loaded, passwords.source(args), out)
    comparison: Comparison | None = None
    before = taken(place.store)
    choices = opening.Choices(journal_dir=args.journal_dir)
    with opening.opened(place.store, unlocked, choices, out) as vault, BetweenChanges() as interrupts:
        try:
            inline = Inline(vault)
            target = _target(inline, place.path)
            vault.remember(target.id)
            importer = _copy(vault, args.directory, target, place.path, interrupts, out)
            if args.verify:
                comparison = _compare(inline, args.directory, target, interrupts, out)
        except KeyboardInterrupt:
            out.note("What was copied until now is committed first.")
            raise
        finally:
            vault.close()
    grown = max(taken(place.store) - before, 0)
    known = "all" if importer.left == importer.files - 1 else importer.left
    left = f", {known} of them there already" if importer.left else ""
    out.say(f"{importer.files} entries{left}, {size_text(importer.copied)} in; the store grew by {size_text(grown)}.")
    _conclude(importer, comparison, out)


def _refuse_itself(directory: str, growing: Path) -> None:
    """UsageError if a folder that grows by what is copied would be copied itself."""
    top, inner = os.path.realpath(directory), os.path.realpath(growing)
    if os.path.commonpath((top, inner)) == top:
        raise UsageError(f"{growing} is in {directory} itself, and would be copied into what it grows by.")


def _conclude(importer: "Importer", comparison: "Comparison | None", out: Output) -> None:
    """Name what is not as it was found; raises Damaged if there is any."""
    for sentence in importer.unfinished:
        out.note(sentence)
    differences = comparison.differences if comparison is not None else []
    for sentence in (*importer.changed, *differences):
        out.warn(sentence)
    if differences:
        raise Damaged(
            f"{len(differences)} differences between the directory and the vault, those named above; "
            "the directory may have changed meanwhile"
        )
    if importer.changed:
        raise Damaged(
            f"{counted(len(importer.changed), 'file')} named above may not be in the vault as it is in the directory; "
            "all else is"
        )
    if comparison is not None:
        out.say(f"{comparison.files} entries and {size_text(comparison.compared)} read back: all the same.")


def _target(inline: "Inline", path: bytes) -> "Inode":
    """The directory to copy into; the last parts of its path are made if they are missing."""
    inode = inline.getattr(1)
    for name in filter(None, path.split(b"/")):
        try:
            inode = inline.lookup(inode.id, name)
        except NotFound:
            inode = inline.create_inode(inode.id, name, stat.S_IFDIR | 0o755, os.getuid(), os.getgid())
    if not stat.S_ISDIR(inode.mode):
        raise NotADirectory(f"{vaultpaths.shown(path)} is no directory")
    return inode


def _copy(
    vault: "Vault", directory: str, target: "Inode", path: bytes, interrupts: BetweenChanges, out: Output
) -> "Importer":
    from vaultfs.cli.importing import Importer
    from vaultfs.cli.source import source_size
    from vaultfs.vault.collection import collect_rarely

    collect_rarely()
    with ProgressLine(out, "Import") as line:
        total = source_size(directory) if line.is_shown else 0
        importer = Importer(vault, lambda done: line.update(done, total), interrupts.check, path)
        importer.run(directory, target)
    return importer


def _compare(
    inline: "Inline", directory: str, target: "Inode", interrupts: BetweenChanges, out: Output
) -> "Comparison":
    from vaultfs.cli.importing import Comparison
    from vaultfs.cli.lookahead import Lookahead
    from vaultfs.cli.source import source_size

    with ProgressLine(out, "Verify") as line, Lookahead(inline.vault.contents_ahead) as lookahead:
        total = source_size(directory) if line.is_shown else 0
        comparison = Comparison(inline, lookahead, lambda done: line.update(done, total), interrupts.check)
        comparison.run(directory, target)
    return comparison
