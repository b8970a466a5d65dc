"""What is remembered between checks: which parts were verified when, and where one was interrupted."""

from pathlib import Path

import pytest

from tests.check.checking import tree_of
from vaultfs.check.checker import Checker
from vaultfs.check.committed import Place
from vaultfs.check.coverage import FOLDERS, Coverage, Interrupted, new_run
from vaultfs.check.cursor import Cursor, cursor_from_json, cursor_of
from vaultfs.check.walker import Walker
from vaultfs.format.constants import ROOT_ID


def test_samples_cover_everything_in_turn(tmp_path: Path) -> None:
    times = 0
    while (coverage := Coverage(tmp_path, b"i" * 16)).covered < 1:
        times += 1
        run = new_run(coverage.sample(0.05))
        assert len(run.folders) == 13
        coverage.finish(run._replace(begun=times))
        assert times <= 20
    assert times == 20
    assert coverage.oldest == 1
    assert Coverage(tmp_path, b"j" * 16).covered == 0


def test_an_interrupted_check_is_kept(tmp_path: Path) -> None:
    coverage = Coverage(tmp_path, b"i" * 16)
    run = Interrupted(frozenset({1, 2}), 7, Cursor(0, (b"a", b"\xff"), b"name"))
    coverage.keep(run)
    assert Coverage(tmp_path, b"i" * 16).interrupted == run
    coverage.finish(run)
    again = Coverage(tmp_path, b"i" * 16)
    assert again.interrupted is None
    assert again.verified[1] == 7


BROKEN = ["", "{}", '{"verified": [1], "run": null}', '{"verified": "x", "run": 3}', "[" * 9999]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_memory_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{(b'i' * 16).hex()}.check").write_text(text)
    coverage = Coverage(tmp_path, b"i" * 16)
    assert coverage.verified == [0] * FOLDERS
    assert coverage.interrupted is None


def test_the_walk_goes_as_cursors_compare(store_path: Path) -> None:
    with tree_of(store_path) as tree:
        cursors = [cursor_of(place, entry) for place, entry in Walker(tree, lambda finding: None).walk()]
    assert cursors == sorted(cursors)
    assert len(set(cursors)) == len(cursors)
    assert [cursor_from_json(cursor.to_json()) for cursor in cursors] == cursors


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_resumed_walk_goes_on_behind_the_cursor(store_path: Path, share: float) -> None:
    with tree_of(store_path) as tree:
        places = list(Walker(tree, lambda finding: None).walk())
        position = int(len(places) * share)
        cursor = cursor_of(*places[position])
        walk = Walker(tree, lambda finding: None, lambda place: not cursor.done_below(place)).walk()
        rest = [visit.place for visit in walk if cursor_of(*visit) > cursor]
    assert rest == [visit.place for visit in places[position + 1 :]]


def test_data_is_verified_once_over_an_interruption(store_path: Path) -> None:
    with tree_of(store_path) as tree:
        whole = Checker(tree, lambda finding: None).data(None, 1, None, None, lambda cursor: None)
        cursor = Cursor(0, (b"docs",), b"leafy")
        rest = Checker(tree, lambda finding: None).data(None, 1, None, cursor, lambda cursor: None)
        parts = [
            Checker(tree, lambda finding: None).data(frozenset({*folders}), 1, None, None, lambda cursor: None)
            for folders in (range(100), range(100, 256))
        ]
    assert 0 < rest < whole
    assert sum(parts) == whole
    assert not cursor.done_below(Place(ROOT_ID, (b"many",)))
