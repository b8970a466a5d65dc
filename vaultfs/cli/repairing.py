"""The repair part of `vaultfs check`: show the plan, ask, carry it out."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vaultfs.cli import opening, vaultpaths
from vaultfs.cli.interrupts import BetweenChanges
from vaultfs.cli.output import Output
from vaultfs.cli.progress import ProgressLine
from vaultfs.errors import Interrupted

if TYPE_CHECKING:
    from vaultfs.check.findings import Finding
    from vaultfs.check.repair import Step
    from vaultfs.keys.header import Unlocked
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.store.api import Store


class Place(NamedTuple):
    """The vault to mend: its store, its keys, where its journals are if that is not the store."""

    path: Path
    unlocked: "Unlocked"
    journal_dir: Path | None


@contextlib.contextmanager
def planned_repair(
    place: Place, loaded: "LoadedHeader", findings: "list[Finding]", out: Output, *, zeros: bool, missing_too: bool
) -> Iterator["list[Step]"]:
    """What can be done, printed step by step, and what cannot; the steps read from what is open meanwhile."""
    from vaultfs.check.repair import Repair

    with vaultpaths.committed(*place) as tree:
        tree.open()
        repair = Repair(tree, findings, zeros=zeros, missing_too=missing_too)
        steps = [*_header_steps(loaded), *repair.plan()]
        for step in steps:
            out.result(f"repair: {step.text}")
        for finding in repair.unmended:
            out.result(f"left as it is: {finding}")
        yield steps


def _header_steps(loaded: "LoadedHeader") -> "list[Step]":
    from vaultfs.check.repair import Step
    from vaultfs.keys.headerfile import save
    from vaultfs.store.api import Store

    def write(store: Store) -> None:
        save(store, loaded.raw)

    return [Step("vaultfs.json and its backup: write both anew", before=write)] if loaded.notes else []


def carry_out(place: Place, steps: "list[Step]", out: Output, *, ask: bool) -> None:
    """Do it, with the vault locked against others, and stop between two steps at most.

    Raises Interrupted if the user does not want it.
    """
    if ask and not out.confirm(f"{len(steps)} repairs; what they take out goes to the folder quarantine in the store."):
        raise Interrupted("Nothing was changed.")
    with BetweenChanges() as interrupts:
        _in_store(place, [step.before for step in steps if step.before is not None], interrupts)
        if any(step.vault is not None for step in steps):
            _in_vault(place, steps, interrupts, out)
        _in_store(place, [step.after for step in steps if step.after is not None], interrupts)
        interrupts.check()


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


def _in_vault(place: Place, steps: "list[Step]", interrupts: BetweenChanges, out: Output) -> None:
    from vaultfs.vault.inline import Inline

    choices = opening.Choices(journal_dir=place.journal_dir)
    with opening.opened(place.path, place.unlocked, choices, out) as vault:
        try:
            inline = Inline(vault)
            with ProgressLine(out, "Repair", "steps") as line:
                for done, step in enumerate(steps):
                    if not step.joined:
                        vault.checkpoint()
                        interrupts.check()
                    line.update(done, len(steps))
                    if step.vault is not None:
                        step.vault(inline)
                vault.checkpoint()
        finally:
            vault.close()
