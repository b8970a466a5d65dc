"""Mounts for the tests of this folder, and a fresh directory in a shared one for each test that only needs that."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mounting import MountedVault, mounting


@pytest.fixture
def mount_vault(tmp_path: Path) -> Iterator[Callable[..., MountedVault]]:
    """Mount vaults of the test's own: `mount_vault(name="vault", **fields of MountOptions)`."""
    with mounting(tmp_path) as mount:
        yield mount


@pytest.fixture
def mounted_vault(mount_vault: Callable[..., MountedVault]) -> MountedVault:
    """A new vault, mounted for this test alone."""
    return mount_vault()


@pytest.fixture(scope="module")
def shared_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedVault]:
    """One vault for the tests of a module that end nothing; it must unmount cleanly and without a warning."""
    with mounting(tmp_path_factory.mktemp("shared")) as mount:
        vault = mount()
        yield vault
        vault.unmount()
        assert "WARNING" not in vault.log
        assert "ERROR" not in vault.log


@pytest.fixture
def folder(shared_vault: MountedVault, request: pytest.FixtureRequest) -> Path:
    """An empty directory in the shared vault."""
    path: Path = shared_vault.path / request.node.name.replace("/", "_")[:200]
    path.mkdir()
    return path
