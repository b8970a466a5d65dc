"""Copies a tree out of an open vault into a directory, with everything the target can hold."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from vaultfs.cli.filedata import Loss, Pieces
from vaultfs.cli.vaultpaths import shown
from vaultfs.cli.walking import Step
from vaultfs.store.linux import start_write_back
from vaultfs.vault.inode import Inode

_FULL = (errno.ENOSPC, errno.EDQUOT)
_GONE = (errno.EROFS, errno.EIO, errno.EMFILE)
_FATAL = (*_FULL, *_GONE)
# Bytes of a file until the disk is set to work on them. Left to the kernel it would idle until somebody syncs.
_WRITE_BACK = 1 << 20
_NOT_ALLOWED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class _Copy(NamedTuple):
    """The first name that a hard-linked file got, and sentences about what could not be read of it."""

    path: bytes
    losses: list[str]


class Exporter:
    """Makes everything below an open, empty directory.

    `failures` are sentences about what could not be read, and what the target did not take of one thing.
    `pieces` gives (offset, bytes) of a file's data.
    `warn` is told what the target refuses of anything, once for each kind. `progress` gets the bytes copied so far.
    """

    def __init__(self, pieces: Pieces, warn: Callable[[str], None], progress: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._warn = warn
        self._progress = progress
        self._warned: set[str] = set()
        self._copies: dict[int, _Copy] = {}
        self._folders: list[int] = []
        self.failures: list[str] = []
        self.files = 0
        self.copied = 0

    def export(self, steps: Iterable[Step], target: int) -> None:
        """Copy a directory's entries into the directory `target` (a descriptor), which gets its attributes too."""
        self._folders = [os.dup(target)]
        steps = iter(steps)
        try:
            for step in steps:
                if step.inode is None:
                    self.failures.append(f"{shown(step.path)}: {step.damage}")
                elif step.leaving:
                    folder = self._folders.pop()
                    self._finish(folder, step.path, step.inode)
                    os.close(folder)
                elif step.path and stat.S_ISDIR(step.inode.mode):
                    if not self._folder(step.path):
                        _pass_over(steps, step.path)
                elif step.path:
                    self._entry(step.path, step.inode)
                else:
                    self._folders.append(os.dup(target))
        finally:
            self._close()

    def export_one(self, name: bytes, inode: Inode, target: int) -> None:
        """Copy something that is no directory into the directory `target` (a descriptor)."""
        self._folders = [os.dup(target)]
        try:
            self._entry(name, inode)
        finally:
            self._close()

    def _close(self) -> None:
        while self._folders:
            os.close(self._folders.pop())

    def _folder(self, path: bytes) -> bool:
        """Make a folder and go into it; False if the target does not take it."""
        name = path.rpartition(b"/")[2]
        try:
            os.mkdir(name, 0o700, dir_fd=self._folders[-1])
            self._folders.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._folders[-1]))
        except OSError as error:
            self._refused(path, "it cannot be made in the target, nor can what is in it", error)
            return False
        self.files += 1
        return True

    def _entry(self, path: bytes, inode: Inode) -> None:
        try:
            self._make(path, path.rpartition(b"/")[2], self._folders[-1], inode)
            self.files += 1
        except OSError as error:
            self._refused(path, "it cannot be made in the target", error)

    def _refused(self, path: bytes, what: str, error: OSError, fatal: tuple[int, ...] = _FATAL) -> None:
        """Note what the target did not take of one thing; an error that says it takes nothing more is raised."""
        if error.errno in fatal:
            raise error
        self.failures.append(f"{shown(path)}: {what}: {error.strerror}")

    def _make(self, path: bytes, name: bytes, folder: int, inode: Inode) -> None:
        if inode.nlink > 1 and self._link(path, name, folder, inode):
            return
        copy = _Copy(path, [])
        if stat.S_ISREG(inode.mode):
            self._file(copy, name, folder, inode)
        else:
            if stat.S_ISLNK(inode.mode):
                os.symlink(inode.target, name, dir_fd=folder)
            else:
                os.mknod(name, stat.S_IFMT(inode.mode) | 0o600, inode.rdev, dir_fd=folder)
            self._dress(folder, name, path, inode)
        if inode.nlink > 1:
            self._copies[inode.id] = copy

    def _link(self, path: bytes, name: bytes, folder: int, inode: Inode) -> bool:
        """Make one more name for a file already copied; False if it has to be copied (again)."""
        first = self._copies.get(inode.id)
        if first is None:
            return False
        try:
            os.link(first.path, name, src_dir_fd=self._folders[0], dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in (*_FATAL, errno.EEXIST):
                raise
            self._warn_once("hard link", error)
            return False
        self.failures += [f"{shown(path)}: {loss}" for loss in first.losses]
        return True

    def _file(self, copy: _Copy, name: bytes, folder: int, inode: Inode) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)

        def lost(start: int, end: int, cause: str) -> None:
            copy.losses.append(f"bytes {start} to {end} are lost: {cause}")
            self.failures.append(f"{shown(copy.path)}: {copy.losses[-1]}")

        try:
            self._fill(fd, inode, lost)
            self._finish(fd, copy.path, inode)
        finally:
            os.close(fd)

    def _fill(self, fd: int, inode: Inode, lost: Loss) -> None:
        end = waiting = 0
        for offset, data in self._pieces(inode, lost):
            end = max(end, offset + _write(fd, data, offset))
            waiting += len(data)
            if waiting >= _WRITE_BACK:
                start_write_back(fd)
                waiting = 0
            self.copied += len(data)
            self._progress(self.copied)
        if end != inode.size:
            os.ftruncate(fd, inode.size)

    def _finish(self, fd: int, path: bytes, inode: Inode) -> None:
        """Give an open file or directory its attributes; the owner first, because changing it takes bits away."""
        self._try(path, "owner", lambda: os.fchown(fd, inode.uid, inode.gid))
        self._try(path, "mode", lambda: os.fchmod(fd, stat.S_IMODE(inode.mode)))
        self._set_xattrs(path, inode, lambda name, value: os.setxattr(fd, name, value))
        self._try(path, "time", lambda: os.utime(fd, ns=(inode.atime, inode.mtime)))

    def _dress(self, folder: int, name: bytes, path: bytes, inode: Inode) -> None:
        """Give a link or a special file its attributes, by its name: opening it would do something else."""
        self._try(path, "owner", lambda: os.chown(name, inode.uid, inode.gid, dir_fd=folder, follow_symlinks=False))
        if not stat.S_ISLNK(inode.mode):
            self._try(path, "mode", lambda: os.chmod(name, stat.S_IMODE(inode.mode), dir_fd=folder))
        # setxattr(2) takes no directory descriptor.
        place = b"/proc/self/fd/%d/%s" % (folder, name)
        self._set_xattrs(path, inode, lambda xattr, value: os.setxattr(place, xattr, value, follow_symlinks=False))
        times = inode.atime, inode.mtime
        self._try(path, "time", lambda: os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False))

    def _set_xattrs(self, path: bytes, inode: Inode, setxattr: Callable[[bytes, bytes], None]) -> None:
        for name, value in inode.xattrs.items():
            what = f"attribute {name.decode('utf-8', 'replace')}"
            # "No space" says as well that a value is too large for where attributes go, on an empty disk.
            self._try(path, what, partial(setxattr, name, value), fatal=_GONE)

    def _try(
        self, path: bytes, what: str, action: Callable[[], None], fatal: tuple[int, ...] = _FATAL
    ) -> None:
        try:
            action()
        except OSError as error:
            if error.errno in _NOT_ALLOWED:
                self._warn_once(what, error)
            else:
                self._refused(path, f"its {what} cannot be set in the target", error, fatal)

    def _warn_once(self, what: str, error: OSError) -> None:
        if what not in self._warned:
            self._warned.add(what)
            self._warn(f"the target does not take every {what}: {error.strerror}")


def _pass_over(steps: Iterator[Step], folder: bytes) -> None:
    """Leave out what comes below a folder, and that it is left."""
    for step in steps:
        if step.leaving and step.path == folder:
            return


def _write(fd: int, data: bytes | memoryview, offset: int) -> int:
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)
    return done
