"""Keeps the keys of a mounted vault out of core dumps and out of other processes' reach."""

import resource

from vaultfs.mount.system import forbid_dumping


def harden() -> None:
    """No core file, not dumpable (prctl(2), PR_SET_DUMPABLE). Raises OSError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    forbid_dumping()
