"""`vaultfs mount STORE MOUNTPOINT`: open a vault and serve it, in the background unless told otherwise."""

import argparse
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import expectations, opening, passwords, upkeep
from vaultfs.cli.meanwhile import imported_meanwhile
from vaultfs.cli.mountoptions import MountRequest, apply, parse_time
from vaultfs.cli.output import Output
from vaultfs.errors import FuseUnavailable, WriteFailed

if TYPE_CHECKING:
    from vaultfs.keys.header import Unlocked
    from vaultfs.mount.options import MountOptions

# Unlocking needs this, which is imported while there is one thread; then serving needs these, a third of a second of
# imports, which is as long as the password takes.
_UNLOCKING = "vaultfs.crypto.pycryptodome"
_SERVING = ("vaultfs.crypto.aead_openssl", "vaultfs.mount.session", "vaultfs.mount.daemon")
SUMMARY = "Open a vault as a directory."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mount`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="the folder in which the vault appears")
    passwords.add_arguments(parser)
    parser.add_argument("-f", "--foreground", action="store_true", help="stay until it is unmounted; Ctrl-C unmounts")
    parser.add_argument("--read-only", action="store_true", help="change nothing in the store")
    parser.add_argument("--allow-other", action="store_true", help="let other users in, as far as permissions go")
    parser.add_argument(
        "--idle", metavar="TIME", type=parse_time, help="unmount after TIME without use, such as 90s, 15m or 2h"
    )
    parser.add_argument(
        "-o",
        metavar="OPTIONS",
        dest="options",
        action="append",
        default=[],
        help="a comma list as mount(8) takes it: ro, allow_other, noxattr, idle=TIME, passfile=FILE, extpass=CMD, "
        "keyfile=FILE, journal_dir=DIR, cipher_backend=NAME, fsname=NAME, nosuid, nodev, noexec, noatime, …",
    )
    parser.add_argument(
        "--journal-dir",
        metavar="DIR",
        help="keep the journal, the busiest part of a store, in DIR and not in the store, which a sync client carries; "
        "after a crash the vault opens only with the same DIR",
    )
    parser.add_argument(
        "--accept-rollback", action="store_true", help="open a store that is older than this machine last saw it"
    )
    parser.add_argument(
        "--anchor", metavar="FILE|TEXT", help="refuse a store older than this anchor from `vaultfs info --anchor`"
    )
    parser.add_argument(
        "--accept-damage", action="store_true", help="open although synced changes since the last checkpoint are broken"
    )
    parser.add_argument(
        "--cipher-backend",
        choices=("openssl", "pycryptodome"),
        help="the library that encrypts content; both write the same bytes (default: openssl, the faster)",
    )
    expectations.add_arguments(parser)


def run(args: argparse.Namespace, out: Output) -> None:
    """Check everything that can be checked, ask for the password, then serve."""
    from vaultfs.cli.anchors import take_anchor
    from vaultfs.mount.hardening import harden
    from vaultfs.mount.mountpoint import hides_something, prepare_mountpoint
    from vaultfs.mount.remounting import remount

    request = _request(args)
    if request.remount:
        remount(args.mountpoint, ["ro" if request.read_only else "rw", *request.kernel])
        return
    source = passwords.PasswordSource(
        tuple(request.passfiles), request.extpass, request.keyfile, args.recovery_key, args.from_shares
    )
    path = opening.store_path(args.store)
    mountpoint = prepare_mountpoint(args.mountpoint, str(path), allow_other=request.allow_other)
    if hides_something(mountpoint):
        out.warn(f"{mountpoint} is not empty. What is in it is not in the vault, and hidden while that is open.")
    loaded = opening.load_header(path, out)
    expectations.check_id(args, loaded.header.vault_id)
    opening.refuse_if_open(path, write=not request.read_only)
    import_module(_UNLOCKING)
    with imported_meanwhile(*_SERVING):
        unlocked = opening.unlock(loaded, source, out)
    if args.anchor is not None:
        take_anchor(args.anchor, unlocked.header.vault_id)
    harden()
    expectations.check_owner(args, unlocked)
    upkeep.remind_of_drill(path, unlocked.header, out)
    if not request.read_only:
        upkeep.offer_rebuild(path, loaded, unlocked, out)

    choices = opening.Choices(
        request.read_only, args.accept_rollback, args.accept_damage, request.cipher_backend, _journal_dir(request)
    )
    options = _mount_options(request, path)

    def work(on_ready: Callable[[], None]) -> None:
        _serve(path, unlocked, choices, mountpoint, options, on_ready, out)

    hint = f"To close it: vaultfs umount {shlex.quote(mountpoint)}"
    if args.foreground:
        work(lambda: out.say(f"{path} is open on {mountpoint}. {hint}, or Ctrl-C"))
        return
    from vaultfs.mount.daemon import leave, run_in_background

    run_in_background(work)
    out.say(f"{path} is open on {mountpoint}. {hint}")
    leave()


def _serve(
    path: Path,
    unlocked: "Unlocked",
    choices: opening.Choices,
    mountpoint: str,
    options: "MountOptions",
    on_ready: Callable[[], None],
    out: Output,
) -> None:
    """The whole life of a mount, in the process that serves it: the lock's note names that one."""
    try:
        from vaultfs.mount.session import serve
    except ImportError as error:
        if (error.name or "").startswith("vaultfs"):
            raise
        raise FuseUnavailable(f"The library that speaks to the kernel cannot be loaded: {error}.") from error
    unlocked.keys.lock()  # here, because a fork(2) undoes it; where it is not permitted, swap has to be encrypted
    with opening.opened(path, unlocked, choices, out) as vault:
        serve(vault, mountpoint, options, on_ready)
        if vault.read_only and not choices.read_only:
            raise WriteFailed(
                f"The vault in {path} is closed, but its last changes may not be in the store: "
                f"{vault.read_only_reason}; see what is there when it is mounted again"
            )


def _request(args: argparse.Namespace) -> MountRequest:
    """What `-o` says, and over it what the options of their own say."""
    request = MountRequest()
    for text in args.options:
        apply(request, text)
    request.read_only |= args.read_only
    request.allow_other |= args.allow_other
    request.idle = request.idle if args.idle is None else args.idle
    request.cipher_backend = args.cipher_backend or request.cipher_backend
    if args.passfile or args.extpass is not None:
        request.passfiles, request.extpass = args.passfile, args.extpass
    request.journal_dir = args.journal_dir if args.journal_dir is not None else request.journal_dir
    request.keyfile = args.keyfile if args.keyfile is not None else request.keyfile
    return request


def _journal_dir(request: MountRequest) -> Path | None:
    # A mount goes on in `/`, so the folder is made absolute now.
    return None if request.journal_dir is None else Path(request.journal_dir).absolute()


def _mount_options(request: MountRequest, path: Path) -> "MountOptions":
    from vaultfs.mount.options import MountOptions

    return MountOptions(
        store_description=str(path),
        read_only=request.read_only,
        allow_other=request.allow_other,
        idle_seconds=request.idle or None,
        noxattr=not request.xattr,
        extra=(*request.kernel, *((f"fsname={request.fsname}",) if request.fsname else ())),
    )
