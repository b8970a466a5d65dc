"""Random damage anywhere in the store: no crash, no hang, nothing but right bytes or errors of ours."""

import logging
from pathlib import Path

import pytest

from tests.tamper.mutation import one_round
from tests.tamper.world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("seed", range(12))
def test_random_damage(world: World, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL + 1, "vaultfs")
    one_round(world, tmp_path, seed)
