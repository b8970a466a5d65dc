"""The man page vaultfs(1), made from the grammar of the command line (groff_man(7))."""

import re
from collections.abc import Iterator, Mapping

from vaultfs.cli.grammar import Argument, Command, Option

_NOTES = (
    (
        "FILES",
        (
            (r"STORE/vaultfs.json\fR, \fBvaultfs.json.backup", "The header: the key slots, and what opens them."),
            (r"~/.local/state/vaultfs/", "The latest state of each vault that this machine has seen."),
            (r"~/.config/vaultfs/NAME.conf", r"The vault that the systemd unit vaultfs@NAME opens."),
        ),
    ),
    (
        "A NEW MASTER KEY",
        (
            (
                "vaultfs rekey",
                "After it, an old header with an old password opens nothing in the store any more. Copies of the store "
                "made before still open with the old key; who has both also reads what is changed later inside the "
                "same files, but no new file and no new name: contents are not encrypted anew. What interrupts it "
                "leaves a vault that opens as ever, and the same command goes on.",
            ),
        ),
    ),
)


def man_page(program: Command, exit_codes: Mapping[int, str], version: str) -> str:
    """The whole page as roff; the same for the same input."""
    lines = [
        f'.TH VAULTFS 1 "" "vaultfs {version}" "User Commands"',
        ".SH NAME",
        rf"vaultfs \- {_text(program.summary[0].lower() + program.summary[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        *(_synopsis(command) for command in program.all() if not command.commands),
        ".SH DESCRIPTION",
        r"A vault is a folder of encrypted files, the store. \fBvaultfs mount\fR shows it as a plain folder, the",
        r"mountpoint, until \fBvaultfs umount\fR closes it.",
        r"\fBvaultfs\fR \fISTORE MOUNTPOINT\fR \fB\-o\fR \fIOPTIONS\fR",
        r"is the same as \fBvaultfs mount\fR, as mount(8) and fstab(5) need it.",
        ".SH OPTIONS OF EVERY COMMAND",
        *_options(program.options),
        ".SH COMMANDS",
        *(line for command in program.all() if not command.commands for line in _command(command, program)),
        ".SH EXIT STATUS",
        *(line for code, meaning in exit_codes.items() for line in (".TP", rf"\fB{code}\fR", _text(meaning))),
    ]
    for title, notes in _NOTES:
        lines += [f".SH {title}", *(line for name, note in notes for line in (".TP", rf"\fB{name}\fR", note))]
    lines += [".SH SEE ALSO", ".BR mount (8),", ".BR fstab (5),", ".BR fusermount3 (1),", ".BR systemd.service (5)"]
    return "\n".join(lines) + "\n"


def _synopsis(command: Command) -> str:
    return f".br\n{_usage(command)}"


def _usage(command: Command) -> str:
    words = " ".join(("vaultfs", *command.words))
    arguments = " ".join(_place(argument) for argument in command.arguments)
    return rf"\fB{_text(words)}\fR [\fIoptions\fR] {arguments}".rstrip()


def _place(argument: Argument) -> str:
    name = rf"\fI{_text(argument.name)}\fR" + (" ..." if argument.repeated else "")
    return f"[{name}]" if argument.optional else name


def _command(command: Command, program: Command) -> Iterator[str]:
    yield f".SS {_text(' '.join(command.words))}"
    yield _usage(command)
    yield ".PP"
    yield _text(command.summary)
    for argument in command.arguments:
        yield from (".TP", rf"\fI{_text(argument.name)}\fR", _text(_sentence(argument.help)))
    yield from _options(option for option in command.options if option not in program.options)


def _options(options: "Iterator[Option] | tuple[Option, ...]") -> Iterator[str]:
    for option in options:
        value = rf" \fI{_text(option.value)}\fR" if option.value else ""
        flags = ", ".join(rf"\fB{_text(flag)}\fR{value}" for flag in option.flags)
        yield from (".TP", flags, _text(_sentence(option.help)))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…")) else ".") if text else ""


def _text(text: str) -> str:
    r"""Plain text as roff: hyphens that are typed, no control lines, and signs that any terminal can show."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...").replace("×", r"\(mu")
    return re.sub(r"^([.'])", r"\\&\1", re.sub(r"\s+", " ", escaped))
