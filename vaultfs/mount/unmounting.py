"""Takes mounts down: from outside for `vaultfs umount`, from inside at a signal, and the remains of dead ones."""

import errno
import os
import select
import shutil
import subprocess
from pathlib import Path

from vaultfs.errors import MountpointUnusable, StoreUnusable, VaultfsError
from vaultfs.mount.asking import server_of, settle, why_stopped
from vaultfs.mount.holders import users_of
from vaultfs.mount.mounttable import Mount, mount_at
from vaultfs.mount.system import umount
from vaultfs.store.holder import this_host
from vaultfs.store.journalfolder import journals_in
from vaultfs.store.lock import holder

_LET_GO = "close that and try again, or give --lazy, and the vault is closed as soon as it is free"

END_TIMEOUT = 60.0  # seconds a daemon may take for its last checkpoint


def unmount(mountpoint: str, *, lazy: bool = False, timeout: float = END_TIMEOUT) -> None:
    """Unmount a vault and wait until its process has written everything and ended.

    `lazy` takes it out of sight at once even if it is in use, and waits for nothing. Raises MountpointUnusable if no
    vault is mounted there or it is in use, VaultfsError if the process has not ended after `timeout` seconds, or if it
    could not write everything; it is unmounted then.
    """
    path = absolute(mountpoint)
    mount = mount_at(path)
    if mount is None or not mount.is_vault:
        raise MountpointUnusable(f"no vault is mounted on {path}; `vaultfs status` lists those that are")
    if lazy:
        _detach_or_explain(path, lazy)
        return
    process = _daemon(mount)
    try:
        # What could not be written can be heard as long as it is mounted: a process that ends tells only its parent.
        problem = _write_what_is_left(mount)
        _detach_or_explain(path, lazy)
        if process is not None and not _ended(process, timeout):
            raise VaultfsError(
                f"{path} is unmounted, but its process is still writing after {timeout:.0f} seconds: leave the store's "
                "disk attached until it ends by itself (`vaultfs info STORE` says who has the vault open)"
            )
    finally:
        if process is not None:
            os.close(process)
    if not problem and process is not None and _left_unclean(mount):
        problem = "the vault could not be closed cleanly"
    if problem:
        raise VaultfsError(
            f"{path} is unmounted, but its last changes may not be in the store: {problem}; see what is there when it "
            "is mounted again"
        )


def _write_what_is_left(mount: Mount) -> str:
    """Have a vault commit everything; why it cannot, or nothing."""
    if mount.read_only:
        return ""
    try:
        settle(mount.path)
    except OSError as error:
        # Others say that it may not be asked, or is no more there to be asked, or written to all the time.
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EROFS):
            return why_stopped(mount.path) or os.strerror(error.errno)
    return ""


def _left_unclean(mount: Mount) -> bool:
    """Whether a store needs a journal that is in it, after its vault was closed."""
    try:
        return not mount.read_only and mount.store is not None and bool(journals_in(Path(mount.store)))
    except OSError:
        return False


def detach(path: str, *, lazy: bool = False) -> None:
    """Unmount by system call or, for an ordinary user, by fusermount3(1). Raises OSError (EBUSY if in use)."""
    if os.geteuid() == 0:
        try:
            umount(path, lazy=lazy)
        except PermissionError:
            _fusermount(path, lazy)
    else:
        _fusermount(path, lazy)


def is_stale(path: str) -> bool:
    """Whether a FUSE mount is there whose process is gone."""
    try:
        os.statvfs(path)  # not stat: that is answered from what the kernel remembers
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def clear_stale(path: str) -> None:
    """Remove what a dead process left mounted. Raises MountpointUnusable."""
    try:
        detach(path, lazy=True)
    except OSError as error:
        raise MountpointUnusable(
            f"{path} is what a vaultfs that died left behind, and could not be unmounted ({error.strerror}): "
            f"whoever had mounted it, or root, can do that with umount --lazy {path}"
        ) from error


def in_use(path: str) -> str:
    """A clause saying who keeps the mount at an absolute path busy."""
    users = users_of(path)
    return f"{path} is in use by {', '.join(map(str, users)) or 'a process of another user'}"


def fusermount() -> str | None:
    """The path of the helper that mounts and unmounts for ordinary users."""
    return shutil.which("fusermount3") or shutil.which("fusermount")


def absolute(path: str) -> str:
    """The path as the mount table has it: links resolved, though nothing behind a dead mount is touched."""
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.realpath(path) if os.path.islink(path) else os.path.join(os.path.realpath(parent), name)


def _detach_or_explain(path: str, lazy: bool) -> None:
    try:
        detach(path, lazy=lazy)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise MountpointUnusable(f"{in_use(path)}: {_LET_GO}") from error
        raise MountpointUnusable(
            f"{path} could not be unmounted ({error.strerror}): only who mounted it, or root, can do that"
        ) from error


def _fusermount(path: str, lazy: bool) -> None:
    program = fusermount()
    if program is None:
        raise OSError(errno.ENOENT, "there is no fusermount3", path)
    command = [program, "-u", *(["-z"] if lazy else []), "--", path]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    if done.returncode != 0:
        code = errno.EBUSY if os.strerror(errno.EBUSY) in done.stderr else errno.EPERM
        raise OSError(code, done.stderr.strip() or os.strerror(code), path)


def _daemon(mount: Mount) -> int | None:
    """A pidfd of the process that serves a mount, if it, or the note in its store's lock, tells (pidfd_open(2))."""
    try:
        process = server_of(mount.path)
        if process is None and mount.store:
            found = holder(Path(mount.store))
            process = found.pid if found is not None and found.host == this_host() else None
        return None if process is None else os.pidfd_open(process)
    except (StoreUnusable, OSError):
        return None


def _ended(process: int, timeout: float) -> bool:
    waiting = select.poll()
    waiting.register(process, select.POLLIN)
    return bool(waiting.poll(timeout * 1000))
