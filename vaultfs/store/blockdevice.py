"""How many bytes the kernel brings in for one piece of advice to read ahead: a matter of the disk, told by sysfs."""

import os
from contextlib import suppress
from pathlib import Path

_DEFAULT = 128 << 10  # Linux's read-ahead wherever nobody and no driver set another
_LIMITS = ("read_ahead_kb", "max_sectors_kb")


def advice_limit(device: int) -> int:
    """The most bytes for posix_fadvise(2) on files of a file system with this st_dev; what exceeds them is dropped.

    They are the device's read-ahead or its largest request, whichever is more (force_page_cache_ra in the kernel's
    mm/readahead.c). A file system that is not on one block device gets the default.
    """
    link = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    limits = [_DEFAULT]
    with suppress(OSError, ValueError):
        place = link.resolve(strict=True)
        for queue in (place / "queue", place.parent / "queue"):  # a partition's is that of its disk
            for name in _LIMITS:
                with suppress(FileNotFoundError):
                    limits.append(int((queue / name).read_text(encoding="ascii")) << 10)
    return max(limits)
