"""Stores on file systems without modes, links or folder syncs (exFAT), and without case (NTFS as Windows has it)."""

import shutil
import subprocess

import pytest
from _powercut.crowd import crowd
from _powercut.cutting import SETTINGS
from _powercut.killing import kills
from _powercut.machine import missing, run

from tests.support.mounting import needs_fuse

SIZE = 512 << 20
MAKERS = {"exfat": ["mkfs.exfat"], "ntfs": ["mkfs.ntfs", "--quick", "--force"]}
"""Debian has them in exfatprogs and ntfs-3g, and the drivers in exfat-fuse and ntfs-3g."""
MOUNTERS = {"exfat": ["mount.exfat-fuse"], "ntfs": ["lowntfs-3g", "-o", "ignore_case"]}

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    needs_fuse,
    pytest.mark.skipif(bool(missing("ext4")), reason=f"no image is mounted here: {missing('ext4')}"),
]


@pytest.fixture(params=MAKERS)
def folder(tmp_path, request):
    """An empty file system of each kind."""
    tools = [MAKERS[request.param][0], MOUNTERS[request.param][0]]
    if absent := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.skip(f"{' and '.join(absent)} not installed")
    image, mountpoint = tmp_path / "image", tmp_path / "poor"
    mountpoint.mkdir()
    with open(image, "wb") as file:
        file.truncate(SIZE)
    device = run("losetup", "--find", "--show", image)
    try:
        run(*MAKERS[request.param], device)
        run(*MOUNTERS[request.param], device, mountpoint)
        yield mountpoint
        subprocess.run(["umount", mountpoint], check=True)
    finally:
        run("losetup", "--detach", device)


def test_a_vault_works_and_survives_kill_9_there(folder):
    (folder / "crowd").mkdir()
    (folder / "kills").mkdir()
    verdicts = crowd(folder / "crowd", 3, 2, "test", SETTINGS)
    verdicts += [death.verdict for death in kills(folder / "kills", 1, "test", SETTINGS, None, 1)]
    assert [problem for verdict in verdicts for problem in verdict.problems] == []
    assert all(verdict.files > 0 for verdict in verdicts)
