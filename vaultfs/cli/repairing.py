"""The repair part of `vaultfs check`: show the plan, ask, carry it out.

A plan is good for the root it was made for, and only where nothing but that root says what is in the vault: what waits
in a journal is committed before, and a vault that was changed after the check is refused.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vaultfs.cli import keychanges, opening, vaultpaths
from vaultfs.cli.interrupts import BetweenChanges
from vaultfs.cli.output import Output
from vaultfs.cli.progress import ProgressLine
from vaultfs.errors import Damaged, Interrupted, LockedElsewhere, NoSpace, PartlySynced

if TYPE_CHECKING:
    from vaultfs.check.committed import CommittedTree
    from vaultfs.check.findings import Finding
    from vaultfs.check.repairstep import Step
    from vaultfs.keys.header import Unlocked
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.store.api import Store
    from vaultfs.vault.vault import Vault


class Place(NamedTuple):
    """The vault to mend: its store, its keys, where its journals are if that is not the store."""

    path: Path
    unlocked: "Unlocked"
    journal_dir: Path | None


class Plan(NamedTuple):
    """What to do, the header's part of it if there is one, and the tag of the root it is for."""

    steps: "list[Step]"
    header: Callable[[], object] | None
    root: bytes

    @property
    def is_empty(self) -> bool:
        """Whether nothing can be done."""
        return not self.steps and self.header is None


def settle(place: Place, findings: "list[Finding]", out: Output, *, ask: bool, missing_too: bool) -> bool:
    """Have all committed that the next opening would commit; False if there is nothing.

    Raises PartlySynced while that may need what is not here, Interrupted if the user does not want it, and what opening
    does.
    """
    from vaultfs.check.repair import copy_root
    from vaultfs.format.layout import root_slot_path

    with vaultpaths.committed(*place) as tree:
        sealed = tree.open()
        missing = [root_slot_path(slot) for slot, state in enumerate(tree.slots()) if state.missing]
        if sealed.root.clean and sealed.root.epoch >= place.unlocked.header.epoch and not _has_orphans(tree):
            return False
    if not missing_too and any(map(_may_come, findings)):
        raise PartlySynced(
            "Changes wait in the vault's journal, and objects that they may need are not here: let the store finish "
            "syncing, then try again. If they are gone for good, --missing-too goes on without them."
        )
    for path in missing:
        out.result(f"repair: {path}: write it anew from the other root")
    if ask and not out.confirm("The vault was not closed the last time; what waits in it is committed first."):
        raise Interrupted("Nothing was changed.")
    # No vault is opened with one root alone.
    with BetweenChanges() as interrupts:
        _in_store(place, [partial(copy_root, path=path) for path in missing], interrupts)
        interrupts.check()
    with opening.opened(place.path, place.unlocked, opening.Choices(journal_dir=place.journal_dir), out) as vault:
        vault.close()
    return True


def _may_come(finding: "Finding") -> bool:
    """Whether something other than a root is missing or older, as while a store is synced."""
    from vaultfs.check.findings import UNSYNCED

    return finding.kind in UNSYNCED and not finding.stored.startswith("root.")


def _has_orphans(tree: "CommittedTree") -> bool:
    """Whether deleted files that were open wait to be purged by the next opening."""
    from vaultfs.format.constants import ORPHANS_ID

    try:
        return bool(tree.load(tree.top(ORPHANS_ID)))
    except Damaged:
        return False


@contextlib.contextmanager
def planned_repair(
    place: Place, loaded: "LoadedHeader", findings: "list[Finding]", out: Output, *, zeros: bool, missing_too: bool
) -> Iterator[Plan]:
    """What can be done, printed step by step, and what cannot; the steps read from what is open meanwhile."""
    from vaultfs.check.repair import Repair

    with vaultpaths.committed(*place) as tree:
        sealed = tree.open()
        repair = Repair(tree, findings, zeros=zeros, missing_too=missing_too)
        header = _header_step(place, loaded, out)
        steps = repair.plan()
        for step in steps:
            out.result(f"repair: {step.text}")
        for finding in repair.unmended:
            out.result(f"left as it is: {finding}")
        yield Plan(steps, header, sealed.tag)


