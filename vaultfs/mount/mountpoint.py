"""Checks, before anything is opened or forked, that a vault can be mounted at a place."""

import contextlib
import errno
import os
import shlex
import stat
from importlib.util import find_spec

from vaultfs.errors import FuseUnavailable, MountpointUnusable
from vaultfs.mount.mounttable import Mount, mount_at
from vaultfs.mount.unmounting import absolute, clear_stale, fusermount, is_stale

_DEVICE = "/dev/fuse"
_CONFIGURATION = "/etc/fuse.conf"
_LIBRARIES = ("pyfuse3", "trio")


def prepare_mountpoint(mountpoint: str, store: str, *, allow_other: bool = False) -> str:
    """The mountpoint's absolute path, once everything a mount needs is there.

    What a dead process left mounted there is cleared. A folder that is not empty will do: its content is hidden
    while the vault is mounted. Raises MountpointUnusable, FuseUnavailable.
    """
    check_fuse(allow_other=allow_other)
    path = absolute(mountpoint)
    if _in_the_way(path) is not None and is_stale(path):
        clear_stale(path)
    _check_folder(path)
    mount = _in_the_way(path)
    if mount is not None:
        raise MountpointUnusable(
            f"{path} is a mountpoint already, of {mount.source} ({mount.filesystem}): unmount that first, "
            "or choose another folder"
        )
    _check_apart(path, os.path.realpath(store))
    return path


def hides_something(path: str) -> bool:
    """Whether a folder, where nothing is mounted, holds what a mount would hide, other than how a desktop shows it."""
    with contextlib.suppress(OSError):  # it may be mounted on and not be listed
        return mount_at(path) is None and any(name != ".directory" for name in os.listdir(path))
    return False


def _in_the_way(path: str) -> Mount | None:
    """What is mounted there; not an automount, which is not looked into: it waits for the mount being made here."""
    mount = mount_at(path)
    return None if mount is None or mount.is_automount else mount


def check_fuse(*, allow_other: bool = False) -> None:
    """Raise FuseUnavailable if this user cannot mount anything through FUSE here."""
    for library in _LIBRARIES:
        if find_spec(library) is None:
            raise FuseUnavailable(
                f"mounting needs the Python library {library}, which is not installed here: pip install "
                "'vaultfs[mount]'; without it, ls, cat, export, import and check read and write a vault just as well"
            )
    if not os.path.exists(_DEVICE):
        raise FuseUnavailable(f"there is no {_DEVICE}: load the kernel's fuse module, or give the container the device")
    if os.geteuid() == 0:
        return
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise FuseUnavailable(
            f"this user may not use {_DEVICE}: an administrator can allow it to everybody, as is usual, with chmod 666"
        )
    if fusermount() is None:
        raise FuseUnavailable("there is no fusermount3, which mounts for ordinary users: install the package fuse3")
    if allow_other and not _user_allow_other():
        raise FuseUnavailable(f"allow_other needs the line user_allow_other in {_CONFIGURATION}")


def _check_folder(path: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        hint = f"; make it with: mkdir {shlex.quote(path)}" if error.errno == errno.ENOENT else ""
        raise MountpointUnusable(f"the mountpoint {path} cannot be used: {error.strerror}{hint}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise MountpointUnusable(
            f"the mountpoint {path} is not a folder: name an empty one, in which the vault shall appear"
        )
    if os.geteuid() != 0 and not os.access(path, os.W_OK):
        raise MountpointUnusable(f"the mountpoint {path} is not writable, which fusermount3 asks for")


def _check_apart(path: str, store: str) -> None:
    common = os.path.commonpath([path, store])
    if common == path:
        raise MountpointUnusable(f"the mountpoint {path} would hide the store {store}: choose a folder beside it")
    if common == store:
        raise MountpointUnusable(f"the mountpoint {path} is inside the store {store}: choose a folder beside it")


def _user_allow_other() -> bool:
    try:
        with open(_CONFIGURATION, encoding="utf-8", errors="replace") as configuration:
            return any(line.strip() == "user_allow_other" for line in configuration)
    except OSError:
        return False
