"""Lets the kernel read ahead further than its 128 KiB, where this user may say so."""

import os

_KIB = 1024  # one request then reads as much as FUSE allows in one: 1 MiB


def raise_read_ahead(device: str) -> None:
    """Set the read-ahead of a mount's backing device (`major:minor`) in sysfs; only root may, others keep theirs."""
    knob = f"/sys/class/bdi/{device}/read_ahead_kb"
    if os.access(knob, os.W_OK):
        with open(knob, "w", encoding="ascii") as setting:
            setting.write(str(_KIB))
