"""`vaultfs info STORE`: what a vault says of itself without its password."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import insight, kdfoptions, keylist, opening, passwords, upkeep
from vaultfs.cli.output import Output, size_text
from vaultfs.cli.vaultpaths import committed

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.store.api import Space
    from vaultfs.store.holder import Holder

SUMMARY = "Show what is known of a vault without its password."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `info`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--stats", action="store_true", help="with the password: show what is in it, and its health")
    parser.add_argument(
        "--anchor", action="store_true", help="with the password: print only the trust anchor for another machine"
    )
    passwords.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Show the header, the key slots, the room and who has the vault open. Changes nothing."""
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.lock import holder

    path = opening.store_path(args.store)
    loaded = opening.load_header(path, out)
    if loaded.rebuilt:
        out.warn(f"Both files of the header are lost; `vaultfs key rebuild {path}` writes them again.")
    if args.anchor:
        out.result(_anchor(path, opening.unlock(loaded, passwords.source(args), out)))
        return
    with DirectoryStore(path, write=False) as store:
        space = store.space()
    seen = insight.look(path, opening.unlock(loaded, passwords.source(args), out), out) if args.stats else None
    if args.json:
        stats = {} if seen is None else {"stats": insight.members(seen)}
        out.json({"store": str(path), **_members(loaded, space, holder(path)), **stats})
    else:
        stats_facts = [] if seen is None else insight.facts(seen)
        out.facts([("Store", str(path)), *_facts(loaded, space, holder(path)), *stats_facts])
        upkeep.remind_of_drill(path, loaded.header, out)
        if not args.stats:
            upkeep.remind_of_rekey(loaded.header, out)


def _anchor(path: Path, unlocked: "Unlocked") -> str:
    from vaultfs.cli.anchors import anchor_text
    from vaultfs.vault.memory import Seen

    with committed(path, unlocked) as tree:
        root, tag = tree.open()
    return anchor_text(unlocked.header.vault_id, Seen(root.generation, tag))


def _facts(loaded: "LoadedHeader", space: "Space", who: "Holder | None") -> list[tuple[str, str]]:
    header = loaded.header
    slots = [
        (f"Key slot {number}", f"{slot.label or slot.type}, made {slot.created}, {kdfoptions.described(slot.kdf)}")
        for number, slot in enumerate(header.slots, 1)
    ]
    copies = "see the warnings" if loaded.notes else "both copies whole and alike"
    drilled = upkeep.last_drill(header.vault_id)
    return [
        ("Vault id", header.vault_id.hex()),
        ("Format", f"version {header.version}, features: {', '.join(header.features) or 'none'}"),
        ("Cipher", header.cipher),
        ("Chunk size", size_text(header.chunk_size)),
        ("Header", f"epoch {header.epoch}, {copies}"),
        *slots,
        ("Last drill", "none known on this machine" if drilled is None else f"{drilled:%Y-%m-%d}"),
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
        "slots": [keylist.members(slot) for slot in header.slots],
        "space": {"total": space.total, "available": space.available},
        "holder": who and {"host": who.host, "pid": who.pid, "since": who.since, "mode": who.mode},
    }
