"""Counts how often a disk was told to make durable what it has: who syncs without that has synced nothing."""

import os
from pathlib import Path

# Fields of /sys/…/stat, from 0: flush requests completed (Linux, Documentation/block/stat.rst).
_FLUSHES = 15


def flushes(folder: Path) -> int | None:
    """Flush requests so far of the block device under a folder; None where there is none, or it does not tell."""
    device = os.stat(folder).st_dev
    try:
        fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
        return int(fields[_FLUSHES])
    except (OSError, IndexError):
        return None
