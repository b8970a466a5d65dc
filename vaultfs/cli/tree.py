"""`vaultfs tree STORE[:PATH]`: list everything below a directory of a vault without mounting it."""

import argparse
import stat

from vaultfs.cli import vaultpaths
from vaultfs.cli.ls import described
from vaultfs.cli.output import Output, counted, size_text
from vaultfs.errors import Damaged

SUMMARY = "List everything below a directory of a vault without mounting it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `tree`."""
    vaultpaths.add_arguments(parser)
    parser.add_argument("-l", "--long", action="store_true", help="show mode, links, owner, group, size and time")
    parser.add_argument("-0", "--null", action="store_true", help="whole paths as they are, a zero byte behind each")


def run(args: argparse.Namespace, out: Output) -> None:
    """List it all, indented; what cannot be read is named, and Damaged raised at the end."""
    from vaultfs.cli.walking import TreeWalk

    directories = files = size = damaged = 0
    with vaultpaths.reading(args, out) as (inline, inode, _):
        for step in TreeWalk(inline, inode):
            if step.leaving:
                continue
            if step.inode is None:
                damaged += 1
                out.warn(f"{vaultpaths.shown(step.path)}: {step.damage}")
                continue
            if stat.S_ISDIR(step.inode.mode):
                directories += 1
            else:
                files, size = files + 1, size + step.inode.size
            if args.null:
                out.stream().write(step.path + b"\0")
            elif step.path:
                folder, _, name = step.path.rpartition(b"/")
                indent = "  " * (folder.count(b"/") + 1 if folder else 0)
                mark = "/" if stat.S_ISDIR(step.inode.mode) else ""
                long = f"{described(step.inode)} " if args.long else ""
                out.result(f"{long}{indent}{vaultpaths.shown_name(name)}{mark}")
        if not args.null:
            out.say(f"{counted(directories, 'directory', 'directories')}, {counted(files, 'file')}, {size_text(size)}.")
        if damaged:
            raise Damaged(f"{damaged} places cannot be read")
