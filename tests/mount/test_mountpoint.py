"""The checks of a mountpoint that need no mount."""

from pathlib import Path

import pytest

from tests.support.mounting import needs_fuse
from vaultfs.errors import FuseUnavailable, MountpointUnusable
from vaultfs.mount import mountpoint
from vaultfs.mount.mountpoint import check_fuse, prepare_mountpoint
from vaultfs.mount.mounttable import all_mounts


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


@needs_fuse
def test_a_folder_will_do_empty_or_not_by_any_way(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "hidden").touch()
    (tmp_path / "link").symlink_to("place")
    monkeypatch.chdir(tmp_path)
    for way in (str(place), f"{place}/", "place", "./store/../place", "link"):
        assert prepare_mountpoint(way, str(store)) == str(place)


@needs_fuse
@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("none", "cannot be used: No such file"),
        ("file", "is not a folder"),
        (".", "would hide the store"),
        ("store", "would hide the store"),
        ("store/below", "is inside the store"),
        ("link to the store", "would hide the store"),
    ],
)
def test_what_will_not_do_is_refused(tmp_path: Path, store: Path, place: str, sentence: str) -> None:
    (store / "below").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link to the store").symlink_to("store")
    with pytest.raises(MountpointUnusable, match=sentence):
        prepare_mountpoint(str(tmp_path / place), str(store))


def test_a_missing_device_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mountpoint, "_DEVICE", str(tmp_path / "fuse"))
    with pytest.raises(FuseUnavailable, match="load the kernel's fuse module"):
        check_fuse()


def test_the_mount_table_is_read() -> None:
    found = {mount.path: mount for mount in all_mounts()}
    assert found["/proc"].filesystem == "proc"
    assert not found["/proc"].is_vault
    assert found["/proc"].store is None
