"""`vaultfs ls STORE[:PATH]`: list a directory of a vault without mounting it."""

import argparse
import stat
import time
from typing import TYPE_CHECKING

from vaultfs.cli import vaultpaths
from vaultfs.cli.output import Output

if TYPE_CHECKING:
    from vaultfs.vault.inode import Inode

SUMMARY = "List a directory of a vault without mounting it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `ls`."""
    vaultpaths.add_arguments(parser)
    parser.add_argument("-l", "--long", action="store_true", help="show mode, links, owner, group, size and time")
    parser.add_argument("-0", "--null", action="store_true", help="names as they are, each followed by a zero byte")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, out: Output) -> None:
    """List the entries of a directory, or the one entry that is none."""
    with vaultpaths.reading(args, out) as (inline, inode, path):
        if stat.S_ISDIR(inode.mode):
            names = sorted(name for name, _ in inline.list_directory(inode.id))
            found = [(name, inline.lookup(inode.id, name)) for name in names]
        else:
            found = [(path.rpartition(b"/")[2], inode)]
        _show(found, args, out)


def _show(found: list[tuple[bytes, "Inode"]], args: argparse.Namespace, out: Output) -> None:
    if args.json:
        out.json([members(name, each) for name, each in found])
    elif args.null:
        for name, _ in found:
            out.stream().write(name + b"\0")
    else:
        for name, each in found:
            text = vaultpaths.shown_name(name)
            out.result(f"{described(each)} {text}{_arrow(each)}" if args.long else text)


def described(inode: "Inode") -> str:
    """Everything but the name, as `ls -l` has it, in columns."""
    size = f"{inode.rdev >> 8 & 0xFFF}, {inode.rdev & 0xFF}" if inode.rdev else str(inode.size)
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(inode.mtime // 10**9))
    return f"{stat.filemode(inode.mode)} {inode.nlink:>3} {inode.uid:>5} {inode.gid:>5} {size:>12} {when}"


def _arrow(inode: "Inode") -> str:
    return f" -> {vaultpaths.shown_name(inode.target)}" if stat.S_ISLNK(inode.mode) else ""


def members(name: bytes, inode: "Inode") -> dict[str, object]:
    """One entry as JSON; bytes that are no UTF-8 become lone surrogates (PEP 383)."""
    entry: dict[str, object] = {
        "name": name.decode("utf-8", "surrogateescape"),
        "id": inode.id,
        "mode": inode.mode,
        "type": stat.filemode(inode.mode)[0],
        "nlink": inode.nlink,
        "uid": inode.uid,
        "gid": inode.gid,
        "size": inode.size,
        "atime_ns": inode.atime,
        "mtime_ns": inode.mtime,
        "ctime_ns": inode.ctime,
    }
    if stat.S_ISLNK(inode.mode):
        entry["target"] = inode.target.decode("utf-8", "surrogateescape")
    if inode.xattrs:
        entry["xattrs"] = sorted(xattr.decode("utf-8", "surrogateescape") for xattr in inode.xattrs)
    return entry
