"""`vaultfs export STORE[:PATH] DIRECTORY`: copy files out of a vault without mounting it."""

import argparse
import os
import stat
from functools import partial
from itertools import tee
from typing import TYPE_CHECKING

from vaultfs.cli import opening, passwords, vaultpaths
from vaultfs.cli.output import Output, counted, size_text
from vaultfs.cli.progress import ProgressLine
from vaultfs.errors import Damaged, UsageError

if TYPE_CHECKING:
    from vaultfs.check.committed import CommittedTree
    from vaultfs.check.scan import Scan
    from vaultfs.check.uncommitted import Uncommitted
    from vaultfs.cli.exporting import Exporter
    from vaultfs.cli.tarring import TarExporter
    from vaultfs.vault.inline import Inline
    from vaultfs.vault.inode import Inode

SUMMARY = "Copy files out of a vault, into a directory or a tar archive, without mounting it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `export`."""
    vaultpaths.add_arguments(parser)
    parser.add_argument("directory", metavar="DIRECTORY", nargs="?", help="where to; made, or empty")
    parser.add_argument(
        "--salvage",
        action="store_true",
        help="get out what is left of a vault that no longer opens, by looking at every object; it may hold older or "
        "deleted files as well",
    )
    parser.add_argument("--into", choices=("tar",), help="write an archive to standard output instead")


def run(args: argparse.Namespace, out: Output) -> None:
    """Copy everything that can be read; then name what could not be, and raise Damaged."""
    if (args.directory is None) is (args.into is None):
        raise UsageError("Say where to: give either a directory or --into tar.")
    if args.into and os.isatty(1):
        raise UsageError("An archive is nothing for a terminal: send the output to a file or a program.")
    if args.salvage and args.into:
        raise UsageError("What is salvaged goes into a directory, not an archive.")
    target = None if args.directory is None else prepare(args.directory)
    try:
        if args.salvage and target is not None:
            _salvage(args, target, out)
            return
        with vaultpaths.reading(args, out) as (inline, inode, path):
            with ProgressLine(out, "Export") as line:
                done = _export(inline, inode, path.rpartition(b"/")[2], target, out, line)
            conclude(done.files, done.copied, done.failures, out, quiet=target is None)
    finally:
        if target is not None:
            os.close(target)


def prepare(directory: str) -> int:
    """A descriptor of the target, which is made if it is missing. Raises UsageError unless it is empty."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    if os.listdir(directory):
        raise UsageError(f"{directory} is not empty.")
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)


def _export(
    inline: "Inline", inode: "Inode", name: bytes, target: int | None, out: Output, line: ProgressLine
) -> "Exporter | TarExporter":
    from vaultfs.cli.exporting import Exporter
    from vaultfs.cli.filedata import data_pieces, data_size
    from vaultfs.cli.lookahead import Lookahead
    from vaultfs.cli.tarring import TarExporter
    from vaultfs.cli.walking import TreeWalk

    total = data_size(inline, inode) if line.is_shown else 0

    def progress(done: int) -> None:
        line.update(done, total)

    is_directory = stat.S_ISDIR(inode.mode)
    with Lookahead(inline.vault.contents_ahead) as lookahead:
        steps = lookahead.follow(iter(TreeWalk(inline, inode)), iter(TreeWalk(inline, inode)))
        pieces = partial(data_pieces, inline, lookahead)
        if target is None:
            tar = TarExporter(inline, pieces, out.stream(), progress)
            tar.export(steps, b"." if is_directory else name)
            return tar
        exporter = Exporter(pieces, out.warn, progress)
        if is_directory:
            exporter.export(steps, target)
        else:
            lookahead.begin([inode])
            exporter.export_one(name, inode, target)
        return exporter


def _salvage(args: argparse.Namespace, target: int, out: Output) -> None:
    """Copy what the objects alone tell into the target, beside a running or a ruined vault."""
    from vaultfs.check.salvage import Salvage
    from vaultfs.check.uncommitted import read_uncommitted
    from vaultfs.cli.exporting import Exporter
    from vaultfs.cli.lookahead import Lookahead
    from vaultfs.cli.walking import Step
    from vaultfs.vault.readahead import contents_ahead

    place = vaultpaths.parse(args.place)
    if place.path:
        raise UsageError("--salvage takes a whole store: its directories may be what is lost.")
    unlocked = opening.unlock(opening.load_header(place.store, out), passwords.source(args), out)
    with vaultpaths.committed(place.store, unlocked, args.journal_dir) as tree:
        # Before the scan: a checkpoint that runs meanwhile brings what is in a journal to where the scan comes to.
        uncommitted = read_uncommitted(tree.objects)
        scan = _scan(tree, out)
        with (
            ProgressLine(out, "Salvage") as line,
            Lookahead(partial(contents_ahead, tree.objects)) as lookahead,
        ):
            salvage = Salvage(tree.objects, scan, lookahead.start, changed=uncommitted.files)
            exporter = Exporter(salvage.pieces, out.warn, lambda done: line.update(done, scan.content_size))
            exporter.export(lookahead.follow(*tee(Step(*found, "") for found in salvage.walk())), target)
    failures = [*exporter.failures, *uncommitted.failures, *_unread(scan, uncommitted)]
    conclude(exporter.files, exporter.copied, failures, out, quiet=False)


def _scan(tree: "CommittedTree", out: Output) -> "Scan":
    """All objects; whose one with a broken header is, what is left of the tree may tell."""
    from vaultfs.check.owners import known_headers
    from vaultfs.check.scan import Scan
    from vaultfs.check.walker import Walker
    from vaultfs.format.layout import object_name

    scan = Scan(tree.objects)
    with ProgressLine(out, "Scan", "folders") as line:
        scan.run(line.update)
    broken = {name for path in scan.broken if (name := object_name(path)) is not None}
    if not broken or not tree.refresh():
        return scan
    scan = Scan(tree.objects, known_headers(tree, Walker(tree, lambda finding: None), broken))
    with ProgressLine(out, "Scan", "folders") as line:
        scan.run(line.update)
    return scan


def _unread(scan: "Scan", uncommitted: "Uncommitted") -> list[str]:
    """Sentences about what may have more of the vault, and could not be looked into."""
    failing = set(scan.failing)
    broken = [path for path in scan.broken if path not in failing]
    return [
        *(f"{path} cannot be read: the store gives an error for it" for path in sorted(failing)),
        *(f"{path} is none of this vault's objects, or its header is broken" for path in broken),
        *(f"{path} is no journal that this vault's keys open" for path in uncommitted.broken),
    ]


def conclude(files: int, copied: int, failures: list[str], out: Output, *, quiet: bool) -> None:
    """Say what was copied; name what was not, and raise Damaged."""
    if not quiet:
        out.say(f"{counted(files, 'file or directory', 'files and directories')}, {size_text(copied)} of data.")
    for failure in failures:
        out.warn(failure)
    if failures:
        number = counted(len(failures), "thing")
        raise Damaged(f"{number} could not be read or copied whole, as named above; everything else was")
