"""Reads the kernel's table of mounts (proc(5), /proc/PID/mountinfo)."""

import os
import re
from dataclasses import dataclass

from vaultfs.mount.options import SOURCE_PREFIX, SUBTYPE

_TABLE = "/proc/self/mountinfo"
_ESCAPE = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the table; `device` is `major:minor`, `source` what mount(8) shows first."""

    path: str
    device: str
    filesystem: str
    source: str
    read_only: bool

    @property
    def is_vault(self) -> bool:
        """Whether vaultfs serves it."""
        return self.filesystem == f"fuse.{SUBTYPE}" or self.source.startswith(SOURCE_PREFIX)

    @property
    def is_automount(self) -> bool:
        """Whether it waits for somebody to look, and has the real one mounted on top then (autofs)."""
        return self.filesystem == "autofs"

    @property
    def store(self) -> str | None:
        """The path of the vault's store, if the source tells it."""
        return self.source.removeprefix(SOURCE_PREFIX) if self.source.startswith(SOURCE_PREFIX) else None


def all_mounts() -> list[Mount]:
    """What is mounted in this namespace, later mounts last. Raises OSError."""
    with open(_TABLE, "rb") as table:
        return [_parse(line) for line in table]


def mounts() -> list[Mount]:
    """The mounted vaults."""
    return [mount for mount in all_mounts() if mount.is_vault]


def mount_of_store(store: str | os.PathLike[str]) -> Mount | None:
    """Where the vault in a store is mounted."""
    real = os.path.realpath(store)
    return next((mount for mount in mounts() if mount.store and os.path.realpath(mount.store) == real), None)


def mount_at(path: str) -> Mount | None:
    """What is mounted on exactly this absolute path; the topmost if several are."""
    return next((mount for mount in reversed(all_mounts()) if mount.path == path), None)


def _parse(line: bytes) -> Mount:
    left, right = line.split(b" - ", 1)
    fields, (filesystem, source, options) = left.split(), right.split(b" ")[:3]
    flags = fields[5].split(b",") + options.strip().split(b",")
    return Mount(_text(fields[4]), _text(fields[2]), _text(filesystem), _text(source), b"ro" in flags)


def _text(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field))
