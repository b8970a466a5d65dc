"""Many processes at once in the same folders, with checkpoints all the while."""

import pytest
from _powercut.crowd import crowd
from _powercut.cutting import SETTINGS

from tests.support.mounting import needs_fuse


@pytest.mark.mount
@pytest.mark.slow
@needs_fuse
def test_each_of_many_writers_finds_what_it_wrote(tmp_path):
    verdicts = crowd(tmp_path, 8, 6, "test", {**SETTINGS, "checkpoint_age": 0.2})
    assert [problem for verdict in verdicts for problem in verdict.problems] == []
    assert all(verdict.promised > 0 for verdict in verdicts)
