"""A vault with every kind of file, made once, a copy for each test."""

import shutil
from pathlib import Path

import pytest

from tests.support.samples import Model, make_store


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Model]:
    path = tmp_path_factory.mktemp("sample") / "store"
    return path, make_store(path)


@pytest.fixture
def store_path(_made: tuple[Path, Model], tmp_path: Path) -> Path:
    """A copy of the sample vault's store."""
    return shutil.copytree(_made[0], tmp_path / "store")


@pytest.fixture
def model(_made: tuple[Path, Model]) -> Model:
    """What the sample vault holds."""
    return _made[1]
