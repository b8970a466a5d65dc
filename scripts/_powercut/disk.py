"""Serves one file, a disk's image, that loses power on demand: what no flush covered survives at random or not.

Run as `disk.py MOUNTPOINT SIZE`; needs /dev/fuse. A loop device on `MOUNTPOINT/disk` sends its writes here one by
one and every flush as an fsync, so this process knows what a real disk's volatile cache could lose. On a line
`cut PATH SEED SURVIVAL` from stdin it makes PATH the image as after a power cut at this instant (everything
flushed, and each unflushed 4 KiB sector with the probability SURVIVAL) and answers with a line; the disk goes on.
"""

import errno
import os
import random
import stat
import sys
from pathlib import Path

import pyfuse3
import trio

SECTOR = 4096
_NAME = b"disk"
_INODE = 2


class Cache:
    """The image twice, as written and as flushed, and the sectors in which the two differ."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self.flushes = 0
        self._written = _image(folder / "written", size)
        self._flushed = _image(folder / "flushed", size)
        self._dirty: dict[int, None] = {}

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._written, size, offset)

    def write(self, data: bytes, offset: int) -> int:
        os.pwrite(self._written, data, offset)
        self._dirty |= dict.fromkeys(range(offset // SECTOR, -(-(offset + len(data)) // SECTOR)))
        return len(data)

    def flush(self) -> None:
        self._keep(self._flushed, list(self._dirty))
        self._dirty = {}
        self.flushes += 1

    def cut(self, path: str, rng: random.Random, survival: float) -> str:
        """Write the image of a power cut to `path`; says how many unflushed sectors there were and were lost."""
        with open(path, "wb+") as image:
            _copy_sparse(self._flushed, image.fileno(), self.size)
            kept = [sector for sector in self._dirty if rng.random() < survival]
            self._keep(image.fileno(), kept)
        return f"{len(self._dirty)} {len(self._dirty) - len(kept)}"

    def _keep(self, target: int, sectors: list[int]) -> None:
        """Copy sectors as written, neighbours in one go."""
        sectors.sort()
        start = 0
        for position in range(1, len(sectors) + 1):
            if position == len(sectors) or sectors[position] != sectors[position - 1] + 1:
                offset = sectors[start] * SECTOR
                os.pwrite(target, os.pread(self._written, (position - start) * SECTOR, offset), offset)
                start = position


def _image(path: Path, size: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    path.unlink()  # it goes with this process
    os.truncate(descriptor, size)
    return descriptor


def _copy_sparse(source: int, target: int, size: int) -> None:
    os.truncate(target, size)
    offset = 0
    while True:
        try:
            offset = os.lseek(source, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(source, offset, os.SEEK_HOLE)
        while offset < end:
            offset += os.pwrite(target, os.pread(source, min(end - offset, 8 << 20), offset), offset)


class Disk(pyfuse3.Operations):
    """A folder with the image as its only file."""

    enable_writeback_cache = False

    def __init__(self, cache: Cache) -> None:
        super().__init__()
        self._cache = cache

    async def lookup(self, parent_inode, name, ctx):  # type: ignore[no-untyped-def]
        if name != _NAME:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._attributes(_INODE)

    async def getattr(self, inode, ctx):  # type: ignore[no-untyped-def]
        return self._attributes(inode)

    async def open(self, inode, flags, ctx):  # type: ignore[no-untyped-def]
        # Past the kernel's page cache, so that each write gets here when it is made.
        return pyfuse3.FileInfo(fh=inode, direct_io=True)

    async def read(self, fh, off, size):  # type: ignore[no-untyped-def]
        return self._cache.read(size, off)

    async def write(self, fh, off, buf):  # type: ignore[no-untyped-def]
        return self._cache.write(buf, off)

    async def fsync(self, fh, datasync):  # type: ignore[no-untyped-def]
        self._cache.flush()

    def _attributes(self, inode: int) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        is_disk = inode == _INODE
        entry.st_mode = pyfuse3.ModeT((stat.S_IFREG | 0o600) if is_disk else (stat.S_IFDIR | 0o700))
        entry.st_size = self._cache.size if is_disk else 0
        entry.st_blksize = SECTOR
        entry.attr_timeout = entry.entry_timeout = 3600
        return entry


async def _obey(cache: Cache) -> None:
    """Carry out the commands that come on stdin."""
    pending = b""
    while True:
        await trio.lowlevel.wait_readable(0)
        pending += (more := os.read(0, 4096))
        if not more:
            return
        *lines, pending = pending.split(b"\n")
        for line in lines:
            word, path, seed, survival = line.decode().split(" ")
            assert word == "cut"
            # Without an await, so that no write comes between: the power goes at one instant.
            print(cache.cut(path, random.Random(seed), float(survival)), flush=True)


async def _serve(cache: Cache) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_obey, cache)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


def main(mountpoint: str, size: int) -> None:
    cache = Cache(Path(mountpoint).parent, size)
    pyfuse3.init(Disk(cache), mountpoint, {"fsname=powercut-disk"})
    print("ready", flush=True)
    try:
        trio.run(_serve, cache)
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
