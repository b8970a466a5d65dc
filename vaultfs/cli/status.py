"""`vaultfs status`: which vaults are mounted."""

import argparse
from typing import TYPE_CHECKING

from vaultfs.cli.output import Output

if TYPE_CHECKING:
    from vaultfs.mount.mounttable import Mount

SUMMARY = "List the mounted vaults."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `status`."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, out: Output) -> None:
    """List them, and why one that stopped writing did."""
    from vaultfs.mount.mounttable import mounts

    rows = [_row(mount) for mount in mounts()]
    if args.json:
        out.json(rows)
    elif rows:
        out.table(("MOUNTPOINT", "STORE", "STATE"), [(row["mountpoint"], row["store"], row["state"]) for row in rows])
        for row in rows:
            if "reason" in row:
                out.warn(f"{row['mountpoint']}: {row['reason']}.")
    else:
        out.say("No vault is mounted.")


def _row(mount: "Mount") -> dict[str, str]:
    """A vault whose process died without unmounting is `dead`; one that turned read-only by itself is `stopped`."""
    from vaultfs.mount.asking import why_stopped
    from vaultfs.mount.unmounting import is_stale

    row = {"mountpoint": mount.path, "store": mount.store or mount.source}
    if is_stale(mount.path):
        return {**row, "state": "dead"}
    if mount.read_only:
        return {**row, "state": "read-only"}
    reason = why_stopped(mount.path)
    return {**row, "state": "stopped", "reason": reason} if reason else {**row, "state": "writable"}
