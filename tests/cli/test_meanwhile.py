"""Modules are imported while something else is waited for, and no thread is left when it is over."""

import sys
import threading
from pathlib import Path

import pytest

from vaultfs.cli.meanwhile import imported_meanwhile

# Of the standard library, and of no use to anything here.
_UNUSED = "colorsys"


def _is_importing() -> bool:
    return "imports" in {thread.name for thread in threading.enumerate()}


def test_what_is_named_is_there_when_the_block_ends() -> None:
    sys.modules.pop(_UNUSED, None)
    with imported_meanwhile(_UNUSED):
        pass
    assert _UNUSED in sys.modules
    assert not _is_importing()  # a mount forks after this


@pytest.mark.parametrize("text", [None, "import vaultfs.no_such_module", "raise OSError('no such library')"])
def test_what_cannot_be_imported_is_left_to_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    if text is not None:
        (tmp_path / "not_importable.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    shown: list[object] = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    with imported_meanwhile("not_importable"):
        pass
    assert not _is_importing()
    assert not shown
    assert "not_importable" not in sys.modules
    assert capsys.readouterr() == ("", "")


def test_what_the_block_raises_comes_after_the_end_of_the_thread() -> None:
    sys.modules.pop(_UNUSED, None)
    with pytest.raises(KeyboardInterrupt), imported_meanwhile(_UNUSED):
        raise KeyboardInterrupt
    assert _UNUSED in sys.modules
    assert not _is_importing()
