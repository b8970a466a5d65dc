"""Tells what an earlier import left under a name: the whole copy of an entry, or the beginning of one."""

import stat

from vaultfs.cli.filedata import PIECE
from vaultfs.cli.source import Source
from vaultfs.cli.sourcefile import SourceFile
from vaultfs.errors import Damaged
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode


def mode_while_copied(mode: int) -> int:
    """The mode an entry's copy has until it is whole; a link's says nothing."""
    return stat.S_IFMT(mode) | (0o777 if stat.S_ISLNK(mode) else 0o600)


def target_of(source: Source) -> bytes:
    """What a symbolic link points to; b"" of anything else."""
    return source.target() if stat.S_ISLNK(source.status.st_mode) else b""


def device_of(mode: int, device: int) -> int:
    """The number of a device, as st_rdev; 0 of anything else."""
    return device if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else 0


def facts(source: Source, inode: Inode) -> list[tuple[str, object, object]]:
    """(what, as the source has it, as its copy has it) of all that stat(2) and readlink(2) tell and a copy keeps."""
    status = source.status
    found: list[tuple[str, object, object]] = [
        ("type or mode", status.st_mode, inode.mode),
        ("owner", (status.st_uid, status.st_gid), (inode.uid, inode.gid)),
        ("modification time", status.st_mtime_ns, inode.mtime),
    ]
    if not stat.S_ISDIR(status.st_mode):
        found.append(("size", status.st_size, inode.size))
    if stat.S_ISLNK(status.st_mode):
        found.append(("target", source.target(), inode.target))
    elif status.st_rdev:
        found.append(("device", status.st_rdev, inode.rdev))
    return found


def is_copy(source: Source, inode: Inode) -> bool:
    """Whether an inode is what an import makes of an entry, as far as that can be told without reading content.

    The time comes last: a copy that has the source's has all else.
    """
    return all(wanted == found for _, wanted, found in facts(source, inode))


def is_begun(inline: Inline, source: Source, inode: Inode) -> bool:
    """Whether an inode looks like a copy that was cut short, and has nothing that its source does not have.

    Either the import ended before it gave the copy its mode and times, and nobody else has; or the power failed, and
    the last bytes had not reached the disk (`vault/recovery.py`).
    """
    status = source.status
    is_raw = inode.mode == mode_while_copied(status.st_mode) and inode.atime == inode.birthtime
    is_dressed = (inode.mode, inode.mtime) == (status.st_mode, status.st_mtime_ns) and inode.size < status.st_size
    return (
        (is_raw or is_dressed)
        and inode.nlink <= status.st_nlink
        and target_of(source) == inode.target
        and device_of(status.st_mode, status.st_rdev) == inode.rdev
        and inode.xattrs.items() <= source.xattrs().items()
        and (not stat.S_ISREG(inode.mode) or _begins(inline, source, inode))
    )


def _begins(inline: Inline, source: Source, inode: Inode) -> bool:
    """Whether a file's content is how its source begins."""
    try:
        with SourceFile(source) as file:
            return all(
                file.read(offset, size) == inline.read(inode.id, offset, size)
                for offset in range(0, inode.size, PIECE)
                if (size := min(PIECE, inode.size - offset))
            )
    except Damaged:
        return False
