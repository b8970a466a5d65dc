"""One inode's attributes in memory."""

from typing import NamedTuple

from vaultfs.sealing.entries import Entry, Xattrs
from vaultfs.sealing.maps import has_data, stored_size


class Inode:
    """Attributes as stat(2) names them; times in ns since the epoch, size in bytes.

    `content` is the section of its entry as last committed. `parent` and `name` say in which directory the entry
    with these attributes is; for a hard-linked file (`shared`) that is its shard of the shared table.
    Only `State.edit` hands out an inode that may be changed.
    """

    __slots__ = (
        "_entry", "_start", "atime", "birthtime", "ctime", "device", "gid", "id", "mode", "mtime", "name", "nlink",
        "parent", "shared", "size", "target", "uid", "xattrs",
    )  # fmt: skip

    def __init__(
        self, id: int, mode: int, uid: int, gid: int, nlink: int, size: int, atime: int, mtime: int, ctime: int,
        birthtime: int, device: int, target: bytes, xattrs: Xattrs, content: bytes,
        parent: int, name: bytes, shared: bool,
    ) -> None:  # fmt: skip
        self.id = id
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = nlink
        self.size = size
        self.atime = atime
        self.mtime = mtime
        self.ctime = ctime
        self.birthtime = birthtime
        self.device = device
        self.target = target
        self.xattrs = xattrs
        self.content = content
        self.parent = parent
        self.name = name
        self.shared = shared

    @property
    def content(self) -> bytes:
        """The section of its entry as last committed."""
        return self._entry[self._start :]

    @content.setter
    def content(self, section: bytes) -> None:
        self._entry = section
        self._start = 0

    @property
    def content_size(self) -> int:
        """The length of that section, bytes."""
        return len(self._entry) - self._start

    @property
    def has_inline_data(self) -> bool:
        """Whether that section is the data itself."""
        return has_data(self._entry, self._start)

    @property
    def stored(self) -> int:
        """The bytes of chunk data a regular file had when it was last committed."""
        return stored_size(self._entry, self._start)

    def share_content(self, entry: bytes) -> None:
        """Keep no second copy of the content, which is the end of this encoded entry: it is most of a small file."""
        self._start = len(entry) - len(self.content)
        self._entry = entry

    def copy(self) -> "Inode":
        """A second inode with the same values; attributes are values, never changed in place."""
        copy = Inode(
            self.id, self.mode, self.uid, self.gid, self.nlink, self.size, self.atime, self.mtime, self.ctime,
            self.birthtime, self.device, self.target, self.xattrs, b"",
            self.parent, self.name, self.shared,
        )  # fmt: skip
        copy._entry, copy._start = self._entry, self._start
        return copy

    def entry(self, content: bytes) -> Entry:
        """The directory entry for this inode, with the given content section."""
        return Entry(
            self.id, self.mode, self.uid, self.gid, self.nlink, self.size, self.atime, self.mtime, self.ctime,
            self.birthtime, self.device, self.target, self.xattrs, content,
        )  # fmt: skip

    @property
    def rdev(self) -> int:
        """The device number, as st_rdev."""
        return self.device


class SetAttr(NamedTuple):
    """What setattr changes; None leaves a value alone. Times in ns, size in bytes."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime: int | None = None
    mtime: int | None = None
    ctime: int | None = None


class StatFs(NamedTuple):
    """statvfs(3) figures of the store; `files` counts inodes."""

    block_size: int
    blocks: int
    blocks_free: int
    blocks_available: int
    files: int
    files_free: int
    name_max: int


def inode_of_entry(entry: Entry, parent: int, name: bytes, shared: bool = False) -> Inode:
    """The inode an entry describes, found in directory `parent` under `name`."""
    return Inode(*entry, parent, name, shared)
