"""Lets the kernel read ahead further than its 128 KiB, where this user may say so."""

import os

from vaultfs.mount.mounttable import mount_at

_KIB = 1024  # one request then reads as much as FUSE allows in one: 1 MiB


def raise_read_ahead(mountpoint: str) -> None:
    """Set the read-ahead of the mount's backing device in sysfs; only root may, others keep the default."""
    mount = mount_at(mountpoint)
    knob = f"/sys/class/bdi/{mount.device}/read_ahead_kb" if mount is not None else ""
    if os.access(knob, os.W_OK):
        with open(knob, "w", encoding="ascii") as setting:
            setting.write(str(_KIB))
