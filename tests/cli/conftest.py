"""A vault to try commands on, and ways to run them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, Result, run_on_terminal, run_piped
from tests.cli.trees import make_tree


@pytest.fixture(autouse=True)
def _nothing_kept_on_this_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rollback memory and lock files go to a folder of the test."""
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("own")))


@pytest.fixture
def vaultfs() -> Callable[..., Result]:
    """Run `vaultfs ARGS` with pipes."""
    return run_piped


@pytest.fixture
def terminal() -> Callable[..., Result]:
    """Run `vaultfs ARGS` on a terminal."""
    return run_on_terminal


@pytest.fixture
def refused() -> Callable[[Result, int, str], None]:
    """Check that a command ended with this code and one sentence on stderr that says this."""

    def check(done: Result, code: int, says: str) -> None:
        assert done.code == code, done
        assert done.out == ""
        sentences = [line for line in done.err.splitlines() if not line.startswith("vaultfs: warning: ")]
        assert len(sentences) == 1, done
        assert sentences[0].startswith("vaultfs: ")
        assert sentences[0].endswith("."), done
        assert says in sentences[0]

    return check


@pytest.fixture(scope="session")
def _made_vault(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("made") / "store"
    done = run_piped("init", store, *CHEAP, stdin=PASSWORD)
    assert done.code == 0, done
    return store


@pytest.fixture
def vault(_made_vault: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of its own for each test, holding an empty vault with PASSWORD."""
    return shutil.copytree(_made_vault, tmp_path_factory.mktemp("vault") / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a bit of everything."""
    path = tmp_path / "source"
    path.mkdir()
    make_tree(path)
    return path
