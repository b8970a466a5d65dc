"""Reminds a vault's owner of what keeps it whole: the drill, today's costs, a header that was lost, a conflict."""

import contextlib
import json
import os
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli.output import Output
from vaultfs.format.constants import ROOT_SLOTS
from vaultfs.format.layout import root_slot_path

if TYPE_CHECKING:
    from vaultfs.keys.header import Header, Unlocked
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.store.api import Store
    from vaultfs.vault.vault import Vault

_TIME = "%Y-%m-%dT%H:%M:%SZ"  # in UTC

LONG = timedelta(days=180)
"""After so long without a drill, it is mentioned."""


def note_drill(vault_id: bytes) -> None:
    """Remember, on this machine, that the keys were tried today. Raises OSError."""
    path = _drill_path(vault_id)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"drilled": datetime.now(UTC).strftime(_TIME)}) + "\n")
    os.replace(new, path)


def last_drill(vault_id: bytes) -> datetime | None:
    """When `vaultfs drill` last succeeded on this machine; None if that is not known. A broken file tells nothing."""
    try:
        return datetime.strptime(json.loads(_drill_path(vault_id).read_text())["drilled"], _TIME).replace(tzinfo=UTC)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def remind_of_drill(path: Path, header: "Header", out: Output) -> None:
    """Say so if neither a drill nor a new password is younger than half a year."""
    made = [datetime.fromisoformat(slot.created) for slot in header.slots]
    drilled = last_drill(header.vault_id)
    last = max(made if drilled is None else [drilled, *made])
    if (days := (datetime.now(UTC) - last).days) > LONG.days:
        out.note(
            f"It is {days} days since the password was last tried on purpose; "
            f"`vaultfs drill {shlex.quote(str(path))}` shows whether you still know it."
        )


def remind_of_costs(unlocked: "Unlocked", out: Output) -> None:
    """On a terminal, say so if a guess at the key that was used costs less than today's least."""
    from vaultfs.crypto.calibration import is_weak

    if os.isatty(2) and is_weak(unlocked.slot.kdf):
        out.note("A guess at this key costs less than it should today; `vaultfs key tune STORE` raises that.")


def remind_of_rekey(header: "Header", out: Output) -> None:
    """Say so if a change of the master key is not finished."""
    if header.previous:
        out.warn("A change of the master key was begun and is not finished; `vaultfs rekey STORE` finishes it.")


def warn_of_conflict(store: "Store", vault: "Vault", out: Output) -> None:
    """Say so if a sync client put a root beside the two that another machine wrote from an older one."""
    roots = {root_slot_path(slot) for slot in range(ROOT_SLOTS)}
    strange: list[str] = []
    with contextlib.suppress(OSError):
        strange += [name for name in store.names("") if name.startswith("root") and name not in roots]
    if not strange:
        return
    from vaultfs.check.conflicts import copied_from
    from vaultfs.store.api import read_file

    for name in strange:
        with contextlib.suppress(OSError):
            if not roots.isdisjoint(copied_from(name)) and vault.is_another_way(read_file(store, name)):
                out.warn(
                    f"Two machines changed the store at the same time, and what one of them changed is missing here: "
                    f"{name} is its root. Keep it: `vaultfs check` tells of it, and of the objects only it has."
                )


def offer_rebuild(path: Path, loaded: "LoadedHeader", unlocked: "Unlocked", out: Output) -> None:
    """If both header files are lost: on a terminal, offer to write them again; else say how.

    Raises RollbackRefused if the copy left is older than the vault has known, HeaderUnwritable.
    """
    if not loaded.rebuilt:
        return
    command = f"`vaultfs key rebuild {shlex.quote(str(path))}`"
    if not os.isatty(0) or not out.confirm("Both files of the header are lost. Shall they be written again?"):
        out.warn(f"Both files of the header are lost; {command} writes them again.")
        return
    from vaultfs.keys.headerfile import save
    from vaultfs.store.directory import DirectoryStore
    from vaultfs.vault.sealedepoch import refuse_older_header, sealed_epoch

    with DirectoryStore(path, write=True) as store:
        header = unlocked.header
        refuse_older_header(header.epoch, sealed_epoch(store, unlocked.keys, header.chunk_size))
        save(store, loaded.raw, roots_too=False)
    out.note("The header is whole again, in both files.")


def _drill_path(vault_id: bytes) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "vaultfs" / f"{vault_id.hex()}.drill"
