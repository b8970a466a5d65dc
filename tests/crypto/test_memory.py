"""Locking and overwriting secrets in memory, seen from the outside."""

import os
import re
from pathlib import Path

from vaultfs.crypto.memory import lock, wipe


def test_wiping_overwrites_the_object_itself() -> None:
    secret = os.urandom(32)
    alias = secret
    wipe(secret)
    assert alias == bytes(32)
    wipe(b"")
    one = bytes([65])
    wipe(one)
    assert one == b"A"


def test_locked_pages_are_counted_by_the_kernel() -> None:
    def locked() -> int:
        found = re.search(r"VmLck:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        assert found
        return int(found[1])

    before = locked()
    secret = os.urandom(1 << 16)
    assert lock(secret)  # 64 KiB is what any user may lock
    assert locked() >= before + 64
    assert not lock(b"")
