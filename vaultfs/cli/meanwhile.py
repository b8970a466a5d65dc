"""Imports what is needed next in a thread, while the user types a password and the KDF works on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module


@contextmanager
def imported_meanwhile(*modules: str) -> Iterator[None]:
    """While the block runs, import the modules; there is no thread any more after it.

    What goes wrong with one is left to whoever imports it by name, and says what to do about it.
    """
    thread = threading.Thread(target=_import, args=modules, name="imports", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _import(*modules: str) -> None:
    with suppress(Exception):  # a thread that ends by one would show its traceback
        for module in modules:
            import_module(module)
