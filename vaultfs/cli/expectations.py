"""Refuses a vault that is not the one expected, before anything is written to it."""

import argparse
from typing import TYPE_CHECKING

from vaultfs.cli.output import printable
from vaultfs.errors import UsageError, WrongVault

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked

_SHORTEST_ID = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--expect-id` and `--expect-owner`."""
    parser.add_argument("--expect-id", metavar="HEX", help="go on only if the vault has this id, or one that begins so")
    parser.add_argument("--expect-owner", metavar="TEXT", help="go on only if this is the vault's owner")


def check_id(args: argparse.Namespace, vault_id: bytes) -> None:
    """WrongVault unless the vault's id is the expected one; UsageError for what is no id."""
    if args.expect_id is None:
        return
    expected = str(args.expect_id).lower()
    if len(expected) < _SHORTEST_ID or not set(expected) <= set("0123456789abcdef"):
        raise UsageError(f"The option --expect-id takes {_SHORTEST_ID} or more of the 32 hex digits of a vault's id.")
    if not vault_id.hex().startswith(expected):
        raise WrongVault(f"This is not the vault {expected}: its id is {vault_id.hex()}. Nothing was changed.")


def check_owner(args: argparse.Namespace, unlocked: "Unlocked") -> None:
    """WrongVault unless the opened vault's owner is the expected one."""
    if args.expect_owner is None:
        return
    from vaultfs.keys.identity import open_identity

    owner = open_identity(unlocked.keys, unlocked.header.identity).owner
    if owner != args.expect_owner:
        whose = f"it belongs to {printable(owner)}" if owner else "it has no owner"
        raise WrongVault(f"This is not the vault of {args.expect_owner}: {whose}. Nothing was changed.")
