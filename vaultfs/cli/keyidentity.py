"""`vaultfs key identity STORE`: show or change a vault's label and owner, which only who opens it can read."""

import argparse

from vaultfs.cli import keychanges
from vaultfs.cli.output import Output

SUMMARY = "Show or change the label and the owner of a vault; both are kept encrypted."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key identity`."""
    keychanges.add_arguments(parser)
    parser.add_argument("--label", metavar="TEXT", help="the vault's new label")
    parser.add_argument("--owner", metavar="TEXT", help="the vault's new owner: a name, or a telephone number")


def run(args: argparse.Namespace, out: Output) -> None:
    """Open the vault; change what is given and show what is so."""
    from vaultfs.keys.identity import Identity, open_identity
    from vaultfs.keys.slotchanges import change_identity

    opened = keychanges.open_keys(args, out)
    unlocked = opened.unlocked
    identity = open_identity(unlocked.keys, unlocked.header.identity)
    if args.label is not None or args.owner is not None:
        identity = Identity(
            identity.label if args.label is None else args.label, identity.owner if args.owner is None else args.owner
        )
        keychanges.put_in_force(opened, change_identity(unlocked, identity), out)
    out.facts(
        [
            ("Vault id", unlocked.header.vault_id.hex()),
            ("Label", identity.label or "-"),
            ("Owner", identity.owner or "-"),
        ]
    )
