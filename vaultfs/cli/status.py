"""`vaultfs status`: which vaults are mounted."""

import argparse

from vaultfs.cli.output import Output

SUMMARY = "List the mounted vaults."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `status`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, out: Output) -> None:
    """List them; a vault whose process died without unmounting is `dead`."""
    from vaultfs.mount.mounttable import mounts
    from vaultfs.mount.unmounting import is_stale

    rows = [
        {
            "mountpoint": mount.path,
            "store": mount.store or mount.source,
            "state": "dead" if is_stale(mount.path) else "read-only" if mount.read_only else "writable",
        }
        for mount in mounts()
    ]
    if args.json:
        out.json(rows)
    elif rows:
        out.table(("MOUNTPOINT", "STORE", "STATE"), [tuple(row.values()) for row in rows])
    else:
        out.say("No vault is mounted.")
