"""Calls a vault's operations from a single thread, waiting in place for whatever they need."""

from collections.abc import Callable
from typing import TypeVar

from vaultfs.errors import Damaged, FilesystemError
from vaultfs.vault.inode import Inode, SetAttr, StatFs
from vaultfs.vault.vault import Vault
from vaultfs.vault.waits import NeedCheckpoint, resolve

Result = TypeVar("Result")


class Inline:
    """The operations of `Vault` that may have to wait, done to the end; for exports, checks and tests.

    `checkpoint` is called where an operation cannot go on without one; by default it is done in this thread.
    """

    def __init__(self, vault: Vault, checkpoint: Callable[[], object] | None = None) -> None:
        self.vault = vault
        self._checkpoint = checkpoint or vault.checkpoint

    def call(self, operation: Callable[[], Result]) -> Result:
        """Run an operation, with the loads and checkpoints it needs."""
        while True:
            try:
                return resolve(operation)
            except NeedCheckpoint:
                self._checkpoint()

    def lookup(self, parent: int, name: bytes) -> Inode:
        """`Vault.lookup`."""
        return self.call(lambda: self.vault.lookup(parent, name))

    def walk(self, path: bytes) -> Inode:
        """The inode at a path from the top, symlinks not followed."""
        inode = self.getattr(1)
        for name in path.split(b"/"):
            if name:
                inode = self.lookup(inode.id, name)
        return inode

    def create_inode(
        self, parent: int, name: bytes, mode: int, uid: int = 0, gid: int = 0, rdev: int = 0, target: bytes = b""
    ) -> Inode:
        """`Vault.create_inode`."""
        return self.call(lambda: self.vault.create_inode(parent, name, mode, uid, gid, rdev, target))

    def link(self, inode_id: int, parent: int, name: bytes) -> Inode:
        """`Vault.link`."""
        return self.call(lambda: self.vault.link(inode_id, parent, name))

    def unlink(self, parent: int, name: bytes) -> None:
        """`Vault.unlink`."""
        self.call(lambda: self.vault.unlink(parent, name))

    def rmdir(self, parent: int, name: bytes) -> None:
        """`Vault.rmdir`."""
        self.call(lambda: self.vault.rmdir(parent, name))

    def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int = 0) -> None:
        """`Vault.rename`."""
        self.call(lambda: self.vault.rename(parent, name, new_parent, new_name, flags))

    def list_directory(self, inode_id: int) -> list[tuple[bytes, int]]:
        """`Vault.list_directory`."""
        return self.call(lambda: self.vault.list_directory(inode_id))

    def getattr(self, inode_id: int) -> Inode:
        """`Vault.getattr`."""
        return self.call(lambda: self.vault.getattr(inode_id))

    def setattr(self, inode_id: int, change: SetAttr) -> Inode:
        """`Vault.setattr`."""
        return self.call(lambda: self.vault.setattr(inode_id, change))

    def readlink(self, inode_id: int) -> bytes:
        """`Vault.readlink`."""
        return self.call(lambda: self.vault.readlink(inode_id))

    def getxattr(self, inode_id: int, name: bytes) -> bytes:
        """`Vault.getxattr`."""
        return self.call(lambda: self.vault.getxattr(inode_id, name))

    def setxattr(self, inode_id: int, name: bytes, value: bytes, flags: int = 0) -> None:
        """`Vault.setxattr`."""
        self.call(lambda: self.vault.setxattr(inode_id, name, value, flags))

    def listxattr(self, inode_id: int) -> list[bytes]:
        """`Vault.listxattr`."""
        return self.call(lambda: self.vault.listxattr(inode_id))

    def removexattr(self, inode_id: int, name: bytes) -> None:
        """`Vault.removexattr`."""
        self.call(lambda: self.vault.removexattr(inode_id, name))

    def statfs(self) -> StatFs:
        """`Vault.statfs`."""
        return self.vault.statfs()

    def open_inode(self, inode_id: int) -> None:
        """`Vault.open_inode`."""
        self.call(lambda: self.vault.open_inode(inode_id))

    def release(self, inode_id: int) -> None:
        """`Vault.release`."""
        self.call(lambda: self.vault.release(inode_id))

    def read(self, inode_id: int, offset: int, size: int) -> bytes:
        """Up to `size` bytes of a file from `offset`; fewer at its end. Raises Damaged."""
        return bytes(self.read_view(inode_id, offset, size))

    def read_view(self, inode_id: int, offset: int, size: int) -> memoryview:
        """`read` without a copy: a view of memory that is the caller's alone."""
        plan = self.call(lambda: self.vault.read_plan(inode_id, offset, size))
        try:
            return plan.run()
        except Damaged:
            again = self.call(lambda: self.vault.reread(plan))
            if again is None:
                raise
            return again.run()

    def part_ahead(self, inode_id: int, offset: int, size: int) -> Callable[[], None] | None:
        """A job that brings in a part of a file, whose map is read here and now; None if there is no such part."""
        try:
            plan = self.call(lambda: self.vault.read_plan(inode_id, offset, size))
        except FilesystemError:
            return None
        return plan.read_ahead if plan.size else None

    def data_range(self, inode_id: int, offset: int) -> tuple[int, int] | None:
        """`Vault.data_range`."""
        return self.call(lambda: self.vault.data_range(inode_id, offset))

    def write(self, inode_id: int, offset: int, data: bytes) -> int:
        """`Vault.write`, as often as it takes to write all."""
        written = self.call(lambda: self.vault.write(inode_id, offset, data))
        while written < len(data):
            rest, position = data[written:], offset + written
            written += self.call(lambda rest=rest, position=position: self.vault.write(inode_id, position, rest))  # type: ignore[misc]
        return written

    def fsync(self, inode_id: int | None = None) -> None:
        """Make one inode, or everything, durable."""
        self.vault.begin_sync(inode_id).run()
