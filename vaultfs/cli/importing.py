"""Copies a directory tree into an open vault, and compares the two afterwards."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

from vaultfs.cli.filedata import PIECE
from vaultfs.cli.lookahead import FileAhead, Lookahead
from vaultfs.cli.source import Source, brought_in, data_ranges, walk_source
from vaultfs.cli.sourcefile import SourceFile
from vaultfs.cli.vaultpaths import shown
from vaultfs.errors import Exists, NotFound, VaultfsError, WriteFailed
from vaultfs.vault.beside import CheckpointsBeside
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode, SetAttr
from vaultfs.vault.vault import Vault

_EVICT_EVERY = 1000
# Entries whose changes go to the journal together.
_WRITE_OUT_EVERY = 8
_KEPT = "nothing there is overwritten; remove it, or import into another directory of the vault"


class Importer:
    """Copies a tree below one directory of a vault. `progress` gets the bytes read so far.

    `check` is called where the copying may stop, and may raise.
    What was copied is committed beside the copying, and is durable when `run` has returned.
    """

    def __init__(self, vault: Vault, progress: Callable[[int], None], check: Callable[[], None]) -> None:
        self._vault = vault
        self._check = check
        self._checkpoints = CheckpointsBeside(vault)
        self._inline = Inline(vault, self._checkpoints.checkpoint)
        self._progress = progress
        self._linked: dict[tuple[int, int, int, int], int] = {}
        self.changed: list[str] = []
        """Sentences about files that were written to, or deleted, meanwhile."""
        self.files = 0
        self.copied = 0

    def run(self, directory: str, target: Inode) -> None:
        """Copy the entries of `directory` into `target`, and make them durable.

        Raises Exists for a name in the way, WriteFailed if the vault could not commit everything.
        """
        self._vault.hold_changes()
        with self._checkpoints:
            self._copy(directory, target)
        if not self._vault.checkpoint():
            raise WriteFailed(self._vault.read_only_reason or "the last files could not be committed")

    def _copy(self, directory: str, target: Inode) -> None:
        parents: list[int] = []
        for source, leaving in brought_in(walk_source(directory)):
            if leaving:
                inode_id = parents.pop()
                if source.path:
                    self._dress(source, inode_id)
                self._vault.forget(inode_id, 1)
                continue
            if stat.S_ISDIR(source.status.st_mode):
                inode_id = self._directory(source, parents[-1]) if source.path else target.id
                self._vault.remember(inode_id)
                parents.append(inode_id)
            else:
                try:
                    self._entry(source, parents)
                except FileNotFoundError:
                    self.changed.append(f"{shown(source.path)} was deleted before it was copied")
            self._keep_up()

    def _keep_up(self) -> None:
        self._check()
        self.files += 1
        if self.files % _WRITE_OUT_EVERY == 0:
            self._vault.write_out()
        if self.files % _EVICT_EVERY == 0:
            self._vault.evict()
        self._checkpoints.keep_up()

    def _directory(self, source: Source, parent: int) -> int:
        try:
            found = self._inline.lookup(parent, source.name)
        except NotFound:
            return self._inline.create_inode(parent, source.name, stat.S_IFDIR | 0o700).id
        if not stat.S_ISDIR(found.mode):
            raise Exists(f"{shown(source.path)} is in the vault already, and is no directory: {_KEPT}")
        return found.id

    def _entry(self, source: Source, parents: list[int]) -> None:
        status = source.status
        parent = parents[-1]
        # An inode's number is used again once it is deleted, by another file that has several names, perhaps.
        place = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        try:
            if status.st_nlink > 1 and place in self._linked:
                self._inline.link(self._linked[place], parent, source.name)
                return
            inode = self._make(source, parent)
        except Exists:
            raise Exists(f"{shown(source.path)} is in the vault already: {_KEPT}") from None
        try:
            if stat.S_ISREG(status.st_mode):
                self._content(source, inode.id)
            self._dress(source, inode.id)
        except BaseException:
            # A part of it would look like the whole. What cannot be removed is what the error is about.
            with suppress(VaultfsError, OSError):
                self._inline.unlink(parent, source.name)
            raise
        if status.st_nlink > 1:
            self._linked[place] = inode.id
            # Found by its id later on, wherever that is, and so are the directories it is found by.
            for inode_id in (*parents, inode.id):
                self._vault.remember(inode_id)

    def _make(self, source: Source, parent: int) -> Inode:
        status = source.status
        target = b""
        if stat.S_ISLNK(status.st_mode):
            target = source.target()
        device = status.st_rdev if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode) else 0
        mode = stat.S_IFMT(status.st_mode) | (0o777 if target else 0o600)
        return self._inline.create_inode(
            parent, source.name, mode, status.st_uid, status.st_gid, rdev=device, target=target
        )

    def _content(self, source: Source, inode_id: int) -> None:
        end = 0
        with SourceFile(source) as file:
            for offset, data in file.pieces():
                self._inline.write(inode_id, offset, data)
                end = offset + len(data)
                self.copied += len(data)
                self._progress(self.copied)
                self._check()
                self._checkpoints.keep_up()
            if file.size != end:
                self._inline.setattr(inode_id, SetAttr(size=file.size))
            if file.changed:
                self.changed.append(f"{shown(source.path)} was written to while it was copied")

    def _dress(self, source: Source, inode_id: int) -> None:
        status = source.status
        for name, value in source.xattrs().items():
            self._inline.setxattr(inode_id, name, value)
        self._inline.setattr(
            inode_id,
            SetAttr(
                mode=None if stat.S_ISLNK(status.st_mode) else stat.S_IMODE(status.st_mode),
                uid=status.st_uid, gid=status.st_gid, atime=status.st_atime_ns, mtime=status.st_mtime_ns,
            ),
        )  # fmt: skip


class Comparison:
    """Holds a tree against its copy in a vault, read back from the store. `differences` are sentences.

    `progress` gets the bytes compared so far, `check` is called where that may stop, and may raise.
    """

    def __init__(
        self, inline: Inline, lookahead: Lookahead, progress: Callable[[int], None], check: Callable[[], None]
    ) -> None:
        self._inline = inline
        self._lookahead = lookahead
        self._progress = progress
        self._check = check
        self.differences: list[str] = []
        self.files = 0
        self.compared = 0

    def run(self, directory: str, target: Inode) -> None:
        """Compare everything below `directory`: types, attributes, content. Entries only the vault has are left out."""
        vault = self._inline.vault
        parents: list[int] = []
        for source, leaving in brought_in(walk_source(directory)):
            if leaving:
                vault.forget(parents.pop(), 1)
                continue
            try:
                inode = self._inline.lookup(parents[-1], source.name) if source.path else target
            except NotFound:
                self._differs(source, "it is missing")
                inode = None
            if stat.S_ISDIR(source.status.st_mode):
                # Something to look in even if the directory itself is missing: nothing is found there.
                found = inode if inode is not None and stat.S_ISDIR(inode.mode) else target
                vault.remember(found.id)
                parents.append(found.id)
            if inode is not None and source.path:
                self._compare(source, inode)
            self._check()
            self.files += 1
            if self.files % _EVICT_EVERY == 0:
                vault.evict()

    def _differs(self, source: Source, what: str) -> None:
        self.differences.append(f"{shown(source.path)}: {what}")

    def _compare(self, source: Source, inode: Inode) -> None:
        status = source.status
        facts = [
            ("type or mode", status.st_mode, inode.mode),
            ("owner", (status.st_uid, status.st_gid), (inode.uid, inode.gid)),
            ("modification time", status.st_mtime_ns, inode.mtime),
        ]
        if not stat.S_ISDIR(status.st_mode):
            facts += [("size", status.st_size, inode.size)]
        if stat.S_ISLNK(status.st_mode):
            facts += [("target", source.target(), inode.target)]
        elif status.st_rdev:
            facts += [("device", status.st_rdev, inode.rdev)]
        facts += [("extended attributes", source.xattrs(), inode.xattrs)]
        for what, expected, found in facts:
            if expected != found:
                self._differs(source, f"the {what} differ" if what.endswith("s") else f"the {what} differs")
        if stat.S_ISREG(status.st_mode) and stat.S_ISREG(inode.mode) and status.st_size == inode.size:
            self._compare_content(source, inode)

    def _compare_content(self, source: Source, inode: Inode) -> None:
        fd = source.open()
        ahead = FileAhead(self._lookahead, self._inline, inode.id)
        try:
            for start, stop in self._ranges(fd, inode):
                for offset in range(start, stop, PIECE):
                    size = min(PIECE, stop - offset)
                    ahead.reading(offset)
                    if os.pread(fd, size, offset) != self._inline.read(inode.id, offset, size):
                        self._differs(source, f"the content differs between bytes {offset} and {offset + size}")
                        return
                    self.compared += size
                    self._progress(self.compared)
                    self._check()
        finally:
            os.close(fd)

    def _ranges(self, fd: int, inode: Inode) -> Iterator[tuple[int, int]]:
        """What has data on either side; where both have holes both are zeros."""
        yield from data_ranges(fd, inode.size)
        offset = 0
        while (found := self._inline.data_range(inode.id, offset)) is not None:
            if os.lseek(fd, 0, os.SEEK_END) and not _is_data(fd, *found):
                yield found
            offset = found[1]


def _is_data(fd: int, start: int, end: int) -> bool:
    """Whether a range of a file has no hole in it, so that it was compared already."""
    try:
        return os.lseek(fd, start, os.SEEK_DATA) == start and os.lseek(fd, start, os.SEEK_HOLE) >= end
    except OSError:
        return False
