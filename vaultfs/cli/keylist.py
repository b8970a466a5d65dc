"""`vaultfs key list STORE`: the keys of a vault, as anybody who has the store can see them."""

import argparse
from typing import TYPE_CHECKING

from vaultfs.cli import kdfoptions, opening
from vaultfs.cli.output import Output

if TYPE_CHECKING:
    from vaultfs.keys.slots import KeySlot

SUMMARY = "List the keys of a vault; needs none of them."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key list`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, out: Output) -> None:
    """Show number, id, type, label, date and costs of each."""
    loaded = opening.load_header(opening.store_path(args.store), out)
    if args.json:
        out.json([members(slot) for slot in loaded.header.slots])
        return
    rows = [
        (str(number), slot.id.hex(), slot.type, slot.label, slot.created, kdfoptions.described(slot.kdf))
        for number, slot in enumerate(loaded.header.slots, 1)
    ]
    out.table(("NO", "ID", "TYPE", "LABEL", "MADE", "COSTS"), rows)


def members(slot: "KeySlot") -> dict[str, object]:
    """A key slot for programs."""
    from dataclasses import asdict

    return {
        "id": slot.id.hex(),
        "type": slot.type,
        "label": slot.label,
        "created": slot.created,
        "kdf": {"name": type(slot.kdf).__name__.lower(), **asdict(slot.kdf)},
    }
