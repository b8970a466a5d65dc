"""Notices who reads in order, a file from its start to its end or a folder file by file, and reads ahead of them.

A store answers several reads at once as quickly as one, and each file is an object to open and to read: whoever copies,
checks or shows a folder waits for none of that if it was brought in before. Nothing is decrypted ahead of time.
"""

from collections import OrderedDict

from vaultfs.mount.workers import Workers
from vaultfs.vault.vault import Vault

_STREAMS = 32
_SMALLEST_WINDOW = 1 << 20
_LARGEST_WINDOW = 8 << 20
# Bytes. Who begins with so much in one read is likely to go on.
_LARGE = 512 << 10
# How far apart two files may be to count as following each other: a program may pass over some.
_NEAR = 4
_FILES_AHEAD = 32
_FILES_PER_JOB = 4
_DIRECTORIES_PER_JOB = 8
_DIRECTORIES = 1024


class _Stream:
    """One file read in order: the end of the last read, and up to where it was brought in. Bytes."""

    __slots__ = ("ahead", "end", "window")

    def __init__(self, end: int) -> None:
        self.end = self.ahead = end
        self.window = _SMALLEST_WINDOW


class Prefetcher:
    """One per mount; all of it on the trio thread. What it has read goes by `workers`, and nobody waits for it."""

    def __init__(self, vault: Vault, workers: Workers) -> None:
        self._vault = vault
        self._workers = workers
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self._listed: OrderedDict[int, None] = OrderedDict()
        # The walk through a folder: its id, where the last file read stands in it, up to where files are brought in.
        self._folder = 0
        self._position = 0
        self._ahead = 0

    def read(self, inode: int, offset: int, size: int, missed: bool, in_memory: bool = False) -> None:
        """A read was answered; `missed` if the store had to be waited for, `in_memory` if it had nothing to do with it.

        What stands in its directory's entry is in memory as soon as its name is: nothing is missed, but who reads such
        files one by one will want the larger ones between them too.
        """
        if offset == 0:
            self._first_read(inode, missed or in_memory)
        stream = self._streams.get(inode)
        if stream is None:
            if missed:
                if len(self._streams) >= _STREAMS:
                    self._streams.popitem(last=False)
                stream = self._streams[inode] = _Stream(offset + size)
                if offset == 0 and size >= _LARGE:
                    self._extend(inode, stream)
            return
        if offset != stream.end:
            # The kernel's own read-ahead has two requests under way, which may change places.
            if abs(offset - stream.end) > 2 * size:
                del self._streams[inode]
            return
        stream.end = offset + size
        if missed:
            self._streams.move_to_end(inode)
        if missed or stream.ahead > stream.end - size:
            self._extend(inode, stream)

    def listed(self, directory: int) -> None:
        """The names of a directory were asked for: those of the directories in it often are next."""
        if directory in self._listed:
            return
        if len(self._listed) >= _DIRECTORIES:
            self._listed.popitem(last=False)
        self._listed[directory] = None
        for job in self._vault.directories_ahead(directory, _DIRECTORIES_PER_JOB):
            self._workers.start(job)

    def _extend(self, inode: int, stream: _Stream) -> None:
        """Stay at least half a window ahead of a stream."""
        if stream.ahead - stream.end > stream.window // 2:
            return
        start = max(stream.ahead, stream.end)
        stream.ahead = stream.end + stream.window
        stream.window = min(2 * stream.window, _LARGEST_WINDOW)
        for job in self._vault.content_ahead(inode, start, stream.ahead - start):
            self._workers.start(job)

    def _first_read(self, inode: int, missed: bool) -> None:
        if not missed and not self._ahead:
            return
        place = self._vault.position(inode)
        if place is None:
            return
        folder, position = place
        follows = folder == self._folder and 0 < position - self._position <= _NEAR
        self._position = position
        if not follows:
            if missed or folder != self._folder:
                self._folder, self._ahead = folder, 0
            return
        if self._ahead - position > _FILES_AHEAD // 2 or (not missed and position >= self._ahead):
            return
        start = max(self._ahead, position + 1)
        self._ahead = position + 1 + _FILES_AHEAD
        for job in self._vault.files_ahead(start, self._ahead - start, _FILES_PER_JOB):
            self._workers.start(job)
