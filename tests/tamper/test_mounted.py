"""Damage seen through a mount: an input/output error for what is hit, the path in the log, and the mount stays up."""

import errno
import os
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]


@pytest.mark.expects_log
def test_the_mount_stays_up_and_names_the_path(tmp_path: Path) -> None:
    first = MountedVault(tmp_path)
    (first.path / "folder").mkdir()
    (first.path / "folder/victim").write_bytes(os.urandom(3 << 16))
    (first.path / "folder/neighbour").write_bytes(b"fine")
    first.unmount()
    stored = max((path for path in (tmp_path / "store/objects").glob("*/*")), key=lambda path: path.stat().st_size)
    data = bytearray(stored.read_bytes())
    data[96 + 100_000] ^= 1
    stored.write_bytes(data)

    second = MountedVault(tmp_path)
    with (second.path / "folder/victim").open("rb") as file:
        assert len(file.read(65536)) == 65536
    with pytest.raises(OSError) as raised:
        (second.path / "folder/victim").read_bytes()
    assert raised.value.errno == errno.EIO
    assert (second.path / "folder/neighbour").read_bytes() == b"fine"
    (second.path / "folder/new").write_bytes(b"still alive")
    assert "/folder/victim: read: " in second.log
    second.unmount()
