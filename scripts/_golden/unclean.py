"""Takes the picture of a store in use, as a power failure leaves it: unsynced chunks lost, the last record torn."""

import shutil
from pathlib import Path
from typing import Any

from _golden.builder import Builder, filler
from _golden.trees import CHUNK

_TORN_BYTES = 20


def leave_unclean(build: Builder, live: Path, target: Path) -> dict[str, Any]:
    """Copy a store whose changes are all synced, then add what the crash takes; return what recovery must find."""
    shutil.copytree(live, target)
    build.lose(build.ids[b"d/lost chunk"], 0, filler("never on the disk", CHUNK))
    build.lose(build.ids[b"d/lost growth"], CHUNK, filler("never on the disk either", CHUNK))
    entries = build.manifest()
    journal = max((live / "journal").iterdir())
    before = journal.read_bytes()
    build.file(b"torn")
    # The journal reached the disk, but for its end; the objects did not.
    stored = bytearray(journal.read_bytes())
    end = max(place for place, (old, new) in enumerate(zip(before, stored, strict=True)) if old != new) + 1
    stored[end - _TORN_BYTES : end] = bytes(_TORN_BYTES)
    (target / "journal" / journal.name).write_bytes(stored)
    return {"generation": build.vault.generation, "entries": entries}
