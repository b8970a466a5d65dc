"""Copies a tree out of an open vault into a directory, with everything the target can hold."""

import errno
import os
import stat
from collections.abc import Callable, Iterable

from vaultfs.cli.filedata import Pieces
from vaultfs.cli.vaultpaths import shown
from vaultfs.cli.walking import Step
from vaultfs.store.linux import start_write_back
from vaultfs.vault.inode import Inode

_FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE)
# Bytes of a file until the disk is set to work on them. Left to the kernel it would idle until somebody syncs.
_WRITE_BACK = 1 << 20
_NOT_ALLOWED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


class Exporter:
    """Makes everything below an open, empty directory. `failures` are sentences about what could not be read.

    `pieces` gives (offset, bytes) of a file's data.
    `warn` is told what the target refused, once for each kind. `progress` gets the bytes copied so far.
    """

    def __init__(self, pieces: Pieces, warn: Callable[[str], None], progress: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._warn = warn
        self._progress = progress
        self._warned: set[str] = set()
        self._linked: dict[int, bytes] = {}
        self._folders: list[int] = []
        self.failures: list[str] = []
        self.files = 0
        self.copied = 0

    def export(self, steps: Iterable[Step], target: int) -> None:
        """Copy a directory's entries into the directory `target` (a descriptor), which gets its attributes too."""
        self._folders = [os.dup(target)]
        try:
            for step in steps:
                if step.inode is None:
                    self.failures.append(f"{shown(step.path)}: {step.damage}")
                elif step.leaving:
                    folder = self._folders.pop()
                    self._finish(folder, step.inode)
                    os.close(folder)
                elif step.path and stat.S_ISDIR(step.inode.mode):
                    self._folder(step.path)
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

    def _folder(self, path: bytes) -> None:
        name = path.rpartition(b"/")[2]
        os.mkdir(name, 0o700, dir_fd=self._folders[-1])
        self._folders.append(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=self._folders[-1]))
        self.files += 1

    def _entry(self, path: bytes, inode: Inode) -> None:
        try:
            self._make(path, path.rpartition(b"/")[2], self._folders[-1], inode)
            self.files += 1
        except OSError as error:
            if error.errno in _FATAL:
                raise
            self.failures.append(f"{shown(path)}: it cannot be made in the target: {error.strerror}")

    def _make(self, path: bytes, name: bytes, folder: int, inode: Inode) -> None:
        if inode.nlink > 1 and self._link(path, name, folder, inode):
            return
        if stat.S_ISREG(inode.mode):
            self._file(path, name, folder, inode)
            return
        if stat.S_ISLNK(inode.mode):
            os.symlink(inode.target, name, dir_fd=folder)
        else:
            os.mknod(name, stat.S_IFMT(inode.mode) | 0o600, inode.rdev, dir_fd=folder)
        self._dress(folder, name, inode)

    def _link(self, path: bytes, name: bytes, folder: int, inode: Inode) -> bool:
        """Make one more name for a file already copied; False for the first one."""
        first = self._linked.setdefault(inode.id, path)
        if first == path:
            return False
        os.link(first, name, src_dir_fd=self._folders[0], dst_dir_fd=folder, follow_symlinks=False)
        return True

    def _file(self, path: bytes, name: bytes, folder: int, inode: Inode) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)

        def lost(start: int, end: int, cause: str) -> None:
            self.failures.append(f"{shown(path)}: bytes {start} to {end} are lost: {cause}")

        try:
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
            self._finish(fd, inode)
        finally:
            os.close(fd)

    def _finish(self, fd: int, inode: Inode) -> None:
        """Give an open file or directory its attributes; the owner first, because changing it takes bits away."""
        self._try("owner", lambda: os.fchown(fd, inode.uid, inode.gid))
        os.fchmod(fd, stat.S_IMODE(inode.mode))
        for name, value in inode.xattrs.items():
            self._try(f"attribute {name.decode('utf-8', 'replace')}", lambda: os.setxattr(fd, name, value))  # noqa: B023
        os.utime(fd, ns=(inode.atime, inode.mtime))

    def _dress(self, folder: int, name: bytes, inode: Inode) -> None:
        """Give a link or a special file its attributes, by its name: opening it would do something else."""
        self._try("owner", lambda: os.chown(name, inode.uid, inode.gid, dir_fd=folder, follow_symlinks=False))
        if not stat.S_ISLNK(inode.mode):
            os.chmod(name, stat.S_IMODE(inode.mode), dir_fd=folder)
        # setxattr(2) takes no directory descriptor.
        path = b"/proc/self/fd/%d/%s" % (folder, name)
        for xattr, value in inode.xattrs.items():
            self._try(
                f"attribute {xattr.decode('utf-8', 'replace')}",
                lambda: os.setxattr(path, xattr, value, follow_symlinks=False),  # noqa: B023
            )
        os.utime(name, ns=(inode.atime, inode.mtime), dir_fd=folder, follow_symlinks=False)

    def _try(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise
            if what not in self._warned:
                self._warned.add(what)
                self._warn(f"the target does not take every {what}: {error.strerror}")


def _write(fd: int, data: bytes | memoryview, offset: int) -> int:
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)
    return done
