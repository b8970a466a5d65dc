"""All that the command line prints or asks: results, warnings, errors, JSON, questions, signs of progress.

Results go to stdout; everything else goes to stderr. Names that come from the store or the
system are untrusted text: control characters in them are shown escaped, never sent to the terminal.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, TextIO

_RED = "\x1b[31m"
_YELLOW = "\x1b[33m"
_PLAIN = "\x1b[0m"
_ERASE_LINE = "\r\x1b[K"


def printable(text: str) -> str:
    """The text on one line, with everything but printable characters written as a backslash escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _sentence(text: str) -> str:
    """The text as one printable sentence: with a capital, unless it begins with a name, and a full stop."""
    first = text.partition(" ")[0]
    if first.isalpha() and first.islower():
        text = first.capitalize() + text[len(first) :]
    return printable(text) if text.endswith((".", "!", "?")) else printable(text) + "."


def size_text(size: int) -> str:
    """A size in bytes for people: `64 KiB`, `1.5 GiB`."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.1f}".removesuffix(".0") + f" {unit}"


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things: `1 file`, `2 files`; `many` where the plural takes more than an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


class Output:
    """Where one command's words go. `quiet` keeps only what was asked for, warnings and errors."""

    def __init__(self, *, quiet: bool = False, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.quiet = quiet
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._interactive = self._stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._is_line_shown = False
        self._colour = self._interactive and not os.environ.get("NO_COLOR")

    def say(self, text: str) -> None:
        """News the user can do without; nothing under `quiet`."""
        if not self.quiet:
            self.result(printable(text))

    def result(self, text: str) -> None:
        """What the command was run for; printed even under `quiet`, lines kept."""
        self.live("")
        print("\n".join(printable(line) for line in text.split("\n")), file=self._stdout, flush=True)

    def facts(self, rows: Iterable[tuple[str, str]]) -> None:
        """Aligned `name: value` lines."""
        rows = list(rows)
        width = max((len(name) for name, _ in rows), default=0) + 1
        for name, value in rows:
            self.result(f"{name + ':':<{width}} {value}")

    def table(self, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as their widest cell, under a heading."""
        cells = [[printable(cell) for cell in row] for row in (heading, *rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(heading))]
        for row in cells:
            self.result("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def json(self, value: object) -> None:
        """One JSON document on stdout, and nothing else there."""
        print(json.dumps(value, indent=2, ensure_ascii=True), file=self._stdout, flush=True)

    def stream(self) -> BinaryIO:
        """Stdout for bytes as they are: the content of files, archives, names for programs."""
        self._stdout.flush()
        return self._stdout.buffer

    def note(self, text: str) -> None:
        """News that is no result, on stderr; nothing under `quiet`."""
        if not self.quiet:
            self._complain("", text)

    def warn(self, text: str) -> None:
        """Something the user should know although the command goes on."""
        self._complain("warning: ", text, _YELLOW)

    def error(self, text: str) -> None:
        """The one sentence about why the command failed."""
        self._complain("", text, _RED)

    def trace(self, text: str) -> None:
        """A traceback, asked for with --debug."""
        self._stderr.write(text)

    def _complain(self, kind: str, text: str, colour: str = "") -> None:
        self.live("")
        start, end = (colour, _PLAIN) if self._colour and colour else ("", "")
        print(f"{start}vaultfs: {kind}{_sentence(text)}{end}", file=self._stderr, flush=True)

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; only a typed `yes` is a yes."""
        self._stderr.write(f"{printable(question)} Type yes to go on: ")
        self._stderr.flush()
        return sys.stdin.readline().strip().lower() == "yes"

    @property
    def is_live(self) -> bool:
        """Whether progress is shown."""
        return self._interactive and not self.quiet

    def live(self, text: str) -> None:
        """Show a line of progress in place of the last one, on a terminal only; empty text erases it.

        Whatever else is printed takes the line's place, and the next one comes below.
        """
        if self.is_live and (text or self._is_line_shown):
            self._stderr.write(_ERASE_LINE + self._fitting(printable(text)))
            self._stderr.flush()
            self._is_line_shown = bool(text)

    def _fitting(self, text: str) -> str:
        """As much of a line as the terminal is wide: of a wrapped one, only the last row could be erased."""
        try:
            columns = os.get_terminal_size(self._stderr.fileno()).columns
        except OSError:  # one that does not tell
            columns = 0
        return text[: columns - 1] if columns else text

    def ask(self, question: str) -> str:
        """A line typed on the terminal, seen while it is typed; empty at its end."""
        self._stderr.write(printable(question))
        self._stderr.flush()
        return sys.stdin.readline().strip()

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show on a terminal that something takes a while, and erase that afterwards."""
        self.live(f"{text} …")
        try:
            yield
        finally:
            self.live("")
