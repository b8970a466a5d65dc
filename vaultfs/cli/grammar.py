"""The commands, options and arguments of the command line as plain data, read from the parser itself.

The man page and the completions are made of it, so that they cannot say anything else than `--help` does.
"""

import argparse
from dataclasses import dataclass

# Options and arguments whose values are files or folders are known by what the help calls them.
_PATHS = {"STORE", "MOUNTPOINT", "FILE", "DIR", "FOLDER", "PATH", "DESTINATION", "SOURCE"}


@dataclass(frozen=True, slots=True)
class Option:
    """`flags` as they are typed; `value` is what the help calls its value, empty if it takes none."""

    flags: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    help: str

    @property
    def is_path(self) -> bool:
        """Whether the value is a file or folder."""
        return self.value in _PATHS


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument."""

    name: str
    choices: tuple[str, ...]
    help: str
    optional: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class Command:
    """`words` lead to it (`("key", "add")`; none for the program itself)."""

    words: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    commands: tuple["Command", ...]

    def all(self) -> list["Command"]:
        """This command and all below it, parents first."""
        return [self, *(found for command in self.commands for found in command.all())]


def read(parser: argparse.ArgumentParser, words: tuple[str, ...] = (), summary: str = "") -> Command:
    """The grammar of a parser. Hidden options are left out."""
    options: list[Option] = []
    arguments: list[Argument] = []
    commands: list[Command] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands += [
                read(sub, (*words, name), summaries.get(name, "")) for name, sub in action.choices.items()
            ]
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            options.append(_option(parser, action))
        else:
            arguments.append(_argument(parser, action))
    return Command(words, summary or parser.description or "", tuple(options), tuple(arguments), tuple(commands))


def _option(parser: argparse.ArgumentParser, action: argparse.Action) -> Option:
    value = "" if action.nargs == 0 else _metavar(action)
    return Option(tuple(action.option_strings), value, _choices(action), _help(parser, action))


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    return Argument(
        _metavar(action),
        _choices(action),
        _help(parser, action),
        optional=action.nargs in ("?", "*"),
        repeated=action.nargs in ("*", "+"),
    )


def _metavar(action: argparse.Action) -> str:
    return action.metavar if isinstance(action.metavar, str) else action.dest.upper()


def _choices(action: argparse.Action) -> tuple[str, ...]:
    return tuple(map(str, action.choices or ()))


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""
