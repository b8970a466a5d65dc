"""What a mounted vault is asked through attributes of its top directory: what it tells of itself, and to settle.

The kernel shows a vault that has stopped writing as writable, and does not tell which process serves a mount.
"""

import os

from vaultfs.mount.system import sync_filesystem

SETTLE = b"user.vaultfs.settle"
STOPPED = b"user.vaultfs.stopped"
SERVER = b"user.vaultfs.server"


def why_stopped(mountpoint: str) -> str:
    """Why the vault that is mounted at a path turned read-only; empty if it did not, or does not tell (noxattr)."""
    return _told(mountpoint, STOPPED)


def server_of(mountpoint: str) -> int | None:
    """The id of the process that serves the vault mounted at a path; None if it does not tell, or not to us."""
    process, _, namespace = _told(mountpoint, SERVER).partition(" ")
    return int(process) if process.isdecimal() and namespace == _namespace() else None


def this_server() -> bytes:
    """What `server_of` reads: the calling process's id, and the namespace in which it has that."""
    return f"{os.getpid()} {_namespace()}".encode()


def settle(mountpoint: str) -> None:
    """Have the vault that is mounted at an absolute path settled. Raises OSError (EBUSY if it is written to)."""
    sync_filesystem(mountpoint)
    os.setxattr(mountpoint, SETTLE, b"")


def _namespace() -> str:
    """pid_namespaces(7)."""
    return os.readlink("/proc/self/ns/pid")


def _told(mountpoint: str, name: bytes) -> str:
    try:
        return os.getxattr(mountpoint, name).decode(errors="replace")
    except OSError:
        return ""
