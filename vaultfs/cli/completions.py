"""Completions for bash, zsh and fish, made from the grammar of the command line."""

import shlex

from vaultfs.cli.grammar import Command, Option


def bash(program: Command) -> str:
    """A file for bash-completion's `completions` folder."""
    commands = program.all()
    deeper = [" ".join(command.words) for command in commands if command.words]
    values = [(command, option) for command in commands for option in command.options if option.value]
    return "\n".join(
        [
            "_vaultfs() {",
            "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path= index",
            "    for ((index = 1; index < COMP_CWORD; index++)); do",
            '        case "${path:+$path }${COMP_WORDS[index]}" in',
            f"            {'|'.join(map(shlex.quote, deeper))}) path=${{path:+$path }}${{COMP_WORDS[index]}} ;;",
            "        esac",
            "    done",
            '    case "$path:$before" in',
            *(_bash_value(command, option) for command, option in values if option.choices or not option.is_path),
            *(_bash_value(command, option) for command, option in values if option.is_path and not option.choices),
            "    esac",
            "    local words=",
            '    case "$path" in',
            *(
                f"        {shlex.quote(' '.join(command.words))}) words={shlex.quote(' '.join(_words(command)))} ;;"
                for command in commands
            ),
            "    esac",
            f"    if [[ $word == -* || {_bash_parents(commands)} ]]; then",
            '        COMPREPLY=($(compgen -W "$words" -- "$word"))',
            "    else",
            "        compopt -o filenames 2>/dev/null",
            '        mapfile -t COMPREPLY < <(compgen -f -- "$word")',
            "    fi",
            "}",
            "complete -F _vaultfs vaultfs",
            "",
        ]
    )


def _bash_value(command: Command, option: Option) -> str:
    patterns = "|".join(shlex.quote(f"{' '.join(command.words)}:{flag}") for flag in option.flags)
    if option.choices:
        action = f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(option.choices))} -- "$word"))'
    elif option.is_path:
        action = 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word")'
    else:
        action = "COMPREPLY=()"
    return f"        {patterns}) {action}; return ;;"


def _bash_parents(commands: list[Command]) -> str:
    return " || ".join(f"$path == {shlex.quote(' '.join(found.words))}" for found in commands if found.commands)


def _words(command: Command) -> list[str]:
    below = [found.words[-1] for found in command.commands]
    return below + [flag for option in command.options for flag in option.flags]


def fish(program: Command) -> str:
    """A file for fish's `vendor_completions.d` folder."""
    lines = ["complete -c vaultfs -n __fish_use_subcommand -f"]
    for command in program.all():
        condition = _fish_condition(command)
        for below in command.commands:
            lines.append(f"complete -c vaultfs {condition} -f -a {below.words[-1]} -d {_fish(below.summary)}")
        lines += [f"complete -c vaultfs {condition} {_fish_option(option)}" for option in command.options]
    return "\n".join(lines) + "\n"


def _fish_condition(command: Command) -> str:
    if not command.words:
        return "-n __fish_use_subcommand"
    parts = [f"__fish_seen_subcommand_from {word}" for word in command.words]
    if command.commands:
        parts.append(f"not __fish_seen_subcommand_from {' '.join(found.words[-1] for found in command.commands)}")
    return f"-n {_fish('; and '.join(parts))}"


def _fish_option(option: Option) -> str:
    flags = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    value = ["-x -a " + _fish(" ".join(option.choices))] if option.choices else []
    if option.value and not option.choices:
        value = ["-r -F" if option.is_path else "-x"]
    return " ".join([*flags, *value, "-d", _fish(option.help)])


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def zsh(program: Command) -> str:
    """A file `_vaultfs` for a folder of $fpath."""
    lines = ["#compdef vaultfs", ""]
    for command in program.all():
        lines += [*_zsh_function(command), ""]
    return "\n".join([*lines, '_vaultfs "$@"', ""])


def _zsh_function(command: Command) -> list[str]:
    specs = [spec for option in command.options for spec in _zsh_options(option)]
    lines = [f"{_zsh_name(command)}() {{"]
    if not command.commands:
        places = [_zsh_place(argument.name, argument.choices, argument.repeated) for argument in command.arguments]
        words = [*specs, *places]
        return [*lines, "    _arguments -s \\", *(f"        {word} \\" for word in words), "        && return", "}"]
    choices = " ".join(shlex.quote(f"{found.words[-1]}:{found.summary}") for found in command.commands)
    return [
        *lines,
        "    local context state state_descr line curcontext=$curcontext",
        "    typeset -A opt_args",
        "    _arguments -s -C \\",
        *(f"        {spec} \\" for spec in specs),
        "        '1: :->command' '*:: :->rest' && return",
        "    case $state in",
        f"        command) local -a found=({choices}); _describe command found ;;",
        "        rest)",
        "            case $words[1] in",
        *(f"                {found.words[-1]}) {_zsh_name(found)} ;;" for found in command.commands),
        "            esac ;;",
        "    esac",
        "}",
    ]


def _zsh_name(command: Command) -> str:
    return "_".join(("_vaultfs", *(word.replace("-", "_") for word in command.words)))


def _zsh_options(option: Option) -> list[str]:
    text = _zsh_text(option.help)
    value = ""
    if option.value:
        value = f":{_zsh_text(option.value)}:" + (f"({' '.join(option.choices)})" if option.choices else "")
        value += "_files" if option.is_path and not option.choices else ""
    return [shlex.quote(f"{flag}[{text}]{value}") for flag in option.flags]


def _zsh_place(name: str, choices: tuple[str, ...], repeated: bool) -> str:
    what = f"({' '.join(choices)})" if choices else "_files"
    return shlex.quote(f"{'*' if repeated else ''}:{_zsh_text(name)}:{what}")


def _zsh_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
