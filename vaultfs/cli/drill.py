"""`vaultfs drill STORE`: see that you still know the password, and that what it opens can be read back."""

import argparse
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import opening, passwords, unlocking, upkeep
from vaultfs.cli.output import Output, counted, size_text
from vaultfs.errors import LockedElsewhere, UsageError

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked
    from vaultfs.vault.inline import Inline
    from vaultfs.vault.inode import Inode

SUMMARY = "Try the password, and read back a few files chosen at random; changes nothing."

_PIECE = 1 << 20
_WALKS_PER_FILE = 20
_LARGEST_READ = 256 << 20  # bytes of one file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `drill`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    passwords.add_arguments(parser)
    parser.add_argument("--also-recovery", action="store_true", help="ask for the recovery key as well")
    parser.add_argument("--files", metavar="N", type=int, default=5, help="how many files to read (default: 5)")


def run(args: argparse.Namespace, out: Output) -> None:
    """Open, read, and note the date. Raises what opening raises, and Damaged for a file that does not verify."""
    if not 0 <= args.files <= 1000:
        raise UsageError("The option --files takes a number from 0 to 1000.")
    path = opening.store_path(args.store)
    loaded = opening.load_header(path, out)
    unlocked = unlocking.open_header(loaded.raw, passwords.source(args), out).unlocked
    out.say("The password is right." if unlocked.slot.type == "password" else "The key is right.")
    if args.also_recovery:
        unlocking.open_header(loaded.raw, passwords.PasswordSource(recovery=True), out)
        out.say("The recovery key is right.")
    if args.files:
        _read_back(path, unlocked, args.files, out)
    upkeep.note_drill(unlocked.header.vault_id)


def _read_back(path: Path, unlocked: "Unlocked", count: int, out: Output) -> None:
    from vaultfs.vault.inline import Inline

    try:
        with opening.opened(path, unlocked, opening.Choices(read_only=True), out) as vault:
            try:
                files, size = _sample(Inline(vault), count, out)
            finally:
                vault.close()
    except LockedElsewhere as error:
        out.warn(f"{error} No files were read back; that needs the vault to be unmounted.")
        return
    read = f"Read back and verified {counted(files, 'file')}, {size_text(size)}."
    out.say(read if files else "The vault holds no files yet.")


def _sample(inline: "Inline", count: int, out: Output) -> tuple[int, int]:
    """Read up to `count` different files; returns (how many, bytes read)."""
    found: dict[int, int] = {}
    for _ in range(count * _WALKS_PER_FILE):
        if len(found) == count:
            break
        picked = _random_file(inline)
        if picked is not None and picked.id not in found:
            with out.working(f"Reading file {len(found) + 1} of {count}"):
                found[picked.id] = _read(inline, picked)
    return len(found), sum(found.values())


def _random_file(inline: "Inline") -> "Inode | None":
    """A regular file, by a random way down from the top; None if the way ends elsewhere."""
    from vaultfs.crypto.aead import random_bytes
    from vaultfs.format.constants import ROOT_ID

    place = ROOT_ID
    while entries := inline.list_directory(place):
        name, _ = entries[int.from_bytes(random_bytes(4)) % len(entries)]
        inode = inline.lookup(place, name)
        if stat.S_ISREG(inode.mode):
            return inode
        if not stat.S_ISDIR(inode.mode):
            return None
        place = inode.id
    return None


def _read(inline: "Inline", inode: "Inode") -> int:
    size = min(inode.size, _LARGEST_READ)
    for offset in range(0, size, _PIECE):
        inline.read(inode.id, offset, min(_PIECE, size - offset))
    return size
