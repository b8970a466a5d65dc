"""`vaultfs sync-ready STORE`: have everything written that a copy of the store needs, and say when that is so."""

import argparse
import errno

from vaultfs.cli import opening
from vaultfs.cli.output import Output
from vaultfs.errors import LockedElsewhere, VaultfsError

SUMMARY = "Make a store whole in itself, so that it can be synced or copied while it is mounted."

_SAFE = "It is safe to sync or copy the store now"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `sync-ready`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")


def run(args: argparse.Namespace, out: Output) -> None:
    """Commit what a mounted vault holds back; of a closed one, see that it was closed cleanly."""
    from vaultfs.mount.mounttable import mount_of_store
    from vaultfs.store.journalfolder import journals_in
    from vaultfs.store.lock import holder

    path = opening.store_path(args.store)
    opening.load_header(path, out)
    mount = mount_of_store(path)
    if mount is not None and not mount.read_only:
        with out.working("Writing what is left"):
            _settle(mount.path)
        out.say(f"{_SAFE}, until something is changed in {mount.path}.")
        return
    who = holder(path)
    if who is not None and who.mode == "write":
        raise LockedElsewhere(f"The vault is open by {who}, who has to do this; no mount of it can be seen from here.")
    if journals_in(path):
        raise VaultfsError(
            f"The vault in {path} was not closed cleanly, so its last changes are only in its journal; "
            "nothing is lost: mount it once and close it, then sync or copy it."
        )
    out.say(f"{_SAFE}.")


def _settle(mountpoint: str) -> None:
    from vaultfs.mount.asking import settle

    try:
        settle(mountpoint)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise VaultfsError(
                f"Programs keep writing to {mountpoint}, so its store does not come to rest; "
                "try again when they are done."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise VaultfsError(
                f"Only somebody who may write to {mountpoint} can have its store made ready; nothing was changed."
            ) from error
        raise VaultfsError(
            f"The vault on {mountpoint} could not write what is left ({error.strerror}); do not sync it now: "
            "unmount it and look at what `vaultfs check` says."
        ) from error
