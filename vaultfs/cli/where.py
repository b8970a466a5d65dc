"""`vaultfs where STORE:PATH`: which objects of the store hold a file or directory."""

import argparse
import stat
from typing import TYPE_CHECKING

from vaultfs.cli import opening, passwords, vaultpaths
from vaultfs.cli.output import Output, counted
from vaultfs.errors import NotFound

if TYPE_CHECKING:
    from vaultfs.check.committed import CommittedTree, Place
    from vaultfs.sealing.entries import Entry

SUMMARY = "Show which objects of the store hold a file or directory, as of the last checkpoint."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `where`."""
    parser.add_argument("place", metavar="STORE:PATH", help="the encrypted folder, and a path in the vault")
    passwords.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, out: Output) -> None:
    """List the objects, each with what is in it. Changes nothing, and needs no lock."""
    from vaultfs.check.committed import Place
    from vaultfs.format.constants import ROOT_ID

    place = vaultpaths.parse(args.place)
    unlocked = opening.unlock(opening.load_header(place.store, out), passwords.source(args), out)
    with vaultpaths.committed(place.store, unlocked) as tree:
        tree.open()
        inside = Place(ROOT_ID, tuple(filter(None, place.path.split(b"/"))))
        entry = tree.find(inside)
        if entry is None:
            raise NotFound(f"there is no {vaultpaths.shown(place.path)} in the vault as of the last checkpoint")
        rows = _objects(tree, inside, entry)
    if args.json:
        out.json({"inode": entry.id, "objects": [{"stored": stored, "holds": holds} for stored, holds in rows]})
    else:
        out.say(f"Inode {entry.id}, {counted(len(rows), 'object')}.")
        for stored, holds in rows:
            out.result(f"{stored}  {holds}")


def _objects(tree: "CommittedTree", place: "Place", entry: "Entry") -> list[tuple[str, str]]:
    from vaultfs.check.structure import leaf_of, load_map
    from vaultfs.format.constants import CHUNKS_PER_SEGMENT

    if not entry.content:
        return []
    if stat.S_ISDIR(entry.mode):
        return _directory_objects(entry)
    content = load_map(tree.objects, entry)
    if content.inline and (keeper := tree.keeper(place)) is not None:
        return _directory_objects(keeper)
    rows = [(content.index.path, "the upper part of the file's map")] if content.index is not None else []
    size = CHUNKS_PER_SEGMENT * tree.objects.chunk_size
    for number, segment in sorted(content.committed.items()):
        end = min((number + 1) * size, entry.size)
        rows.append((segment.path, f"bytes {number * size} to {end}, {counted(len(leaf_of(segment)), 'chunk')}"))
    return rows


def _directory_objects(entry: "Entry") -> list[tuple[str, str]]:
    from vaultfs.format.layout import object_path
    from vaultfs.sealing.entries import decode_head

    head = decode_head(entry.content)
    rows = [(object_path(head.base.object), f"a directory's entries, {head.base.length} bytes")]
    if head.delta is not None:
        rows.append((object_path(head.delta.object), f"later changes to them, {head.delta.length} bytes"))
    return rows
