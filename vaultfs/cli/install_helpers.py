"""`vaultfs install-helpers`: put the man page, completions, systemd unit and mount(8) helper where they belong.

Every file says who made it, in a line or by being a link to vaultfs; a file that does not is somebody else's, and
is neither replaced nor removed.
"""

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from vaultfs.cli.output import Output
from vaultfs.errors import UsageError, VaultfsError

SUMMARY = "Install the man page, shell completions, systemd unit, and what mount(8) and SiriKali need."

_MARK = "made by vaultfs install-helpers"
_MOUNT_HELPER = "mount.fuse.vaultfs"


class Helper(NamedTuple):
    """A file to install: what it holds, or `target`, which it links to."""

    path: Path
    content: str = ""
    target: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `install-helpers`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for this user, below the home folder (the default)")
    where.add_argument(
        "--system", action="store_true", help="for all users, below --prefix; also what mount(8) and fstab need"
    )
    parser.add_argument("--remove", action="store_true", help="remove what was installed")
    parser.add_argument(
        "--prefix", metavar="DIR", type=Path, default=Path("/usr/local"), help="with --system (default: %(default)s)"
    )
    parser.add_argument(
        "--root", metavar="DIR", type=Path, default=Path("/"), help="put everything below DIR, to make a package"
    )
    parser.add_argument("--program", metavar="FILE", type=Path, help="the installed vaultfs, if it is not this one")


def run(args: argparse.Namespace, out: Output) -> None:
    """Install or remove; nothing is changed if a file of somebody else is in the way."""
    helpers = _helpers(args, _program(args.program))
    below = args.root / "." if args.system else Path("/")
    helpers = [helper._replace(path=below / helper.path.relative_to("/")) for helper in helpers]
    foreign = [helper.path for helper in helpers if os.path.lexists(helper.path) and not _is_ours(helper.path)]
    if args.remove:
        _each(_remove, [helper for helper in helpers if helper.path not in foreign], out)
    elif foreign:
        raise VaultfsError(
            f"{foreign[0]} was not made by vaultfs and is in the way; nothing was changed: move it away and try again."
        )
    else:
        _each(_install, helpers, out)
        if not args.system and not _is_man_told():
            out.note("man(1) finds the page when ~/.local/bin is in $PATH.")


def _is_man_told() -> bool:
    """Whether man(1), which looks beside the folders of $PATH, finds a page below ~/.local/share."""
    local = os.path.expanduser("~/.local")
    return not {f"{local}/bin", f"{local}/sbin"}.isdisjoint(os.environ.get("PATH", "").split(os.pathsep))


def _each(do: Callable[[Helper], bool], helpers: list[Helper], out: Output) -> None:
    for helper in helpers:
        try:
            if do(helper):
                out.say(str(helper.path))
        except PermissionError as error:
            raise VaultfsError(f"{helper.path} may not be changed by this user: use sudo, or --user.") from error


def _install(helper: Helper) -> bool:
    helper.path.parent.mkdir(parents=True, exist_ok=True)
    helper.path.unlink(missing_ok=True)
    if helper.target is not None:
        helper.path.symlink_to(helper.target)
    else:
        helper.path.write_text(helper.content, encoding="utf-8")
    return True


def _remove(helper: Helper) -> bool:
    if not os.path.lexists(helper.path):
        return False
    helper.path.unlink()
    for folder in list(helper.path.parents)[:2]:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if it is empty
    return True


def _is_ours(path: Path) -> bool:
    if path.is_symlink():
        return os.readlink(path).endswith(f"/{_MOUNT_HELPER}")
    try:
        return _MARK in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _program(given: Path | None) -> Path:
    """The installed vaultfs: the one that runs, or the one beside this Python, or the one in $PATH."""
    if given is not None:
        return given
    beside = Path(sys.executable).with_name("vaultfs")
    found = [Path(sys.argv[0]).absolute(), beside, Path(shutil.which("vaultfs") or "")]
    program = next((path for path in found if path.name == "vaultfs" and path.is_file()), None)
    if program is None:
        raise UsageError("No installed vaultfs was found: install it with pip or pipx, or name it with --program.")
    return program


def _helpers(args: argparse.Namespace, program: Path) -> list[Helper]:
    if args.system:
        prefix: Path = args.prefix
        share, units = prefix / "share", [prefix / "lib/systemd" / kind for kind in ("user", "system")]
        zsh, fish = share / "zsh/site-functions", share / "fish/vendor_completions.d"
        mount = Path("/usr/sbin") / _MOUNT_HELPER
        extra = [Helper(mount, target=program.with_name(_MOUNT_HELPER))]
        sirikali = share / "SiriKali/backends"
    else:
        share = _folder("XDG_DATA_HOME", ".local/share")
        config = _folder("XDG_CONFIG_HOME", ".config")
        units, zsh, fish = [config / "systemd/user"], share / "zsh/site-functions", config / "fish/completions"
        extra, sirikali = [], config / "SiriKali/backends"
    return [*extra, *_contents(program, share, units, zsh, fish, sirikali)]


def _contents(program: Path, share: Path, units: list[Path], zsh: Path, fish: Path, sirikali: Path) -> list[Helper]:
    from vaultfs import __version__
    from vaultfs.cli import completions, grammar, main, manpage

    whole = grammar.read(main.parser())
    page = manpage.man_page(whole, main.exit_codes(), __version__)
    data = files("vaultfs.cli") / "data"
    unit = (data / "vaultfs@.service").read_text(encoding="utf-8").replace("@VAULTFS@", str(program))
    backend = (data / "sirikali.json").read_text(encoding="utf-8").replace("{\n", f'{{\n  "comment": "{_MARK}",\n', 1)
    return [
        Helper(share / "man/man1/vaultfs.1", f'.\\" {_MARK}\n{page}'),
        Helper(share / "bash-completion/completions/vaultfs", f"# {_MARK}\n{completions.bash(whole)}"),
        # zsh looks for #compdef in the first line.
        Helper(zsh / "_vaultfs", completions.zsh(whole).replace("\n", f"\n# {_MARK}\n", 1)),
        Helper(fish / "vaultfs.fish", f"# {_MARK}\n{completions.fish(whole)}"),
        *(Helper(folder / "vaultfs@.service", f"# {_MARK}\n{unit}") for folder in units),
        Helper(sirikali / "vaultfs.json", backend),
    ]


def _folder(variable: str, default: str) -> Path:
    """A folder of the XDG Base Directory Specification."""
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else Path.home() / default
