"""The entry point `vaultfs`: finds the command, runs it, turns every failure into one sentence and an exit code.

A command is a module of this package with `SUMMARY`, `add_arguments(parser)` and `run(args, out)`;
only the one that is run is imported, so that asking for help or status stays quick.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import NoReturn, Protocol, cast

from vaultfs import __version__
from vaultfs.cli.interrupts import hear_no_more
from vaultfs.cli.output import Output
from vaultfs.errors import Interrupted, UsageError, VaultfsError, what_the_system_says

COMMANDS = (
    "init", "mount", "umount", "passwd", "key", "rekey", "drill", "passphrase", "info", "status", "sync-ready",
    "install-helpers", "check", "ls", "tree", "cat", "export", "import", "where", "whose", "log",
)  # fmt: skip
# A command whose name no module can have.
_MODULES = {"import": "import_", "sync-ready": "sync_ready", "install-helpers": "install_helpers"}
_GLOBAL_FLAGS = ("-q", "--quiet", "--debug")
_FAILED = VaultfsError.exit_code


class Command(Protocol):
    """What a command module offers."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    def run(self, args: argparse.Namespace, out: Output) -> None:
        """Do it; failures are exceptions."""


class _Parser(argparse.ArgumentParser):
    """argparse, with its complaints as UsageError (exit code 1, one sentence)."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    out = Output(quiet=not {"-q", "--quiet"}.isdisjoint(words))
    debug = "--debug" in words
    try:
        _stop_on_signals()
        _run(words, out)
    except KeyboardInterrupt:
        hear_no_more()
        out.error("Interrupted.")
        return Interrupted.exit_code
    except VaultfsError as error:
        return _fail(out, str(error), error.exit_code, debug)
    except BrokenPipeError:
        _end_as_a_pipe_does()
    except OSError as error:
        return _fail(out, f"{what_the_system_says(error)}.", _FAILED, debug)
    except Exception as error:
        hint = "" if debug else " (run it again with --debug for details)"
        return _fail(out, f"This should not have happened: {type(error).__name__}: {error}{hint}.", _FAILED, debug)
    return 0


def mount_helper() -> int:
    """The entry point `mount.fuse.vaultfs STORE MOUNTPOINT [-sfnv] [-o OPTIONS] [-t TYPE]`, called by mount(8)."""
    parser = _Parser(prog="mount.fuse.vaultfs", allow_abbrev=False)
    parser.add_argument("store")
    parser.add_argument("mountpoint")
    parser.add_argument("-o", dest="options", action="append", default=[])
    parser.add_argument("-f", dest="fake", action="store_true", help="do everything but mount")
    for ignored in ("-s", "-n", "-v"):
        parser.add_argument(ignored, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-t", dest="type", help=argparse.SUPPRESS)
    try:
        args = parser.parse_args()
    except UsageError as error:
        return _fail(Output(), str(error), error.exit_code, debug=False)
    if args.fake:
        return 0
    return main(["mount", "--quiet", *(f"-o{options}" for options in args.options), "--", args.store, args.mountpoint])


def parser() -> argparse.ArgumentParser:
    """The parser with all commands declared."""
    return _parser([])


def exit_codes() -> dict[int, str]:
    """Every exit code there is, with what it means, from the tree of errors."""
    meanings = {0: "Done.", _FAILED: "Anything else; the sentence on stderr says what."}
    classes = list(VaultfsError.__subclasses__())
    for found in classes:
        classes += found.__subclasses__()
        if found.exit_code != _FAILED:
            meanings[found.exit_code] = (found.__doc__ or "").partition("\n")[0]
    return dict(sorted(meanings.items()))


def _run(words: list[str], out: Output) -> None:
    words = _with_command(words)
    args = _parser(words).parse_args(words)
    command: Command = args.command
    command.run(args, out)


def _with_command(words: list[str]) -> list[str]:
    """Put `mount` in front of the bare form `vaultfs STORE MOUNTPOINT -o …` that mount(8) uses."""
    first = _first(words)
    if first is None or first in COMMANDS or first in ("-h", "--help", "--version"):
        return words
    if "/" not in first and not first.startswith("-") and not os.path.lexists(first):
        raise UsageError(f"There is no command {first!r}, and no such folder; the commands are {', '.join(COMMANDS)}.")
    if all(word.startswith("-") for word in words):
        raise UsageError(f"{first} is no option without a command; the commands are {', '.join(COMMANDS)}.")
    return ["mount", *words]


def _first(words: Sequence[str]) -> str | None:
    """The first word that is no option of every command: the command's name, if it is one."""
    return next((word for word in words if word not in _GLOBAL_FLAGS), None)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for these words: only the command among them gets its arguments declared."""
    common = common_options()
    parser = _Parser(
        prog="vaultfs",
        description="A folder of ciphertext that one password opens as a plain directory.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vaultfs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    wanted = _first(words)
    for name in (wanted,) if wanted in COMMANDS else COMMANDS:
        module = cast(Command, import_module(f"vaultfs.cli.{_MODULES.get(name, name)}"))
        command = commands.add_parser(
            name, help=module.SUMMARY, description=module.SUMMARY, parents=[common], allow_abbrev=False
        )
        module.add_arguments(command)
        command.set_defaults(command=module)
    return parser


def common_options() -> _Parser:
    """The options every command has, before or after its name."""
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("-q", "--quiet", action="store_true", help="print only results, warnings and errors")
    common.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    return common


def _epilog() -> str:
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in exit_codes().items())
    return f"`vaultfs STORE MOUNTPOINT -o OPTIONS` is the same as `vaultfs mount`.\n\nexit codes:\n{codes}"


def _fail(out: Output, sentence: str, code: int, debug: bool) -> int:
    if debug:
        import traceback

        out.trace(traceback.format_exc())
    out.error(sentence)
    return code


def _end_as_a_pipe_does() -> None:
    """Whoever read the output has had enough, such as head(1): end without a word, by the signal for that."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)


def _stop_on_signals() -> None:
    """A polite kill or a closed terminal ends a command like Ctrl-C does: whatever is half made is cleaned up."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)


if __name__ == "__main__":
    sys.exit(main())
