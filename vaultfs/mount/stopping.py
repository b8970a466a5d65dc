"""Tells why a mounted vault has stopped writing: whoever wants to know reads an attribute of its top directory.

The kernel shows such a mount as writable, and programs get errors that say no more than that.
"""

import os

STOPPED = b"user.vaultfs.stopped"


def why_stopped(mountpoint: str) -> str:
    """Why the vault that is mounted at a path turned read-only; empty if it did not, or does not tell (noxattr)."""
    try:
        return os.getxattr(mountpoint, STOPPED).decode()
    except OSError:
        return ""
