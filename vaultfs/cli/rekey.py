"""`vaultfs rekey STORE`: a new master key for a vault, so that an old header with an old password opens it no longer.

The header comes first: new slots for the new master key, which has the old one wrapped in it. Then everything in the
store goes over to the new one, by the process that has the vault mounted, or here. When nothing is left, the header
gives the old one up. What interrupts it leaves a vault that opens, and the same command goes on.
"""

import argparse
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import carryover, kdfoptions, keychanges, opening, passwords, recoverypage, vaultpaths
from vaultfs.cli.interrupts import BetweenChanges
from vaultfs.cli.keychanges import OpenedKeys
from vaultfs.cli.output import Output
from vaultfs.cli.progress import ProgressLine
from vaultfs.errors import Damaged, Interrupted, LockedElsewhere, UsageError, VaultfsError
from vaultfs.format.layout import QUARANTINE_FOLDER

if TYPE_CHECKING:
    from vaultfs.mount.mounttable import Mount

SUMMARY = "Give a vault a new master key; an old header with an old password opens it no longer."

_LIMITS = (
    "Copies of the store made before still open with the old key. Who has such a copy and the old key also reads "
    "what is changed later inside the same files, but no new file and no new name: contents are not encrypted anew."
)
_POLL = 0.25  # seconds between looks at how far a mounted vault is


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `rekey`."""
    keychanges.add_arguments(parser)
    carryover.add_arguments(parser)
    recoverypage.add_arguments(parser)
    kdfoptions.add_arguments(parser)
    vaultpaths.add_journal_dir(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument(
        "--drop-kept-journals", action="store_true",
        help="go on although journals in the store's quarantine folder will open no more",
    )  # fmt: skip
    parser.epilog = (
        "It works while the vault is mounted or not. If it is interrupted, the vault opens as ever, and the same "
        f"command goes on where it was. {_LIMITS} To shut that out too, copy everything into a new vault."
    )


def run(args: argparse.Namespace, out: Output) -> None:
    """Begin a change of the master key, or go on with one, and see it through."""
    path = opening.store_path(args.store)
    passwords.source(args)
    recoverypage.check_arguments(args)
    kdfoptions.chosen(args)
    loaded = opening.load_header(path, out)
    mount = _mount(path)
    if not loaded.header.previous:
        carryover.refuse_silent_loss(args, loaded.header)
        _refuse_silent_loss(args, path, out)
    opened = keychanges.open_keys(args, out, loaded=loaded)
    if not opened.unlocked.header.previous:
        opened = _begin(args, out, opened)
    try:
        if mount is not None:
            _through_the_mount(opened, mount.path, out)
        else:
            _here(args, opened, out)
    except BaseException:
        out.warn("The change is not finished. The vault opens as ever; run `vaultfs rekey` again to go on with it.")
        raise
    out.say("The vault has a new master key; old headers and the passwords for them open it no longer.")
    out.note(_LIMITS)


def _refuse_silent_loss(args: argparse.Namespace, path: Path, out: Output) -> None:
    """Tell of journals that were put away; UsageError if there is nobody to ask and no option says to go on."""
    kept = _kept_journals(path)
    if not kept:
        return
    what = (
        f"{len(kept)} journals in {QUARANTINE_FOLDER} ({kept[0]} is one) will open no more, and may have changes that "
        "nothing else has; `vaultfs export --salvage` gets those out"
    )
    if not args.drop_kept_journals and (args.yes or not os.isatty(0)):
        raise UsageError(f"{what}: move them away then, or give --drop-kept-journals to go on.")
    out.warn(f"{what}.")


def _kept_journals(path: Path) -> list[str]:
    from vaultfs.format.layout import kept_journal_number

    try:
        names = os.listdir(path / QUARANTINE_FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if kept_journal_number(name) is not None)


def _mount(path: Path) -> "Mount | None":
    """Where the vault is mounted, None if it is closed; whoever else has it open is in the way (LockedElsewhere)."""
    from vaultfs.mount.mounttable import mount_of_store
    from vaultfs.mount.rekeying import can_rekey

    mount = mount_of_store(path)
    if mount is None or mount.read_only:
        opening.refuse_if_open(path, write=True)
        return None
    if not can_rekey(mount.path):
        raise LockedElsewhere(
            f"The vault is mounted on {mount.path} by a vaultfs that cannot do this, or by another user; "
            "unmount it first."
        )
    return mount


def _begin(args: argparse.Namespace, out: Output, opened: OpenedKeys) -> OpenedKeys:
    """Put a header with a new master key in force, the one before in it."""
    from vaultfs.keys import rekey

    if os.isatty(0) and not args.yes:
        out.note(_LIMITS)
        if not out.confirm("Shall the vault have a new master key?"):
            raise Interrupted("Nothing was changed.")
    begun = rekey.begin(opened.unlocked)
    slots = carryover.slots_for(args, out, opened, begun)
    begun = begun._replace(header=replace(begun.header, slots=slots))
    changed = OpenedKeys(opened.path, opened.loaded, begun, opened.secret)
    keychanges.replace_header(changed, begun.header, out)
    return changed


def _here(args: argparse.Namespace, opened: OpenedKeys, out: Output) -> None:
    from vaultfs.check.rekeying import rekey_inline

    choices = opening.Choices(accept_rollback=args.accept_rollback, journal_dir=args.journal_dir)
    with opening.opened(opened.path, opened.unlocked, choices, out) as vault, BetweenChanges() as interrupts:
        try:
            with _Phases(out) as phases:
                rekey_inline(vault, phases.update, interrupts.check)
            _finish(opened, out)
        except Damaged as error:
            raise _unreadable(error) from error
        finally:
            vault.close()


def _through_the_mount(opened: OpenedKeys, mountpoint: str, out: Output) -> None:
    from vaultfs.mount.rekeying import progress_of, rekey

    asking = _Asking(lambda: rekey(mountpoint, opened.unlocked.master))
    with _Phases(out) as phases:
        while not asking.wait(_POLL):
            phases.update(*progress_of(mountpoint))
    if asking.error is not None:
        raise VaultfsError(
            f"The vault on {mountpoint} could not go over to its new master key ({asking.error.strerror}); "
            "its log says why, and `vaultfs check` what is damaged."
        ) from asking.error
    _refuse_unless_changed(opened)
    _finish(opened, out)
    try:
        rekey(mountpoint, opened.unlocked.master)
    except OSError:
        out.note("The roots take the last header over at the next checkpoint, or when the vault is unmounted.")


def _finish(opened: OpenedKeys, out: Output) -> None:
    """Let go of the old master key, in the header that is in force by now."""
    from vaultfs.keys.header import keys_of
    from vaultfs.keys.headerfile import load
    from vaultfs.keys.rekey import finish
    from vaultfs.store.directory import DirectoryStore

    with DirectoryStore(opened.path, write=False) as store:
        loaded = load(store)
    keys_of(loaded.raw, opened.unlocked.master)
    now = OpenedKeys(opened.path, loaded, opened.unlocked, opened.secret)
    keychanges.replace_header(now, finish(loaded.header), out)


def _refuse_unless_changed(opened: OpenedKeys) -> None:
    """See for ourselves that the root opens with the new master key alone, before the old one is given up."""
    from vaultfs.keys.hierarchy import VaultKeys

    unlocked = opened.unlocked
    alone = VaultKeys.from_master(unlocked.header.vault_id, unlocked.master)
    with vaultpaths.committed(opened.path, unlocked._replace(keys=alone)) as tree:
        tree.open()


def _unreadable(error: Damaged) -> Damaged:
    return Damaged(f"{error}; see `vaultfs check --repair`, then run this again")


class _Asking:
    """A request to a mounted vault that takes long, made in a thread, so that Ctrl-C is heard meanwhile."""

    def __init__(self, request: Callable[[], None]) -> None:
        self._request = request
        self._ended = threading.Event()
        self.error: OSError | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._request()
        except OSError as error:
            self.error = error
        finally:
            self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after so long at most."""
        return self._ended.wait(seconds)


class _Phases:
    """A line of progress for each thing that is done in turn; use as a context."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._what = ""
        self._line: ProgressLine | None = None

    def update(self, what: str, done: int, total: int) -> None:
        """Show how far things are."""
        if not what:
            return
        if what != self._what or self._line is None:
            self._what = what
            self._line = ProgressLine(self._out, what, _UNITS.get(what, "steps"))
        self._line.update(done, total)

    def __enter__(self) -> "_Phases":
        return self

    def __exit__(self, *_: object) -> None:
        self._out.live("")


_UNITS = {"Wrapping keys": "entries", "Sealing headers": "folders"}
