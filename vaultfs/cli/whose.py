"""`vaultfs whose STORE OBJECT`: which file or directory an object of the store belongs to."""

import argparse
import os
import re
from typing import TYPE_CHECKING

from vaultfs.cli import opening, passwords, vaultpaths
from vaultfs.cli.output import Output
from vaultfs.errors import Damaged, UsageError

if TYPE_CHECKING:
    from vaultfs.check.committed import CommittedTree
    from vaultfs.sealing.objects import ObjectHeader

SUMMARY = "Show which file or directory an object of the store belongs to."

_NAME = re.compile(r"(?:.*/)?(?:objects/)?([0-9a-f]{2})/?([0-9a-f]{30})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `whose`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    parser.add_argument("object", metavar="OBJECT", help="an object's path, such as objects/ab/cdef…")
    passwords.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Say whose it is by its sealed header, and look for the path. Raises Damaged if that does not verify."""
    from vaultfs.sealing.objects import open_object_header

    match = _NAME.fullmatch(os.path.normpath(args.object))
    if match is None:
        raise UsageError(f"{args.object!r} is no object's path: those look like objects/ab/cdef…")
    name = bytes.fromhex(match[1] + match[2])
    path = opening.store_path(args.store)
    unlocked = opening.unlock(opening.load_header(path, out), passwords.source(args), out)
    with vaultpaths.committed(path, unlocked) as tree:
        tree.open()
        stored = tree.objects.open(f"objects/{match[1]}/{match[2]}").read(4096, 0)
        header = open_object_header(tree.objects.context, name, stored)
        plain = _search(tree, header)
    what = _described(header)
    if plain is None:
        raise Damaged(f"it is of {what}, which no directory has: an orphan, or newer than the last checkpoint")
    out.result(f"{vaultpaths.shown(plain)}: {what}")


def _described(header: "ObjectHeader") -> str:
    from vaultfs.format.constants import INDEX_SEGMENT, OBJECT_DIRECTORY

    if header.kind == OBJECT_DIRECTORY:
        return f"directory {header.inode_id}, of generation {header.generation}"
    part = "the map" if header.segment == INDEX_SEGMENT else f"segment {header.segment}"
    return f"{part} of file {header.inode_id}, of generation {header.generation}"


def _search(tree: "CommittedTree", header: "ObjectHeader") -> bytes | None:
    from vaultfs.check.walker import Walker

    visits = Walker(tree, lambda finding: None).walk()
    return next((visit.place.path for visit in visits if visit.entry.id == header.inode_id), None)