def _header_step(place: Place, loaded: "LoadedHeader", out: Output) -> Callable[[], object] | None:
    """Write the header's copies anew, from the one that was opened, if that is the newest there is."""
    from vaultfs.keys.headerfile import is_newest
    from vaultfs.store.directory import DirectoryStore

    if not loaded.notes:
        return None
    with DirectoryStore(place.path, write=False) as store:
        newest = is_newest(store, loaded)
    if not newest:
        out.result("left as it is: another copy of the header is newer; `vaultfs key rebuild` puts it in force")
        return None
    out.result("repair: vaultfs.json and its backup: write both anew")
    opened = keychanges.OpenedKeys(place.path, loaded, place.unlocked, b"")
    return lambda: keychanges.replace_header(opened, loaded.header, out)


def carry_out(place: Place, plan: Plan, out: Output, *, ask: bool) -> None:
    """Do it, with the vault locked against others, and stop between two steps at most.

    Raises Interrupted if the user does not want it, LockedElsewhere if the vault was changed since it was planned.
    """
    steps = plan.steps
    size = len(steps) + (plan.header is not None)
    if ask and not out.confirm(f"{size} repairs; what they take out goes to the folder quarantine in the store."):
        raise Interrupted("Nothing was changed.")
    with BetweenChanges() as interrupts:
        if plan.header is not None:
            plan.header()
        before = [step.before for step in steps if step.before is not None]
        _in_store(place, [lambda store: _refuse_if_changed(store, place, plan), *before], interrupts)
        if any(step.vault is not None for step in steps):
            _in_vault(place, plan, interrupts, out)
        _in_store(place, [step.after for step in steps if step.after is not None], interrupts)
        interrupts.check()


def _refuse_if_changed(store: "Store", place: Place, plan: Plan) -> None:
    from vaultfs.check.committed import CommittedTree

    tree = CommittedTree(store, place.unlocked.keys, place.unlocked.header.chunk_size)
    try:
        sealed = tree.open()
    finally:
        tree.close()
    if sealed.tag != plan.root or not sealed.root.clean:
        raise LockedElsewhere("The vault was changed after it was checked, so the plan is not good for it; try again.")


def _in_store(place: Place, actions: "list[Callable[[Store], None]]", interrupts: BetweenChanges) -> None:
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.lock import VaultLock

    with (
        VaultLock.acquire(place.path, place.unlocked.header.vault_id, write=True),
        DirectoryStore(place.path, write=True) as store,
    ):
        for act in actions:
            interrupts.check()
            act(store)


def _in_vault(place: Place, plan: Plan, interrupts: BetweenChanges, out: Output) -> None:
    choices = opening.Choices(journal_dir=place.journal_dir)
    with opening.opened(place.path, place.unlocked, choices, out) as vault:
        try:
            _refuse_if_changed(vault.store, place, plan)
            _mend(vault, plan.steps, interrupts, out)
        except Exception:
            # To close it would commit what the step that failed had begun.
            vault.give_up("a repair could not go on")
            raise
        finally:
            vault.close()


def _mend(vault: "Vault", steps: "list[Step]", interrupts: BetweenChanges, out: Output) -> None:
    from vaultfs.vault.inline import Inline

    inline = Inline(vault)
    with ProgressLine(out, "Repair", "steps") as line:
        for done, step in enumerate(steps):
            if not step.joined:
                _commit(vault)
                interrupts.check()
            line.update(done, len(steps))
            if step.vault is not None:
                step.vault(inline)
        _commit(vault)


def _commit(vault: "Vault") -> None:
    if not vault.checkpoint():
        raise NoSpace("what was mended could not be written; try again when the store has room")
