"""`vaultfs key try STORE < CANDIDATES`: for owners with half-remembered passwords; each try has its full cost."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from vaultfs.cli import opening, unlocking
from vaultfs.cli.output import Output
from vaultfs.cli.progress import time_text
from vaultfs.errors import EmptyPassword, WrongPassword

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked

SUMMARY = "Try passwords from standard input, one per line, and say which line opens the vault."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key try`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")


def run(args: argparse.Namespace, out: Output) -> None:
    """Try them in order until one opens; nothing is changed, counted or locked. The password is not printed."""
    loaded = opening.load_header(opening.store_path(args.store), out)
    unlocking.keep_from_others()
    candidates = _candidates()
    started, tried = time.monotonic(), 0
    for tried, (line, password) in enumerate(candidates):
        with out.working(_progress(tried, len(candidates), time.monotonic() - started)):
            unlocked = _opened(loaded.raw, password)
        if unlocked is not None:
            slot = unlocked.slot
            out.result(f"Line {line} opens the vault (key {slot.label or slot.type}, id {slot.id.hex()}).")
            return
    each = (time.monotonic() - started) / (tried + 1)
    raise WrongPassword(f"None of the {len(candidates)} passwords opens the vault; each took {each:.1f} s.")


def _candidates() -> list[tuple[int, bytes]]:
    """(line number, password as the KDF sees it) of every line that is not empty, each password once."""
    from vaultfs.keys.password import normalise

    found: dict[bytes, int] = {}
    for number, line in enumerate(sys.stdin.buffer, 1):
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
        if text:
            found.setdefault(normalise(text), number)
    if not found:
        raise EmptyPassword("No password was given on standard input.")
    return [(number, password) for password, number in found.items()]


def _opened(raw: bytes, password: bytes) -> "Unlocked | None":
    from vaultfs.keys.header import unlock

    try:
        return unlock(raw, password)
    except WrongPassword:
        return None


def _progress(tried: int, count: int, seconds: float) -> str:
    left = f", {time_text(seconds / tried * (count - tried))} left" if tried else ""
    return f"Tried {tried} of {count}{left}"
