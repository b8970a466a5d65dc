"""`vaultfs passwd STORE`: replace the password; instant at any size, as no content is encrypted anew."""

import argparse

from vaultfs.cli import kdfoptions, opening, passwords
from vaultfs.cli.output import Output

SUMMARY = "Change the password of a vault that nobody has open."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `passwd`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    passwords.add_arguments(parser)
    passwords.add_arguments(parser, new=True)
    kdfoptions.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Check the old password, get a new one and put it in force in both copies of the header."""
    from vaultfs.keys.header import unlock
    from vaultfs.keys.headerfile import change_password
    from vaultfs.keys.password import check_new, normalise
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.lock import VaultLock

    old_source, new_source = passwords.source(args), passwords.source(args, new=True)
    kdf = kdfoptions.chosen(args)
    path = opening.store_path(args.store)
    loaded = opening.load_header(path, out)
    with VaultLock.acquire(path, loaded.header.vault_id, write=True), DirectoryStore(path, write=True) as store:
        old = normalise(passwords.read_password(old_source, "Present password: "))
        with out.working("Unlocking"):
            unlock(loaded.raw, old)  # a wrong one is said before a new one is asked for
        new = normalise(passwords.read_new_password(new_source, out, check_new))
        with out.working("Changing the password"):
            change_password(store, old, new, kdf=kdf)
    out.say("The password is changed. Copies of the old header still open with the old password.")
