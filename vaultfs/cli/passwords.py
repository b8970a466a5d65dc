"""Where a password, or the digits of a recovery key, comes from: prompt, stdin, files, a command, or systemd.

Never from the command line and never from an environment variable: both are readable by others
(`ps`, /proc/PID/environ). Every source gives UTF-8 text, a password in one line.
"""

import argparse
import os
import select
from collections.abc import Callable
from dataclasses import dataclass

from vaultfs.cli.output import Output
from vaultfs.errors import EmptyPassword, PasswordUnreadable, UsageError, WeakPassword

CREDENTIAL = "vaultfs.password"
MAX_LINE = 4096  # bytes
DIGITS_PER_ROW = 24  # of a recovery key, as it is printed
_TRIES = 3
_SECOND_LINE_WAIT = 0.3  # seconds


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """What the command line said about where a secret is, and which kind it is; nothing said means ask for a password.

    At most one of `keyfile`, `recovery` and `shares` is given.
    """

    passfiles: tuple[str, ...] = ()
    extpass: str | None = None
    keyfile: str | None = None
    recovery: bool = False
    shares: bool = False

    def __post_init__(self) -> None:
        if self.passfiles and self.extpass is not None:
            raise UsageError("Give either --passfile or --extpass, not both.")
        if (self.keyfile is not None) + self.recovery + self.shares > 1:
            raise UsageError("Give only one of --keyfile, --recovery-key and --from-shares.")


def add_arguments(parser: argparse.ArgumentParser, *, new: bool = False) -> None:
    """Add `--passfile`, `--extpass` and the other kinds of key; with `new`, `--new-passfile` and `--new-extpass`."""
    prefix, what = ("new-", "the new password") if new else ("", "the password")
    parser.add_argument(
        f"--{prefix}passfile",
        metavar="FILE",
        action="append",
        default=[],
        help=f"read {what} from the first line of FILE; several files are joined in order",
    )
    parser.add_argument(
        f"--{prefix}extpass",
        metavar="CMD",
        help=f"run CMD (split like a shell does) and take {what} from the first line it prints",
    )
    if new:
        return
    parser.add_argument("--keyfile", metavar="FILE", help="open with this key file, and a password if it needs one too")
    parser.add_argument("--recovery-key", action="store_true", help="open with the recovery key instead of a password")
    parser.add_argument("--from-shares", action="store_true", help="open with shares of a split key, one per line")


def add_weak_ok(parser: argparse.ArgumentParser) -> None:
    """Add `--weak-ok`, for commands that take a new password."""
    parser.add_argument(
        "--weak-ok", action="store_true", help="take a short password that is not strong, if it is not easily guessed"
    )


def source(args: argparse.Namespace, *, new: bool = False) -> PasswordSource:
    """The source that the options of `add_arguments` name. Raises UsageError if they contradict."""
    if new:
        return PasswordSource(tuple(args.new_passfile), args.new_extpass)
    return PasswordSource(tuple(args.passfile), args.extpass, args.keyfile, args.recovery_key, args.from_shares)


def read_password(where: PasswordSource, prompt: str = "Password: ") -> str:
    """One existing password. Raises PasswordUnreadable or EmptyPassword."""
    password = _unattended(where, credential=True)
    if password is None:
        password = _ask(prompt) if os.isatty(0) else _stdin_line()
    return _not_empty(password)


def read_digits(where: PasswordSource, prompt: str, rows: int) -> str:
    """The text of a recovery key or a share of `rows` rows of groups. Raises PasswordUnreadable or EmptyPassword.

    On a terminal, row after row is asked for, unless all of it comes at once; otherwise it is one line.
    """
    text = _unattended(where, credential=False)
    if text is None and not os.isatty(0):
        text = _stdin_line()
    if text is not None:
        return _not_empty(text)
    given: list[str] = []
    while len(given) < rows and _digits(given) <= DIGITS_PER_ROW * (rows - 1):
        given.append(_not_empty(_ask(f"{prompt}, row {len(given) + 1} of {rows}: ")))
    return " ".join(given)


