"""Copies a directory tree into an open vault, and compares the two afterwards."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

from vaultfs.cli.filedata import PIECE
from vaultfs.cli.imported import device_of, facts, is_begun, is_copy, mode_while_copied, target_of
from vaultfs.cli.lookahead import FileAhead, Lookahead
from vaultfs.cli.source import Source, brought_in, data_ranges, walk_source
from vaultfs.cli.sourcefile import SourceFile
from vaultfs.cli.vaultpaths import shown, shown_name
from vaultfs.errors import Exists, NoSpace, NotFound, VaultfsError, WriteFailed
from vaultfs.format.constants import MAX_NAME
from vaultfs.vault.apply import RENAME_NOREPLACE
from vaultfs.vault.beside import CheckpointsBeside
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode, SetAttr
from vaultfs.vault.vault import Vault

HALF = b".half-imported."
"""The name of a large file that is not whole yet, or never got to be, begins so."""
# The bytes of a file from which on it has such a name meanwhile.
_LARGE = 128 << 10
_EVICT_EVERY = 1000
# Entries whose changes go to the journal together.
_WRITE_OUT_EVERY = 8
_KEPT = "it was left as it is; remove it from the vault and run the import again, to have the source's"
_TORN = "was written to while it was copied; once nothing does, remove it from the vault and run the import again"

# Which file it is, and in which state: what two names have to agree in to be names of one file.
Version = tuple[int, int, int, int, int]


def _version(status: os.stat_result) -> Version:
    """Not the inode's number alone, which is used again once it is deleted, by another file of several names, maybe."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Importer:
    """Copies a tree below one directory of a vault. `progress` gets the bytes read so far.

    `check` is called where the copying may stop, and may raise; `place` is that directory's path, for messages.
    What was copied is committed beside the copying, and is durable when `run` has returned.
    """

    def __init__(
        self, vault: Vault, progress: Callable[[int], None], check: Callable[[], None], place: bytes = b""
    ) -> None:
        self._vault = vault
        self._check = check
        self._place = place
        self._checkpoints = CheckpointsBeside(vault)
        self._inline = Inline(vault, self._checkpoints.checkpoint)
        self._progress = progress
        self._linked: dict[Version, int] = {}
        self.changed: list[str] = []
        """Sentences about files that are not in the vault as the source has them."""
        self.unfinished: list[str] = []
        """Sentences about what an earlier import began and this one did not come to."""
        # Directories that were there already, and that were not left yet.
        self._found: set[int] = set()
        self.files = 0
        self.left = 0
        """Entries that were there already, but for the top directory."""
        self.copied = 0

    def run(self, directory: str, target: Inode) -> None:
        """Copy the entries of `directory` into `target`, and make them durable.

        Raises Exists for something in the way of a directory, WriteFailed if the vault could not commit everything.
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
                self._leave(source, inode_id)
                continue
            if stat.S_ISDIR(source.status.st_mode):
                inode_id = self._directory(source, parents[-1]) if source.path else self._known(target.id)
                self._vault.remember(inode_id)
                parents.append(inode_id)
            else:
                try:
                    self._entry(source, parents)
                except FileNotFoundError:
                    self.changed.append(f"{shown_name(source.full_path)} was deleted before it was copied")
                except Exists:
                    self.changed.append(f"{self._shown(source)} is in the vault already, and not the same: {_KEPT}")
            self._keep_up()

    def _leave(self, source: Source, inode_id: int) -> None:
        try:
            self._look_for_halves(source, inode_id)
            if source.path:
                self._dress(source, inode_id)
        except FileNotFoundError:
            self.changed.append(f"{shown_name(source.full_path)} was deleted while what is in it was copied")
        self._vault.forget(inode_id, 1)

    def _look_for_halves(self, source: Source, inode_id: int) -> None:
        """Name what nobody will finish: its source has another name by now, or is gone."""
        if inode_id not in self._found:
            return
        self._found.remove(inode_id)
        for name, _ in self._inline.list_directory(inode_id):
            if name.startswith(HALF) and not source.has_entry(name):
                self.unfinished.append(
                    f"{self._shown(source, name)} is a part of a file that an earlier import did not finish, and this "
                    "one did not find; it may be removed"
                )

    def _shown(self, source: Source, name: bytes = b"") -> str:
        """Where in the vault an entry is, or what is called `name` in it, for messages."""
        return shown(b"/".join(filter(None, (self._place.strip(b"/"), source.path, name))))

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
            raise Exists(
                f"{self._shown(source)} is in the vault already, and is no directory: nothing there is overwritten, "
                "and what comes after it was not copied; remove it, or import into another directory of the vault"
            )
        self.left += 1
        return self._known(found.id)

    def _known(self, directory: int) -> int:
        """The same, noted as one that was there already."""
        self._found.add(directory)
        return directory

    def _entry(self, source: Source, parents: list[int]) -> None:
        parent = parents[-1]
        first = self._linked.get(_version(source.status)) if source.status.st_nlink > 1 else None
        try:
            if first is not None:
                self._inline.link(first, parent, source.name)
                return
            inode_id = self._copied(source, parent)
        except Exists:
            inode_id = self._left(source, parent, first)
        except NoSpace as error:
            raise NoSpace(
                f"{shown_name(source.full_path)} could not be copied: {error}; once there is more, run the import "
                "again: it goes on"
            ) from error
        if source.status.st_nlink > 1:
            self._linked[_version(source.status)] = inode_id
            # Found by its id later on, wherever that is, and so are the directories it is found by.
            for known in (*parents, inode_id):
                self._vault.remember(known)

    def _left(self, source: Source, parent: int, first: int | None) -> int:
        """The id of the copy that an earlier import left, made anew if that was cut short; raises Exists if it is none.

        `first` is the inode whose second name it has to be, None if it need not.
        """
        found = self._inline.lookup(parent, source.name)
        if first in (None, found.id) and is_copy(source, found):
            self.left += 1
            return found.id
        if not is_begun(self._inline, source, found):
            raise Exists("another file has the name")
        if first is None:
            return self._copied(source, parent, replaces=True)
        self._inline.unlink(parent, source.name)
        return self._inline.link(first, parent, source.name).id

    def _copied(self, source: Source, parent: int, *, replaces: bool = False) -> int:
        """The id of an entry's copy, made once more if somebody wrote to the file meanwhile, but not for ever.

        With `replaces` there is a file of that name, which stays until the copy is whole.
        """
        inode_id, is_torn = self._copied_once(source, parent, replaces)
        if is_torn:
            inode_id, is_torn = self._copied_once(source, parent, replaces=True)
        if is_torn:
            self.changed.append(f"{shown_name(source.full_path)} {_TORN}")
        return inode_id

    def _copied_once(self, source: Source, parent: int, replaces: bool) -> tuple[int, bool]:
        """(id, whether it may be neither old nor new) of a copy: there whole or not at all, whatever is raised."""
        name = self._name_until_whole(source, parent, replaces)
        inode = self._make(source, parent, name)
        is_torn = False
        try:
            if stat.S_ISREG(source.status.st_mode):
                is_torn = self._content(source, inode.id)
            self._dress(source, inode.id)
            if name != source.name:
                self._inline.rename(parent, name, parent, source.name, 0 if replaces else RENAME_NOREPLACE)
        except BaseException:
            # A part of it would look like the whole. What cannot be removed is what the error is about.
            with suppress(VaultfsError, OSError):
                self._inline.unlink(parent, name)
            raise
        return inode.id, is_torn

    def _name_until_whole(self, source: Source, parent: int, replaces: bool) -> bytes:
        """The name a copy has until it is whole; what a killed import left under it goes. Raises Exists.

        A small new file is written in no time and by few records: a rename would cost more than it is good for.
        """
        if not replaces and (source.status.st_size < _LARGE or not stat.S_ISREG(source.status.st_mode)):
            return source.name
        name = (HALF + source.name)[:MAX_NAME]
        if source.has_neighbour(name):  # which is another entry to copy
            if replaces:
                self._inline.unlink(parent, source.name)
            return source.name
        if not replaces:
            with suppress(NotFound):
                self._inline.lookup(parent, source.name)
                raise Exists("the name is taken")
        with suppress(NotFound):
            self._inline.unlink(parent, name)
        return name

    def _make(self, source: Source, parent: int, name: bytes) -> Inode:
        status = source.status
        return self._inline.create_inode(
            parent, name, mode_while_copied(status.st_mode), status.st_uid, status.st_gid,
            rdev=device_of(status.st_mode, status.st_rdev), target=target_of(source),
        )  # fmt: skip

    def _content(self, source: Source, inode_id: int) -> bool:
        """Copy a file's bytes; whether it was written to meanwhile."""
        end = 0
        with SourceFile(source) as file:
            # What is copied is what was opened, which may be another by now than what was listed.
            source.status = file.status
            for offset, data in file.pieces():
                self._inline.write(inode_id, offset, data)
                end = offset + len(data)
                self.copied += len(data)
                self._progress(self.copied)
                self._check()
                self._checkpoints.keep_up()
            if file.size != end:
                if end:
                    # What a power cut takes is the end of a file, never something before a hole.
                    self._inline.fsync(inode_id)
                self._inline.setattr(inode_id, SetAttr(size=file.size))
            return file.changed

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
        attributes = ("extended attributes", source.xattrs(), inode.xattrs)
        for what, expected, found in (*facts(source, inode), attributes):
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
