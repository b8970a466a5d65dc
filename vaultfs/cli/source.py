"""The directory tree a command copies from: walks it, and has the kernel read what comes next meanwhile."""

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Iterator

from vaultfs.store.linux import will_need

# How far ahead of who takes them files are opened and brought in: entries, and bytes of each and of all.
_ENTRIES = 64
_BEGINNING = 2 << 20
_BYTES = 16 << 20
# Attributes the kernel makes up: the vault keeps what users set.
_SKIPPED_XATTRS = (b"security.selinux", b"system.nfs4_acl")


class Folder:
    """An open directory; its last reference closes it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Source:
    """One entry of the tree to copy: the directory it is in, its name, its path below the start, its attributes."""

    __slots__ = ("folder", "name", "path", "status")

    def __init__(self, folder: Folder, name: bytes, path: bytes, status: os.stat_result) -> None:
        self.folder = folder
        self.name = name
        self.path = path
        self.status = status

    @property
    def full_path(self) -> bytes:
        """Where the entry is, for messages."""
        return _path_in(self.folder, self.name)

    def has_neighbour(self, name: bytes) -> bool:
        """Whether its directory has an entry of that name."""
        return _is_there(self.folder, name)

    def has_entry(self, name: bytes) -> bool:
        """Whether it is a directory with an entry of that name."""
        return _is_there(self.folder, os.path.join(self.name, name))

    def open(self) -> int:
        """A descriptor for reading a file, for the caller to close."""
        return os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.folder.fd)

    def bring_in(self) -> int:
        """Have the kernel read the beginning of a regular file; how many bytes of it. An error is met by who reads."""
        size = min(self.status.st_size, _BEGINNING) if stat.S_ISREG(self.status.st_mode) else 0
        if size:
            try:
                fd = self.open()
                try:
                    will_need(fd, 0, size)
                finally:
                    os.close(fd)
            except OSError:
                return 0
        return size

    def target(self) -> bytes:
        """What a symbolic link points to."""
        with naming(self):
            return os.readlink(self.name, dir_fd=self.folder.fd)

    def xattrs(self) -> dict[bytes, bytes]:
        """The extended attributes, of a link itself."""
        # listxattr(2) takes no directory descriptor.
        path = b"/proc/self/fd/%d/%s" % (self.folder.fd, self.name)
        try:
            names = [os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False)]
            wanted = [name for name in names if name not in _SKIPPED_XATTRS]
            return {name: os.getxattr(path, name, follow_symlinks=False) for name in wanted}
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM):
                return {}
            raise OSError(error.errno, error.strerror, self.full_path) from error


def _is_there(folder: Folder, path: bytes) -> bool:
    try:
        os.stat(path, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _path_in(folder: Folder, name: bytes) -> bytes:
    try:
        return os.path.join(os.readlink(b"/proc/self/fd/%d" % folder.fd), name)
    except OSError:
        return name


@contextlib.contextmanager
def naming(source: Source) -> Iterator[None]:
    """Where the system is asked about an entry: an OSError says which, and not the vault, it is about."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, source.full_path) from error


Visit = tuple[Source, bool]


def walk_source(directory: str) -> Iterator[Visit]:
    """(entry, leaving) of a tree, depth first in the order of names; a directory comes again after its entries."""
    path = os.path.abspath(directory)
    above = Folder(os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY))
    name = os.fsencode(os.path.basename(path)) or b"."
    start = Source(above, name, b"", os.stat(name, dir_fd=above.fd))
    yield start, False
    stack = [(start, *_listed(start))]
    while stack:
        source, folder, names = stack[-1]
        if not names:
            stack.pop()
            yield source, True
            continue
        name = names.pop()
        below = source.path + b"/" + name if source.path else name
        try:
            child = _met(folder, name, below)
            listed = _listed(child) if stat.S_ISDIR(child.status.st_mode) else None
        except FileNotFoundError:
            continue  # deleted since the folder was listed
        yield child, False
        if listed is not None:
            stack.append((child, *listed))


def _met(folder: Folder, name: bytes, path: bytes) -> Source:
    try:
        return Source(folder, name, path, os.stat(name, dir_fd=folder.fd, follow_symlinks=False))
    except OSError as error:
        raise OSError(error.errno, error.strerror, _path_in(folder, name)) from error


def _listed(source: Source) -> tuple[Folder, list[bytes]]:
    flags = os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if source.path else 0)
    with naming(source):
        folder = Folder(os.open(source.name, flags, dir_fd=source.folder.fd))
        return folder, sorted(map(os.fsencode, os.listdir(folder.fd)), reverse=True)


def brought_in(walk: Iterator[Visit]) -> Iterator[Visit]:
    """The same visits; the files that come next are on their way from the disk.

    What `walk` raises comes after all the visits before it.
    """
    waiting: deque[tuple[Visit, int]] = deque()
    total = 0
    failure: OSError | None = None
    ended = False
    while True:
        while not ended and len(waiting) < _ENTRIES and total < _BYTES:
            try:
                visit = next(walk)
            except StopIteration:
                ended = True
            except OSError as error:
                failure, ended = error, True
            else:
                source, leaving = visit
                size = 0 if leaving else source.bring_in()
                total += size
                waiting.append((visit, size))
        if not waiting:
            break
        visit, size = waiting.popleft()
        total -= size
        yield visit
    if failure is not None:
        raise failure


def data_ranges(fd: int, size: int, offset: int = 0) -> Iterator[tuple[int, int]]:
    """(start, end) of a file's data from `offset` up to `size`, as lseek(2) tells with SEEK_DATA and SEEK_HOLE."""
    while offset < size:
        try:
            start = os.lseek(fd, offset, os.SEEK_DATA)
            offset = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows, or the file was cut meanwhile
                return
            raise
        if start < size:
            yield start, min(offset, size)


def source_size(directory: str) -> int:
    """The bytes of data in a tree; takes a walk."""
    return sum(
        min(source.status.st_blocks * 512, source.status.st_size)
        for source, leaving in walk_source(directory)
        if not leaving and stat.S_ISREG(source.status.st_mode)
    )
