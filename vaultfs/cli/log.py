"""`vaultfs log STORE`: the vault's last generations, and what this machine knows of them."""

import argparse
import time

from vaultfs.cli import opening, passwords, vaultpaths
from vaultfs.cli.output import Output

SUMMARY = "Show the vault's last generations: each is one checkpoint."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `log`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    passwords.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, out: Output) -> None:
    """List the generations that the newest root remembers, newest first. Needs no lock."""
    from vaultfs.vault.memory import GenerationMemory

    path = opening.store_path(args.store)
    unlocked = opening.unlock(opening.load_header(path, out), passwords.source(args), out)
    with vaultpaths.committed(path, unlocked) as tree:
        root, tag = tree.open()
    seen = GenerationMemory.default(unlocked.header.vault_id).load()
    history = [(root.generation, tag), *reversed(root.history)]
    if args.json:
        out.json(
            {
                "time_ns": root.time,
                "clean": root.clean,
                "seen": seen and {"generation": seen.generation, "tag": seen.tag.hex()},
                "generations": [{"generation": number, "tag": each.hex()} for number, each in history],
            }
        )
        return
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(root.time // 10**9))
    state = "clean" if root.clean else "in use, or not ended cleanly"
    for number, each in history:
        marks = [f"checkpoint of {when}, {state}"] if number == root.generation else []
        if seen is not None and (seen.generation, seen.tag) == (number, each):
            marks.append("the newest this machine has seen")
        out.result(f"{number:>10}  {each.hex()}  {'; '.join(marks)}".rstrip())
