"""`vaultfs cat STORE:PATH`: write a file of a vault to stdout without mounting it."""

import argparse
import stat

from vaultfs.cli import vaultpaths
from vaultfs.cli.output import Output
from vaultfs.errors import Damaged, InvalidArgument

SUMMARY = "Write a file of a vault to standard output without mounting it."
_PIECE = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `cat`."""
    vaultpaths.add_arguments(parser, "STORE:PATH")


def run(args: argparse.Namespace, out: Output) -> None:
    """Write the bytes; at the first that cannot be read, Damaged names path and place."""
    from vaultfs.cli.lookahead import FileAhead, Lookahead

    with vaultpaths.reading(args, out) as (inline, inode, path), Lookahead(inline.vault.contents_ahead) as lookahead:
        if not stat.S_ISREG(inode.mode):
            raise InvalidArgument(f"{vaultpaths.shown(path)} is no regular file")
        ahead = FileAhead(lookahead, inline, inode.id)
        for offset in range(0, inode.size, _PIECE):
            ahead.reading(offset)
            try:
                out.stream().write(inline.read_view(inode.id, offset, _PIECE))
            except Damaged as damage:
                raise Damaged(
                    f"{vaultpaths.shown(path)}, at byte {offset} or behind: {damage}; other files are not affected"
                ) from damage
