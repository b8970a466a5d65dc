"""Writes a tree of an open vault as a tar archive, in the pax format (POSIX.1-2001) with GNU's sparse files 1.0.

Extended attributes go into SCHILY.xattr records, which GNU tar, bsdtar and star read; times keep their nanoseconds.
"""

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from vaultfs.cli.filedata import PIECE, Pieces
from vaultfs.cli.vaultpaths import shown, shown_name
from vaultfs.cli.walking import Step
from vaultfs.errors import Damaged
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode

_TYPES = {
    stat.S_IFREG: tarfile.REGTYPE,
    stat.S_IFDIR: tarfile.DIRTYPE,
    stat.S_IFLNK: tarfile.SYMTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
}


class TarExporter:
    """Writes to a stream. `failures` are sentences about what could not be read; zeros stand for lost bytes.

    `pieces` gives (offset, bytes) of a file's data.
    """

    def __init__(self, inline: Inline, pieces: Pieces, stream: BinaryIO, progress: Callable[[int], None]) -> None:
        self._inline = inline
        self._pieces = pieces
        # Closed by `export`, which writes the end that a broken archive must not have.
        self._tar = tarfile.TarFile(
            fileobj=_Target(stream), mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape",
            copybufsize=PIECE,
        )  # fmt: skip
        self._progress = progress
        self._linked: dict[int, str] = {}
        # Sentences about what could not be read of hard-linked files.
        self._losses: dict[int, list[str]] = {}
        self.failures: list[str] = []
        self.files = 0
        self.copied = 0

    def export(self, steps: Iterable[Step], name: bytes) -> None:
        """Write what a walk comes to, the start of it as `name`; then the archive's end."""
        for step in steps:
            if step.inode is None:
                self.failures.append(f"{shown(step.path)}: {step.damage}")
            elif not step.leaving:
                self._add(step.path or name, step.inode)
        self._tar.close()

    def _add(self, path: bytes, inode: Inode) -> None:
        kind = _TYPES.get(stat.S_IFMT(inode.mode))
        if kind is None:
            self.failures.append(f"{shown(path)}: a tar archive cannot hold a socket")
            return
        self.files += 1
        info = _described(path, inode, kind)
        if inode.nlink > 1 and kind != tarfile.DIRTYPE:
            first = self._linked.setdefault(inode.id, info.name)
            if first != info.name:
                info.type, info.linkname, info.pax_headers = tarfile.LNKTYPE, first, {}
                self._tar.addfile(info)
                self.failures += [f"{shown(path)}: {loss}" for loss in self._losses.get(inode.id, [])]
                return
        for name in inode.xattrs:
            if _keyword(name) is None:
                self.failures.append(f"{shown(path)}: a tar archive cannot hold its attribute {shown_name(name)}")
        if kind == tarfile.REGTYPE:
            self._add_file(path, info, inode)
        else:
            self._tar.addfile(info)

    def _add_file(self, path: bytes, info: tarfile.TarInfo, inode: Inode) -> None:
        def lost(start: int, end: int, cause: str) -> None:
            loss = f"bytes {start} to {end} are lost, zeros in their place: {cause}"
            self.failures.append(f"{shown(path)}: {loss}")
            if inode.nlink > 1:
                self._losses.setdefault(inode.id, []).append(loss)

        ranges = self._ranges(inode)
        content = _filled(self._pieces(inode, lost), ranges, self._count)
        if sum(end - start for start, end in ranges) == inode.size:
            info.size = inode.size
            self._tar.addfile(info, _Stream(content))
            return
        table = _sparse_table(ranges, inode.size)
        info.pax_headers = {
            **info.pax_headers,
            "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
            "GNU.sparse.name": info.name, "GNU.sparse.realsize": str(inode.size),
        }  # fmt: skip
        folder, _, last = info.name.rpartition("/")
        info.name = f"{folder or '.'}/GNUSparseFile.0/{last}"
        info.size = len(table) + sum(end - start for start, end in ranges)
        self._tar.addfile(info, _Stream(_behind(table, content)))

    def _ranges(self, inode: Inode) -> list[tuple[int, int]]:
        """The data of a file, neighbouring ranges joined; all of it from where the map cannot be read."""
        ranges: list[tuple[int, int]] = []
        offset = 0
        while True:
            try:
                found = self._inline.data_range(inode.id, offset)
            except Damaged:
                found = (offset, inode.size) if offset < inode.size else None
            if found is None:
                return ranges
            if ranges and ranges[-1][1] == found[0]:
                ranges[-1] = ranges[-1][0], found[1]
            else:
                ranges.append(found)
            offset = found[1]

    def _count(self, size: int) -> None:
        self.copied += size
        self._progress(self.copied)


def _described(path: bytes, inode: Inode, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(os.fsdecode(path))
    info.type = kind
    info.mode = stat.S_IMODE(inode.mode)
    info.uid, info.gid = inode.uid, inode.gid
    info.mtime = inode.mtime // 10**9
    info.linkname = os.fsdecode(inode.target)
    info.devmajor, info.devminor = os.major(inode.rdev), os.minor(inode.rdev)
    info.pax_headers = {"mtime": _seconds(inode.mtime), "atime": _seconds(inode.atime)}
    for name, value in inode.xattrs.items():
        if (keyword := _keyword(name)) is not None:
            info.pax_headers[f"SCHILY.xattr.{keyword}"] = value.decode("utf-8", "surrogateescape")
    return info


def _keyword(name: bytes) -> str | None:
    """The name of an attribute as GNU tar has it in a record, where the first `=` ends it; None if it is no UTF-8."""
    try:
        return name.decode("utf-8").replace("%", "%25").replace("=", "%3D")
    except UnicodeDecodeError:
        return None


def _seconds(time_ns: int) -> str:
    sign = "-" if time_ns < 0 else ""
    return f"{sign}{abs(time_ns) // 10**9}.{abs(time_ns) % 10**9:09}"


def _sparse_table(ranges: list[tuple[int, int]], size: int) -> bytes:
    """GNU tar's map of a sparse file, version 1.0: numbers in decimal lines, padded to whole blocks."""
    rows = [*ranges, (size, size)] if not ranges or ranges[-1][1] < size else ranges
    lines = [str(len(rows)), *(str(number) for start, end in rows for number in (start, end - start))]
    table = "".join(f"{line}\n" for line in lines).encode("ascii")
    return table + bytes(-len(table) % tarfile.BLOCKSIZE)


def _behind(head: bytes, rest: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    yield head
    yield from rest


def _filled(
    pieces: Iterator[tuple[int, bytes | memoryview]], ranges: list[tuple[int, int]], count: Callable[[int], None]
) -> Iterator[bytes | memoryview]:
    """The bytes of all ranges in order, zeros where a piece is missing."""
    offset, data = next(pieces, (None, b""))
    for start, end in ranges:
        position = start
        while position < end:
            if offset == position:
                yield data
                position += len(data)
                count(len(data))
                offset, data = next(pieces, (None, b""))
            else:
                stop = min(end if offset is None else offset, end, position + PIECE)
                yield bytes(stop - position)
                position = stop


class _Target(io.RawIOBase):
    """What tarfile writes to. Its own stream, made for tapes, copies each byte dozens of times."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._position = 0

    def tell(self) -> int:
        return self._position

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._stream.write(data)
        self._position += len(data)
        return len(data)


class _Stream(io.RawIOBase):
    """What tarfile reads a member's content from."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        parts: list[memoryview] = []
        while size > 0:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    break
            part = self._rest[:size]
            self._rest = self._rest[len(part) :]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
