"""Fills a vault through the library, and keeps its own account of every content, for the manifest."""

import hashlib
import stat
from typing import Any

from _golden.digest import BLOCK, digest
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode, SetAttr
from vaultfs.vault.vault import Vault

Extents = list[tuple[int, bytes]]


def filler(label: str, size: int) -> bytes:
    """`size` bytes that look random and are the same each time."""
    return hashlib.shake_256(f"golden {label}".encode()).digest(size)


class Plain:
    """A file's content as it should be, sparse: `size` bytes, zero but for `blocks`."""

    def __init__(self) -> None:
        self.size = 0
        self._blocks: dict[int, bytearray] = {}

    def write(self, offset: int, data: bytes) -> None:
        for position in range(offset - offset % BLOCK, offset + len(data), BLOCK):
            block = self._blocks.setdefault(position, bytearray(BLOCK))
            start, stop = max(offset, position), min(offset + len(data), position + BLOCK)
            block[start - position : stop - position] = data[start - offset : stop - offset]
        self.size = max(self.size, offset + len(data))

    def truncate(self, size: int) -> None:
        for position in list(self._blocks):
            kept = max(size - position, 0)
            self._blocks[position][kept:] = bytes(max(BLOCK - kept, 0))
        self.size = size

    def digest(self) -> str:
        return digest((position, bytes(self._blocks[position])) for position in sorted(self._blocks))


class Builder:
    """Every path's inode id and, for regular files, its content by the script's own account."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.fs = Inline(vault)
        self.ids: dict[bytes, int] = {b"": 1}
        self.plain: dict[int, Plain] = {}
        self._lost: set[int] = set()

    def on(self, vault: Vault) -> "Builder":
        """Go on with the same files in the vault opened again."""
        other = Builder(vault)
        other.ids, other.plain = self.ids, self.plain
        for path in self.ids:
            other.fs.walk(path)  # an id says nothing of where an inode is
        return other

    def make(self, path: bytes, mode: int, rdev: int = 0, target: bytes = b"", owner: tuple[int, int] = (0, 0)) -> int:
        parent, name = self._split(path)
        inode = self.fs.create_inode(parent, name, mode, *owner, rdev, target)
        self.ids[path] = inode.id
        if stat.S_ISREG(mode):
            self.plain[inode.id] = Plain()
        return inode.id

    def folder(self, path: bytes, mode: int = 0o755) -> int:
        return self.make(path, stat.S_IFDIR | mode)

    def file(self, path: bytes, extents: Extents | None = None, mode: int = 0o644) -> int:
        inode_id = self.make(path, stat.S_IFREG | mode)
        for offset, data in extents or []:
            self.write(inode_id, offset, data)
        return inode_id

    def write(self, inode_id: int, offset: int, data: bytes) -> None:
        self.fs.write(inode_id, offset, data)
        self.plain[inode_id].write(offset, data)

    def lose(self, inode_id: int, offset: int, data: bytes) -> None:
        """Write what is going to be lost."""
        self.fs.write(inode_id, offset, data)
        self._lost.add(inode_id)

    def truncate(self, inode_id: int, size: int) -> None:
        self.fs.setattr(inode_id, SetAttr(size=size))
        self.plain[inode_id].truncate(size)

    def link(self, old: bytes, new: bytes) -> None:
        self.fs.link(self.ids[old], *self._split(new))
        self.ids[new] = self.ids[old]

    def unlink(self, path: bytes) -> None:
        self.fs.unlink(*self._split(path))
        del self.ids[path]

    def rmdir(self, path: bytes) -> None:
        self.fs.rmdir(*self._split(path))
        del self.ids[path]

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        """renameat2(2); what a moved directory holds is found again only if nothing is in it."""
        self.fs.rename(*self._split(old), *self._split(new), flags)
        exchanged = self.ids.get(new)
        self.ids[new] = self.ids.pop(old)
        if flags & 2:
            assert exchanged is not None
            self.ids[old] = exchanged
        if flags & 4:
            parent, name = self._split(old)
            self.ids[old] = self.fs.lookup(parent, name).id

    def checkpoint(self) -> None:
        assert self.vault.checkpoint(), self.vault.read_only_reason

    def _split(self, path: bytes) -> tuple[int, bytes]:
        folder, _, name = path.rpartition(b"/")
        return self.ids[folder], name

    def manifest(self) -> dict[str, dict[str, Any]]:
        """Every path, as hex, with its attributes now and its content's digest."""
        return {path.hex(): self._describe(self.fs.getattr(self.ids[path])) for path in sorted(self.ids)}

    def _describe(self, inode: Inode) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "id": inode.id,
            "mode": f"{inode.mode:06o}",
            **{name: getattr(inode, name) for name in ("uid", "gid", "nlink", "size")},
            **{name: getattr(inode, name) for name in ("atime", "mtime", "ctime", "birthtime")},
        }
        if inode.rdev:
            entry["rdev"] = inode.rdev
        if inode.target:
            entry["target"] = inode.target.hex()
        if inode.xattrs:
            entry["xattrs"] = {name.hex(): value.hex() for name, value in sorted(inode.xattrs.items())}
        if stat.S_ISREG(inode.mode):
            plain = self.plain[inode.id]
            assert plain.size == inode.size or inode.id in self._lost
            entry["size"] = plain.size
            entry["content"] = plain.digest()
        return entry
