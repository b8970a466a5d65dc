"""Shows what the layers below log (recovery, warnings) on stderr, until a daemon sends it elsewhere."""

import logging

from vaultfs.cli.output import Output


def show_log(out: Output) -> None:
    """From now on, warnings of the log are warnings, and news is news unless `-q` was given."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Shown):  # a command that opens the vault again would say everything twice
            root.removeHandler(handler)
    root.addHandler(_Shown(out))
    root.setLevel(logging.INFO)


class _Shown(logging.Handler):
    def __init__(self, out: Output) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self._out.warn(record.getMessage())
        else:
            self._out.note(record.getMessage())
