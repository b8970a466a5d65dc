"""The benchmark runs every row on a directory, on nothing and on a vault, and its report computes what it says."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from _bench.flushes import flushes
from _bench.inputs import Inputs
from _bench.measuring import Measuring, Memory, Results
from _bench.report import Report
from _bench.rows import ROWS, Place, WrongData, _check_tree, creates, list_tree, rename_loop
from _bench.sizes import Sizes
from _bench.systems import Cryfs, Fuse, Gocryptfs, Least, Null, System, VaultFs

from tests.support.mounting import needs_fuse

TINY = Sizes(
    stream_mib=2,
    parallel_mib=1,
    tree_files=20,
    photos=5,
    random_reads=10,
    synced_writes=3,
    creates=5,
    transactions_full=2,
    transactions_wal=5,
    renames=2,
    appends=20,
)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    (tmp_path / "inputs").mkdir()
    return Inputs(tmp_path / "inputs", TINY)


def test_the_inputs_are_the_same_every_time_and_no_two_blocks_are(inputs: Inputs, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    again = Inputs(tmp_path / "again", TINY)
    assert again.manifest == inputs.manifest
    assert len(inputs.manifest) == TINY.tree_files
    assert again.block(3, 7) == inputs.block(3, 7)
    assert len({bytes(inputs.block(number, salt)[:64]) for number in range(256) for salt in range(10)}) == 2560


def test_wrong_data_does_not_pass(inputs: Inputs, tmp_path: Path) -> None:
    place = Place(tmp_path, True, inputs, TINY)
    _check_tree(place, inputs.tree)
    next(path for path in inputs.tree.rglob("*.c")).write_bytes(b"changed")
    with pytest.raises(WrongData):
        _check_tree(place, inputs.tree)
    _check_tree(Place(tmp_path, False, inputs, TINY), inputs.tree)


class MountedOnce(VaultFs):
    """A vault that stays mounted between the rows: every mount takes the cost of a password."""

    def create(self) -> None:
        super().create()
        super().mount()

    def mount(self) -> None:
        assert self.pid is not None

    def unmount(self) -> None:
        pass

    def close(self) -> None:
        super().unmount()


@needs_fuse
@pytest.mark.mount
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_row_runs(inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("_bench.measuring.drop_caches", lambda: None)  # the whole machine's, not the test's
    kinds = (System, Null, Least, MountedOnce)
    systems: Sequence[System] = [kind(tmp_path / kind.name) for kind in kinds]
    measuring = Measuring(systems, inputs, TINY, lambda _: None)
    try:
        measuring.prepare()
        measuring.round(ROWS, 0)
    finally:
        for system in systems:
            if isinstance(system, Fuse):
                system.close()
    results = measuring.results
    assert results.failures == {}
    assert {row.name for row in ROWS} <= results.seconds.keys()
    assert results.seconds["untar"].keys() == {"plain", "null", "least", "vaultfs"}
    assert results.seconds["sqlite-wal"].keys() == {"plain", "least", "vaultfs"}, "nothing keeps no database"
    assert all(seconds[0] > 0 for row in results.seconds.values() for seconds in row.values())


def test_a_failing_row_is_reported_and_the_others_go_on(inputs: Inputs, tmp_path: Path) -> None:
    measuring = Measuring([System(tmp_path / "plain")], inputs, TINY, lambda _: None)
    measuring.round([row for row in ROWS if row.run in (list_tree, creates)], 0)
    assert set(measuring.results.failures) == {"ls on plain"}, "nothing was filled in"
    assert "creates" in measuring.results.seconds


def test_the_report_compares_medians_with_the_best_peer_and_the_floor(tmp_path: Path) -> None:
    results = Results()
    for seconds in (0.1, 0.2, 0.9):
        results.add("untar", "vaultfs", seconds)
    results.add("untar", "gocryptfs", 0.8)
    results.add("untar", "cryfs", 0.4)
    results.add("untar", "null", 0.1)
    results.memory["vaultfs"] = Memory(30 << 20, 50 << 20, 0.0)
    kinds = (Null, VaultFs, Gocryptfs, Cryfs)
    report = Report(results, [kind(tmp_path / kind.name) for kind in kinds])
    assert report.against_best("untar") == pytest.approx(2.0)
    assert report.against_floor("untar") == pytest.approx(2.0)
    table = report.table().splitlines()
    assert table[1].split()[-6:] == ["100", "200", "800", "400", "2.00", "2.00"]
    report.write_json(tmp_path / "results.json", {"rounds": 3})
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["rows"]["untar"]["best_peer_over_vaultfs"] == pytest.approx(2.0)
    assert document["rows"]["untar"]["seconds"]["vaultfs"] == [0.1, 0.2, 0.9]


def test_the_report_tells_how_far_the_best_peer_is_from_the_least(tmp_path: Path) -> None:
    results = Results()
    results.add("untar", "least", 0.4)
    results.add("untar", "vaultfs", 0.5)
    results.add("untar", "gocryptfs", 0.2)
    results.memory["vaultfs"] = Memory(30 << 20, 50 << 20, 0.0)
    report = Report(results, [kind(tmp_path / kind.name) for kind in (Least, VaultFs, Gocryptfs)])
    table = report.table().splitlines()
    assert table[0].split()[-1] == "best/least"
    assert table[1].split()[-6:] == ["400", "500", "200", "0.40", "-", "0.50"]
    report.write_json(tmp_path / "results.json", {})
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["rows"]["untar"]["best_peer_over_least"] == pytest.approx(0.5)


def test_who_does_not_flush_the_disk_is_not_compared_with(tmp_path: Path) -> None:
    results = Results()
    results.add("rename-loop", "vaultfs", 0.3)
    results.add("rename-loop", "gocryptfs", 0.6)
    results.add("rename-loop", "cryfs", 0.1)
    results.unsynced["rename-loop"] = {"cryfs"}
    report = Report(results, [kind(tmp_path / kind.name) for kind in (VaultFs, Gocryptfs, Cryfs)])
    assert report.against_best("rename-loop") == pytest.approx(2.0)
    table = report.table().splitlines()
    assert table[1].split()[-5:] == ["300", "600", "100*", "2.00", "-"]
    assert table[-1].startswith("*")


def test_a_row_tells_who_synced_and_who_did_not(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("_bench.measuring.drop_caches", lambda: None)
    flushed = [0]
    monkeypatch.setattr("_bench.rows.flushes", lambda folder: flushed[0])
    systems = [System(tmp_path / "plain")]
    measuring = Measuring(systems, inputs, TINY, lambda _: None)
    rows = [row for row in ROWS if row.run is rename_loop]
    measuring.round(rows, 0)
    assert measuring.results.unsynced == {"rename-loop": {"plain"}}
    measuring.results.unsynced.clear()
    monkeypatch.setattr("os.fsync", lambda fd: flushed.__setitem__(0, flushed[0] + 1))
    measuring.round(rows, 0)
    assert measuring.results.unsynced == {}


def test_a_disk_counts_its_flushes_if_it_tells(tmp_path: Path) -> None:
    before = flushes(tmp_path)
    if before is None:
        pytest.skip("no block device under the temporary folder, or it does not tell")
    with open(tmp_path / "file", "wb") as file:
        file.write(b"x")
        os.fsync(file.fileno())
    after = flushes(tmp_path)
    assert after is not None
    assert after > before
