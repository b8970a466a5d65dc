"""Power cuts of a real file system on a disk with a volatile cache; `scripts/powercut` is the long form of this."""


import pytest
from _powercut.cutting import SETTINGS, cuts
from _powercut.killing import kills
from _powercut.machine import missing

from tests.support.mounting import needs_fuse

needs_images = pytest.mark.skipif(bool(missing("ext4")), reason=f"no power is cut here: {missing('ext4')}")
SECONDS = 0.5


@pytest.mark.mount
@pytest.mark.slow
@needs_images
def test_what_was_promised_survives_power_cuts(tmp_path):
    outcomes = list(cuts(tmp_path, "ext4", 4, "test", writers=2, pause=SECONDS))
    assert [problem for outcome in outcomes for problem in outcome.verdict.problems] == []
    assert outcomes[-1].verdict.promised > 0


@pytest.mark.mount
@pytest.mark.slow
@needs_fuse
def test_what_was_acknowledged_survives_kill_9(tmp_path):
    deaths = list(kills(tmp_path, 3, "test", SETTINGS, None, SECONDS * 2))
    assert [problem for death in deaths for problem in death.verdict.problems] == []
    assert sum(death.verdict.promised for death in deaths) > 0
