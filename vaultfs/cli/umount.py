"""`vaultfs umount MOUNTPOINT`: close a vault, and return when everything is written."""

import argparse
import os

from vaultfs.cli.output import Output

SUMMARY = "Close a mounted vault."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `umount`."""
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="the folder in which the vault appears")
    parser.add_argument(
        "--lazy", action="store_true", help="take it out of sight at once, even if it is in use, and do not wait"
    )
    parser.add_argument(
        "--purge-thumbnails",
        action="store_true",
        help="delete the plaintext thumbnails that file managers have kept of the vault's files",
    )


def run(args: argparse.Namespace, out: Output) -> None:
    """Unmount, and wait for the end of the process that served the vault."""
    from vaultfs.mount.unmounting import absolute, unmount

    mountpoint = absolute(args.mountpoint)
    os.chdir("/")  # this process may stand in the vault, and would be in the way itself
    with out.working("Writing what is left"):
        unmount(mountpoint, lazy=args.lazy)
    lazily = "out of sight, and closed once nobody uses it, which `vaultfs info STORE` tells"
    out.say(f"{args.mountpoint} is {lazily if args.lazy else 'closed'}.")
    if args.purge_thumbnails:
        from vaultfs.cli.thumbnails import purge

        out.say(f"Thumbnails of its files that were deleted: {purge(mountpoint)}.")
