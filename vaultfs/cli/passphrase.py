"""`vaultfs passphrase`: propose random words as a password."""

import argparse

from vaultfs.cli.output import Output
from vaultfs.errors import UsageError

SUMMARY = "Propose a password of random words."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `passphrase`."""
    parser.add_argument("--words", metavar="N", type=int, default=6, help="how many words (default: %(default)s)")


def run(args: argparse.Namespace, out: Output) -> None:
    """Print one, and on stderr what it is worth."""
    from vaultfs.keys.passphrase import FEWEST, MOST, make_passphrase, passphrase_bits

    if not FEWEST <= args.words <= MOST:
        raise UsageError(f"A passphrase has {FEWEST} to {MOST} words.")
    out.result(make_passphrase(args.words))
    bits = passphrase_bits(args.words)
    out.note(f"{args.words} of 2,048 words, drawn at random: one of 2^{bits}, so 2^{bits - 1} guesses on average.")
