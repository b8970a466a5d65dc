"""QR codes of short texts, for a terminal or as a PNG, by the optional package segno."""

import io
from importlib import import_module
from typing import Any

from vaultfs.errors import UsageError


def for_terminal(text: str) -> str:
    """The code as lines of half blocks, for a terminal with light letters on dark."""
    drawn = io.StringIO()
    _code(text).terminal(out=drawn, compact=True, border=2)
    return drawn.getvalue().rstrip("\n")


def picture(text: str) -> bytes:
    """The code as a PNG picture."""
    drawn = io.BytesIO()
    _code(text).save(drawn, kind="png", scale=8)
    return drawn.getvalue()


def require() -> None:
    """UsageError unless segno is there: said before a key is made."""
    try:
        import_module("segno")
    except ImportError as error:
        raise UsageError("QR codes need the package segno: pip install segno.") from error


def _code(text: str) -> Any:
    require()
    return import_module("segno").make_qr(text, error="m")
