"""The repair part of `vaultfs check`: show the plan, ask, carry it out."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vaultfs.cli import opening, vaultpaths
from vaultfs.cli.output import Output
from vaultfs.cli.progress import ProgressLine
from vaultfs.errors import Interrupted

if TYPE_CHECKING:
    from vaultfs.check.findings import Finding
    from vaultfs.check.repair import Step
    from vaultfs.keys.header import Unlocked
    from vaultfs.keys.headerfile import LoadedHeader


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
    """Do it, with the vault locked against others. Raises Interrupted if the user does not want it."""
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.store.lock import VaultLock
    from vaultfs.vault.inline import Inline

    path, unlocked, journal_dir = place
    if ask and not out.confirm(f"{len(steps)} repairs; what they take out goes to the folder quarantine in the store."):
        raise Interrupted("Nothing was changed.")
    with (
        VaultLock.acquire(path, unlocked.header.vault_id, write=True),
        DirectoryStore(path, write=True) as store,
    ):
        for step in steps:
            if step.before is not None:
                step.before(store)
    if any(step.vault is not None for step in steps):
        with opening.opened(path, unlocked, opening.Choices(journal_dir=journal_dir), out) as vault:
            try:
                inline = Inline(vault)
                with ProgressLine(out, "Repair", "steps") as line:
                    for done, step in enumerate(steps):
                        line.update(done, len(steps))
                        if step.vault is not None:
                            step.vault(inline)
                            vault.checkpoint()
            finally:
                vault.close()
    with (
        VaultLock.acquire(path, unlocked.header.vault_id, write=True),
        DirectoryStore(path, write=True) as store,
    ):
        for step in steps:
            if step.after is not None:
                step.after(store)
