"""No attack on the store makes the vault give wrong bytes, hides a file unseen, or bricks the vault."""

import logging
from pathlib import Path

import pytest

from tests.tamper.attacks import Attack, all_attacks
from tests.tamper.judge import judge
from tests.tamper.world import World, make_world
from vaultfs.check.findings import Severity


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("attack", all_attacks(), ids=lambda attack: attack.name)
def test_attack(attack: Attack, world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # What is said of the damage is not the matter here.
    caplog.set_level(logging.CRITICAL + 1, "vaultfs")
    verdict = judge(attack, world, tmp_path)
    assert verdict.wrong == []
    assert verdict.stray == []
    assert verdict.unnamed == []
    if not attack.refuses:
        assert verdict.refused == ""
    elif verdict.refused and not _nothing_left(attack):
        assert verdict.bricked == ""
    if attack.cuts_journal:
        assert verdict.refused == ""
    else:
        assert [finding for finding in verdict.findings if _counts(attack, finding.severity)]


def _nothing_left(attack: Attack) -> bool:
    """With neither root there is nothing to open: salvage is the way then. A stranger's roots are no roots."""
    return attack.target in ("both roots", "whole store") and attack.row != "older version"


def _counts(attack: Attack, severity: Severity) -> bool:
    return severity != Severity.NOTE or attack.row == "extra files planted"