def read_new_password(
    where: PasswordSource,
    out: Output,
    check: Callable[[str], None],
    prompt: str = "New password: ",
    *,
    credential: bool = False,
) -> str:
    """A new password that `check` accepts, typed twice.

    On a terminal a mismatch or a weak password is asked again, three times in all. From stdin the
    repetition may be missing (front-ends differ); if it is there it must be the same.
    `credential`: whether systemd's credential may be the new password (init, not passwd).
    Raises PasswordUnreadable, EmptyPassword, or what `check` raises (WeakPassword).
    """
    password = _unattended(where, credential=credential)
    if password is None and os.isatty(0):
        return _ask_twice(out, check, prompt)
    if password is None:
        password = _stdin_line()
        if _more_on_stdin() and _stdin_line() != password:
            raise PasswordUnreadable("The two passwords on standard input differ.")
    check(_not_empty(password, "new password"))
    return password


def _unattended(where: PasswordSource, *, credential: bool) -> str | None:
    if where.passfiles:
        return "".join(_from_file(path) for path in where.passfiles)
    if where.extpass is not None:
        return _from_command(where.extpass)
    folder = os.environ.get("CREDENTIALS_DIRECTORY") if credential else None
    path = os.path.join(folder, CREDENTIAL) if folder else ""
    return _from_file(path) if path and os.path.exists(path) else None


def _from_file(path: str) -> str:
    try:
        with open(path, "rb") as file:
            line = file.readline(MAX_LINE + 1)
    except OSError as error:
        raise PasswordUnreadable(f"The password file {path} cannot be read: {error.strerror}.") from error
    text = _text(line, f"The password file {path}")
    if not text:
        raise EmptyPassword(f"The first line of the password file {path} is empty.")
    return text


def _from_command(command: str) -> str:
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"The command of --extpass cannot be split into words: {error}.") from error
    if not words:
        raise UsageError("The command of --extpass is empty.")
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise PasswordUnreadable(f"The password command {words[0]} cannot be run: {error.strerror}.") from error
    if done.returncode:
        raise PasswordUnreadable(f"The password command {words[0]} failed with status {done.returncode}.")
    return _text(done.stdout.partition(b"\n")[0], f"The output of the password command {words[0]}")


def _stdin_line() -> str:
    """One line, read byte by byte: what follows on stdin belongs to the next reader."""
    line = bytearray()
    while len(line) <= MAX_LINE and not line.endswith(b"\n"):
        try:
            byte = os.read(0, 1)
        except OSError as error:
            raise PasswordUnreadable(f"Standard input cannot be read: {error.strerror}.") from error
        if not byte:
            break
        line += byte
    return _text(bytes(line), "Standard input")


def _more_on_stdin() -> bool:
    """Whether another line is on its way: a front-end may keep the pipe open after the only one."""
    import fcntl
    import struct
    import termios

    ready, _, _ = select.select([0], [], [], _SECOND_LINE_WAIT)
    if not ready:
        return False
    try:
        waiting = struct.unpack("i", fcntl.ioctl(0, termios.FIONREAD, b"\0" * 4))[0]
    except OSError:
        return False  # /dev/null and the like hold nothing
    return bool(waiting > 0)


def _digits(rows: list[str]) -> int:
    return sum(c.isalnum() for row in rows for c in row)


def _ask(prompt: str) -> str:
    import getpass

    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise EmptyPassword("No password was typed.") from None


def _ask_twice(out: Output, check: Callable[[str], None], prompt: str) -> str:
    for remaining in reversed(range(_TRIES)):
        password = _not_empty(_ask(prompt))
        try:
            check(password)
        except WeakPassword as error:
            if not remaining:
                raise
            out.warn(f"{error} Try again.")
            continue
        if _ask("The same again: ") == password:
            return password
        if remaining:
            out.warn("The two passwords differ. Try again.")
    raise PasswordUnreadable("The two passwords typed differ.")


def _text(line: bytes, origin: str) -> str:
    if len(line) > MAX_LINE:
        raise PasswordUnreadable(f"{origin} holds a line longer than {MAX_LINE} bytes.")
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise PasswordUnreadable(f"{origin} is not UTF-8 text.") from error


def _not_empty(password: str, what: str = "password") -> str:
    if not password:
        raise EmptyPassword(
            f"The {what} is empty: give one on the terminal, on standard input, with --passfile or with --extpass."
        )
    return password
