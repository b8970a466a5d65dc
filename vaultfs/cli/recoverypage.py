"""Shows a recovery key or shares once: pages to print, QR codes, and a part typed again to see that it was kept."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vaultfs.cli import qrcodes
from vaultfs.cli.output import Output
from vaultfs.errors import KeyMistyped, UsageError

if TYPE_CHECKING:
    from vaultfs.keys.recovery import Share
    from vaultfs.keys.slots import KeySlot

_GROUPS_PER_ROW = 4
_CONFIRMED_GROUPS = 2
_TRIES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where a new recovery key or shares go, besides the terminal."""
    parser.add_argument(
        "--page", metavar="FILE", help="also write a page to print, as plain text; one for each share, numbered"
    )
    parser.add_argument("--qr", action="store_true", help="show it as a QR code too (needs the segno package)")
    parser.add_argument("--qr-png", metavar="FILE", help="write the QR code as a picture; numbered likewise")


def recovery_page(vault_id: bytes, slot: "KeySlot", groups: list[str]) -> str:
    """The page for a recovery key."""
    return "\n".join(
        (
            *_heading("RECOVERY KEY", vault_id, slot),
            *_rows(groups),
            "",
            "Whoever has this page and the store reads everything in the vault.",
            "Lock it away where fire, water and strangers do not come; not beside the store.",
            "It opens the vault when the password is forgotten, and lets a new one be set:",
            "",
            "    vaultfs passwd STORE --recovery-key",
            "",
            "Each group shows its own typing errors. Spaces and dashes do not matter.",
        )
    )


def share_page(vault_id: bytes, slot: "KeySlot", share: "Share", count: int) -> str:
    """The page for one of `count` shares."""
    needed = share.threshold
    return "\n".join(
        (
            *_heading(f"SHARE {share.number} OF {count} OF A RECOVERY KEY", vault_id, slot),
            *_rows(share.groups()),
            "",
            f"Any {needed} of the {count} shares together, and the store, open the vault; fewer tell nothing.",
            "Give each to another person, and let them know who has the others:",
            "",
            "    vaultfs passwd STORE --from-shares",
            "",
            "Each group shows its own typing errors. Spaces and dashes do not matter.",
        )
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse, before a key is made, what could not be shown. Raises UsageError."""
    if args.qr or args.qr_png is not None:
        qrcodes.require()


def hand_over(args: argparse.Namespace, out: Output, pages: list[tuple[str, list[str]]]) -> None:
    """Show each page, and write it where the options say. Raises UsageError, OSError before anything is in force."""
    for number, (page, groups) in enumerate(pages, 1):
        of_several = number if len(pages) > 1 else None
        text = "-".join(groups)
        if args.page is not None:
            _write_new(_numbered(args.page, of_several), (page + "\n").encode("utf-8"))
        if args.qr_png is not None:
            _write_new(_numbered(args.qr_png, of_several), qrcodes.picture(text))
        out.result(page)
        if args.qr:
            out.result(qrcodes.for_terminal(text))
        out.result("")


@contextlib.contextmanager
def valid_if_this_ends(out: Output, *, is_shown: bool) -> Iterator[None]:
    """Where a key that may have been shown is put in force: says so if that fails."""
    try:
        yield
    except BaseException:
        if is_shown:
            out.warn("The key shown above is not in force, unless `vaultfs key list` shows it: rely on it only then.")
        raise


def confirm(out: Output, groups: list[str], what: str) -> None:
    """On a terminal, have two groups typed again; KeyMistyped after the third failure."""
    if not os.isatty(0):
        return
    from vaultfs.crypto.aead import random_bytes

    first = random_bytes(1)[0] % len(groups)
    second = (first + 1 + random_bytes(1)[0] % (len(groups) - 1)) % len(groups)
    for place in sorted((first, second)):
        for remaining in reversed(range(_TRIES)):
            if out.ask(f"To see that you have it: group {place + 1} of {what}: ").replace(" ", "") == groups[place]:
                break
            if not remaining:
                raise KeyMistyped(f"Group {place + 1} was not typed as it was shown; no key was added.")
            out.warn("That is not the group shown. Try again.")


def _heading(title: str, vault_id: bytes, slot: "KeySlot") -> tuple[str, ...]:
    label = (f"Label      {slot.label}",) if slot.label else ()
    return (f"vaultfs: {title}", "", f"Vault id   {vault_id.hex()}", *label, f"Made       {slot.created[:10]}", "")


def _rows(groups: list[str]) -> list[str]:
    return [
        f"    {start + 1:>2}:  " + "  ".join(groups[start : start + _GROUPS_PER_ROW])
        for start in range(0, len(groups), _GROUPS_PER_ROW)
    ]


def _numbered(path: str, number: int | None) -> str:
    """`page.txt` as `page-2.txt`."""
    stem, extension = os.path.splitext(path)
    return path if number is None else f"{stem}-{number}{extension}"


def _write_new(path: str, data: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already; a key is not written over it.") from error
    with os.fdopen(fd, "wb") as file:
        file.write(data)
