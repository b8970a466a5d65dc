"""A desktop session, and a vault mounted in its user's home folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.desktop.session import PASSWORD, Desktop, desktop, missing


@pytest.fixture
def session() -> Iterator[Desktop]:
    """A new session, with a home of its own."""
    why_not = missing()
    if why_not:
        pytest.skip(why_not)
    with desktop() as opened:
        yield opened


@pytest.fixture
def backup(session: Desktop) -> Path:
    """The folder in which the session's vault is open."""
    store, mountpoint = session.home / "store", session.home / "Backup"
    session.run("mkdir", str(mountpoint))
    session.vaultfs("init", str(store), "--kdf-memory", "64", "--kdf-passes", "1", stdin=PASSWORD + "\n")
    session.vaultfs("mount", str(store), str(mountpoint), stdin=PASSWORD + "\n")
    return mountpoint
