"""`vaultfs key ACTION STORE`: the keys that open a vault, of which there may be several; each action is a module."""

import argparse
from importlib import import_module
from typing import cast

from vaultfs.cli.main import Command, common_options
from vaultfs.cli.output import Output

SUMMARY = "List, add, remove or change the keys that open a vault."
ACTIONS = ("list", "add", "remove", "change", "tune", "try", "rebuild", "identity")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    for name in ACTIONS:
        module = cast(Command, import_module(f"vaultfs.cli.key{name}"))
        action = actions.add_parser(
            name, help=module.SUMMARY, description=module.SUMMARY, parents=[common_options()], allow_abbrev=False
        )
        module.add_arguments(action)
        action.set_defaults(action=module)


def run(args: argparse.Namespace, out: Output) -> None:
    """Carry out the action."""
    action: Command = args.action
    action.run(args, out)
