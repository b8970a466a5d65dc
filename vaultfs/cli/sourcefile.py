"""Reads one file of the tree to copy, which somebody may be writing to meanwhile, and tells whether somebody was."""

import os
from collections.abc import Iterator
from typing import Self

from vaultfs.cli.filedata import PIECE
from vaultfs.cli.source import Source, data_ranges, naming


class SourceFile:
    """A file open for reading, in a `with`; `status` is what it was at that moment. Raises OSError, which names it.

    One that grows for ever must not be read for ever: it is read as far as it went when it was opened, and then as far
    as it went by the end of that.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read_to = 0
        self._planned = 0
        self._is_cut = False
        self._fd = -1

    def __enter__(self) -> Self:
        with naming(self._source):
            self._fd = self._source.open()
            self.status = self._after = os.fstat(self._fd)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, offset: int, wanted: int) -> bytes:
        """As many bytes as are wanted, or up to the end: one pread(2) may give fewer."""
        with naming(self._source):
            data = os.pread(self._fd, wanted, offset)
            while len(data) < wanted and (more := os.pread(self._fd, wanted - len(data), offset + len(data))):
                data += more
            return data

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of the data, holes left out; `size` and `changed` tell afterwards what came of it."""
        with naming(self._source):
            while not self._is_cut and self._after.st_size > self._planned and self._planned <= self.status.st_size:
                begin, self._planned = self._planned, self._after.st_size
                yield from self._part(begin, self._planned)
                self._after = os.fstat(self._fd)

    @property
    def size(self) -> int:
        """The bytes the copy has: a hole may end it that ended the file, and no other one."""
        is_whole = not self._is_cut and self._after.st_size >= self._planned
        return self._planned if is_whole else self._read_to

    @property
    def changed(self) -> bool:
        """Whether it became another one since it was opened, so that the copy may be neither."""
        before, after = self.status, self._after
        return (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)

    def _part(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        for start, stop in data_ranges(self._fd, last, first):
            for offset in range(start, stop, PIECE):
                wanted = min(PIECE, stop - offset)
                data = self.read(offset, wanted)
                self._is_cut = len(data) < wanted
                if data:
                    self._read_to = offset + len(data)
                    yield offset, data
                if self._is_cut:
                    return
