"""`vaultfs key rebuild STORE`: write lost, damaged or outdated header files again, from a copy in the store itself."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import keychanges, opening
from vaultfs.cli.output import Output
from vaultfs.errors import HeaderDamaged, StoreUnusable, WrongVault

if TYPE_CHECKING:
    from vaultfs.keys.headerfile import LoadedHeader

SUMMARY = "Write a lost or damaged vaultfs.json again, from the copies in the vault's roots."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `key rebuild`."""
    keychanges.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """See that the copy is authentic and not of an older vault, then write every copy of it."""
    loaded = _loaded(args, out)
    if not loaded.notes and not loaded.rebuilt:
        out.say("The header is whole and both files are alike; there is nothing to rebuild.")
        return
    opened = keychanges.open_keys(args, out, loaded=loaded)
    keychanges.put_in_force(opened, opened.unlocked.header, out)
    out.say("The header is whole again, in both files.")


def _loaded(args: argparse.Namespace, out: Output) -> "LoadedHeader":
    """The header files', unless the roots have a newer one, or the files are another vault's."""
    path = opening.store_path(args.store)
    try:
        loaded = opening.load_header(path, out)
        newer = _in_roots(path)
        if newer is None or newer.header.epoch <= loaded.header.epoch:
            return loaded
        out.warn(f"The roots hold a newer header (epoch {newer.header.epoch}, not {loaded.header.epoch}); it is used.")
        return newer
    except WrongVault as error:
        out.warn(str(error))
        found = _in_roots(path)
        assert found is not None  # or nothing would be known of another vault
        return found
    except StoreUnusable as error:
        raise StoreUnusable(f"{error} The roots hold no copy of it: nothing is left to rebuild it from.") from None


def _in_roots(path: Path) -> "LoadedHeader | None":
    from vaultfs.keys.headerfile import load_from_roots
    from vaultfs.store.directory import DirectoryStore

    with DirectoryStore(path, write=False) as store:
        try:
            return load_from_roots(store)
        except HeaderDamaged:
            return None
