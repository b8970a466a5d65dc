"""What single operations cost in Python calls is kept in a table, and does not grow unseen."""

import json
from pathlib import Path

from _bench.counting import Calls
from _bench.serving import KEYS
from _bench.steps import on_core

from tests.support.mounting import REPOSITORY
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault

KEPT = json.loads((REPOSITORY / "scripts/_bench/costs.json").read_text())
# Versions of Python differ in what they count as a call, and a checkpoint may come in one batch or in the next.
TOLERANCE = 1.15


def test_no_operation_takes_more_calls_than_the_table_says(tmp_path: Path) -> None:
    """If it has to: `scripts/microbench --keep`, and the commit says why."""
    counted: dict[str, float] = {}
    with DirectoryStore(tmp_path, write=True) as store:
        Vault.create(store, KEYS)
        vault = Vault.open(store, KEYS)
        calls = Calls(tmp_path / "unused")
        for batch in on_core(Inline(vault)):
            batch.prepare()
            counted[batch.name] = calls.during(batch.run) / batch.count
        vault.close()
    assert counted.keys() == KEPT.keys()
    kept = {name: row["core calls"] for name, row in KEPT.items()}
    assert {name: count for name, count in counted.items() if count > kept[name] * TOLERANCE} == {}
