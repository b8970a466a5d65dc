"""`vaultfs info STORE`: what a vault says of itself without its password."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from vaultfs.cli import kdfoptions, opening
from vaultfs.cli.output import Output, size_text

if TYPE_CHECKING:
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.store.api import Space
    from vaultfs.store.holder import Holder

SUMMARY = "Show what is known of a vault without its password."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `info`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, out: Output) -> None:
    """Show the header, the key slots, the room and who has the vault open. Changes nothing."""
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.lock import holder

    path = opening.store_path(args.store)
    loaded = opening.load_header(path, out)
    with DirectoryStore(path, write=False) as store:
        space = store.space()
    if args.json:
        out.json({"store": str(path), **_members(loaded, space, holder(path))})
    else:
        out.facts([("Store", str(path)), *_facts(loaded, space, holder(path))])


def _facts(loaded: "LoadedHeader", space: "Space", who: "Holder | None") -> list[tuple[str, str]]:
    header = loaded.header
    slots = [
        (f"Key slot {number}", f"{slot.label or slot.type}, made {slot.created}, {kdfoptions.described(slot.kdf)}")
        for number, slot in enumerate(header.slots, 1)
    ]
    copies = "see the warnings" if loaded.notes else "both copies whole and alike"
    return [
        ("Vault id", header.vault_id.hex()),
        ("Format", f"version {header.version}, features: {', '.join(header.features) or 'none'}"),
        ("Cipher", header.cipher),
        ("Chunk size", size_text(header.chunk_size)),
        ("Header", f"epoch {header.epoch}, {copies}"),
        *slots,
        ("Free space", f"{size_text(space.available)} of {size_text(space.total)}"),
        ("Open by", "nobody" if who is None else str(who)),
    ]


def _members(loaded: "LoadedHeader", space: "Space", who: "Holder | None") -> dict[str, object]:
    header = loaded.header
    return {
        "vault_id": header.vault_id.hex(),
        "version": header.version,
        "features": list(header.features),
        "cipher": header.cipher,
        "chunk_size": header.chunk_size,
        "epoch": header.epoch,
        "notes": list(loaded.notes),
        "slots": [
            {
                "id": slot.id.hex(),
                "type": slot.type,
                "label": slot.label,
                "created": slot.created,
                "kdf": {"name": type(slot.kdf).__name__.lower(), **asdict(slot.kdf)},
            }
            for slot in header.slots
        ],
        "space": {"total": space.total, "available": space.available},
        "holder": who and {"host": who.host, "pid": who.pid, "since": who.since, "mode": who.mode},
    }
