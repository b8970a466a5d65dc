"""The filesystem: every operation a client may ask for, on an open vault.

Synchronous, for one owner thread, without waiting for anything but the journal's append. An operation raises a
FilesystemError, or NotReady, before anything has changed; see `waits`.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import NamedTuple

from vaultfs.format.constants import CHUNK_SIZE_DEFAULT, MAX_NAME
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.entries import Glance
from vaultfs.store.api import Store
from vaultfs.vault import attributes, extents, fileio, lifecycle, mending, namespace, readplan, rekeying
from vaultfs.vault.checkpointing import Checkpointer, CheckpointJob
from vaultfs.vault.core import Core
from vaultfs.vault.inode import Inode, SetAttr, StatFs
from vaultfs.vault.memory import GenerationMemory
from vaultfs.vault.readahead import (
    Neighbours,
    contents_ahead,
    read_ahead_content,
    read_ahead_directories,
    read_ahead_files,
    subdirectories,
)
from vaultfs.vault.readplan import ReadPlan
from vaultfs.vault.recovery import Progress
from vaultfs.vault.settings import DEFAULTS, Settings
from vaultfs.vault.syncing import SyncPlan


def _nobody_watches(done: int, total: int) -> None:
    """Recovery without anybody to tell."""


class OpenOptions(NamedTuple):
    """How to open a vault.

    With `inline_data` very small files' data goes to their directory entries, which not every vault may have.
    `memory` is where this machine notes the generations it has seen; `progress` is told how far recovery is.
    """

    chunk_size: int = CHUNK_SIZE_DEFAULT
    header_epoch: int = 1
    read_only: bool = False
    accept_rollback: bool = False
    accept_damage: bool = False
    inline_data: bool = True
    memory: GenerationMemory | None = None
    settings: Settings = DEFAULTS
    progress: Progress = _nobody_watches


class Vault:
    """An open vault. Names are bytes, ids are inode numbers, times ns since the epoch, sizes and offsets bytes."""

    def __init__(self, core: Core, checkpointer: Checkpointer) -> None:
        self._core = core
        self._state = core.state
        self._checkpointer = checkpointer
        self._neighbours = Neighbours(core.state)

    @staticmethod
    def create(
        store: Store, keys: VaultKeys, *, chunk_size: int = CHUNK_SIZE_DEFAULT, header_epoch: int = 1,
        uid: int = 0, gid: int = 0,
    ) -> None:  # fmt: skip
        """Make an empty vault, whose top directory belongs to `uid` and `gid`; raises OSError."""
        lifecycle.create_vault(store, keys, chunk_size, header_epoch, uid, gid)

    @classmethod
    def open(cls, store: Store, keys: VaultKeys, options: OpenOptions = OpenOptions()) -> "Vault":  # noqa: B008
        """Open a vault, recovering it if need be; raises OpenError, Damaged and OSError."""
        return cls(*lifecycle.open_core(store, keys, **options._asdict()))

    def close(self) -> None:
        """Commit everything and end cleanly; raises WriteFailed if that failed (the journal has it then)."""
        lifecycle.close_core(self._core, self._checkpointer)

    def settle(self) -> bool:
        """Leave a root that needs no journal, if everything is committed; False if something waits for a checkpoint.

        No sync may be under way. The next change starts a journal again. Raises ReadOnly, WriteFailed.
        """
        return lifecycle.settle_core(self._core, self._checkpointer)

    @property
    def read_only(self) -> bool:
        """Whether nothing can be changed."""
        return bool(self._core.read_only_reason)

    @property
    def is_full(self) -> bool:
        """Whether the last checkpoint found no room for what waits."""
        return self._core.full

    @property
    def read_only_reason(self) -> str:
        """Why nothing can be changed; empty if it can."""
        return self._core.read_only_reason

    @property
    def lacks_changes(self) -> bool:
        """Whether changes since the last checkpoint are left out: their journal, or what they change, is broken."""
        return self._core.lacks_changes

    def is_another_way(self, stored: bytes) -> bool:
        """Whether bytes, of a copy in conflict, are a root of this vault that today's did not come from."""
        return self._core.roots.is_another_way(stored)

    @property
    def generation(self) -> int:
        """The generation of the last committed root."""
        latest = self._core.roots.latest
        assert latest is not None
        return latest.root.generation

    @property
    def chunk_size(self) -> int:
        """The bytes of content in a chunk: damage costs so much at least."""
        return self._core.objects.chunk_size

    # Inodes in use

    def open_inode(self, inode_id: int) -> None:
        """Count one more open handle: the inode lives on until `release`, even unlinked. Raises NotFound."""
        self._state.inode(inode_id)
        self._state.opens[inode_id] = self._state.opens.get(inode_id, 0) + 1

    def release(self, inode_id: int) -> None:
        """Count one open handle less; the last one of an unlinked inode removes it. May raise NotReady."""
        if self._state.opens[inode_id] == 1:
            if (inode := self._state.find_inode(inode_id)) is not None and inode.nlink == 0:
                namespace.purge_closed(self._core, inode_id)
            del self._state.opens[inode_id]
            self._state.forget_inline(inode_id)
        else:
            self._state.opens[inode_id] -= 1

    def remember(self, inode_id: int, count: int = 1) -> None:
        """Keep an inode addressable by its id, `count` times more."""
        self._state.known[inode_id] = self._state.known.get(inode_id, 0) + count

    def forget(self, inode_id: int, count: int) -> None:
        """Take back `count` times `remember`; the last time removes what was kept so far. May raise NotReady."""
        left = self._state.known.get(inode_id, 0) - count
        if left > 0:
            self._state.known[inode_id] = left
        else:
            namespace.purge_forgotten(self._core, inode_id)
            self._state.known.pop(inode_id, None)
            self._state.parents.pop(inode_id, None)

    def path_of(self, inode_id: int) -> bytes:
        """The path of an inode from the top as far as it is in memory, for messages; a hard link's says so."""
        names: list[bytes] = []
        inode = self._state.find_inode(inode_id)
        while inode is not None and inode.parent:
            names.append(b"(hard-linked inode %d)" % inode.id if inode.shared else inode.name)
            inode = self._state.find_inode(inode.parent) if not inode.shared else None
        return b"/" + b"/".join(reversed(names))

    def evict(self) -> None:
        """Forget what is over the memory budget; call it between operations now and then."""
        self._state.evict()

    def is_gone(self, inode_id: int) -> bool:
        """Whether an inode went lately; False as well for one that went before the last checkpoint."""
        return self._state.is_gone(inode_id)

    # Names

    def lookup(self, parent: int, name: bytes) -> Inode:
        """The inode of a name, `.` and `..` included."""
        return namespace.lookup(self._state, parent, name)

    def create_inode(
        self,
        parent: int,
        name: bytes,
        mode: int,
        uid: int,
        gid: int,
        rdev: int = 0,
        target: bytes = b"",
        umask: int = 0,
    ) -> Inode:
        """A new inode of any type by S_IFMT(mode); `target` is a symlink's, `rdev` a device's number.

        `umask` are the bits of the mode it does not get, unless it is a symlink or its directory has a default ACL
        (umask(2)).
        """
        return namespace.create(self._core, parent, name, mode, uid, gid, rdev, target, umask)

    def link(self, inode_id: int, parent: int, name: bytes) -> Inode:
        """One more name for an inode."""
        return namespace.link(self._core, inode_id, parent, name)

    def unlink(self, parent: int, name: bytes) -> None:
        """Remove a name of anything but a directory."""
        namespace.unlink(self._core, parent, name)

    def rmdir(self, parent: int, name: bytes) -> None:
        """Remove an empty directory."""
        namespace.rmdir(self._core, parent, name)

    def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int = 0) -> None:
        """renameat2(2) with its flags; replaces atomically, content included."""
        namespace.rename(self._core, parent, name, new_parent, new_name, flags)

    def list_directory(self, inode_id: int) -> list[tuple[bytes, int]]:
        """(name, inode id) of all entries, without `.` and `..`."""
        return list(self._state.directory(inode_id).listing())

    def readdir_entry(self, parent: int, name: bytes) -> Inode | None:
        """The inode of a listed name, None if it is gone meanwhile."""
        return self._state.listed_child(self._state.directory(parent), name)

    def glance(self, parent: int, name: bytes) -> Glance | None:
        """The attributes of a listed name if they can be told at a glance; None where `readdir_entry` has to."""
        return self._state.glance(parent, name)

    def replace_directory(self, path: tuple[bytes, ...], expected: int | None, entries: dict[bytes, bytes]) -> None:
        """Let a directory hold these encoded entries from the next checkpoint on; for repair, see `mending`."""
        mending.replace_directory(self._core, path, expected, entries)

    def skip_ids(self, used: int) -> None:
        """Give no new inode an id up to this one; for repair."""
        mending.skip_ids(self._core, used)

    def give_up(self, why: str) -> None:
        """Commit nothing any more: what is in memory and not in the journal is half done."""
        self._core.stop_writing(why)

    def set_links(self, inode_id: int, count: int) -> None:
        """Set a hard-linked inode's link count from the next checkpoint on, and bring it into memory; for repair."""
        mending.set_links(self._core, inode_id, count)

    # A change of the master key; see `rekeying`

    @property
    def keys(self) -> VaultKeys:
        """The keys in force."""
        return self._core.objects.context.keys

    @property
    def store(self) -> Store:
        """Where the vault is kept."""
        return self._core.objects.store

    @property
    def inode_count(self) -> int:
        """How many inodes there are."""
        return self._state.inode_count

    @property
    def directory_moves(self) -> int:
        """How often a directory got another name or place since the vault was opened."""
        return self._state.directory_moves

    def change_keys(self, keys: VaultKeys) -> bool:
        """Seal everything under these keys from now on; False if a checkpoint has to end first. Raises WriteFailed."""
        return rekeying.change_keys(self._core, self._checkpointer, keys)

    def renew_directory(self, top: int, names: tuple[bytes, ...]) -> None:
        """Have the next checkpoint write a directory anew, with the keys in it under the present master key."""
        rekeying.renew_directory(self._core, top, names)

    def renewal_waits(self) -> bool:
        """Whether a directory waits to be written anew. Raises ReadOnly or NoSpace if that will not come to be."""
        return rekeying.renewal_waits(self._core)

    def renew_headers(self, folder: str) -> int:
        """Seal the object headers in a folder under the present master key; how many. Any thread; raises OSError."""
        return rekeying.renew_headers(self._core.objects, folder)

    def outdated_parts(self) -> list[str]:
        """The roots and journals that the previous master key still opens. Any thread; raises OSError."""
        return rekeying.outdated_parts(self._core.objects)

    # Attributes

    def getattr(self, inode_id: int) -> Inode:
        """An inode's attributes."""
        return self._state.inode(inode_id)

    def setattr(self, inode_id: int, change: SetAttr) -> Inode:
        """Change attributes; set-id bits and capabilities fall where they must."""
        return attributes.setattr(self._core, inode_id, change)

    def blocks(self, inode: Inode) -> int:
        """An inode's allocated size in 512-byte units, as st_blocks."""
        return fileio.blocks(self._state, inode)

    def readlink(self, inode_id: int) -> bytes:
        """A symlink's target."""
        return namespace.readlink(self._state, inode_id)

    def getxattr(self, inode_id: int, name: bytes) -> bytes:
        """An extended attribute's value."""
        return attributes.getxattr(self._state.inode(inode_id), name)

    def setxattr(
        self, inode_id: int, name: bytes, value: bytes, flags: int = 0, groups: Collection[int] | None = None
    ) -> None:
        """Set an extended attribute; `flags` as in setxattr(2), `groups` those of a caller without privileges."""
        attributes.setxattr(self._core, inode_id, name, value, flags, groups)

    def may_have_xattrs(self, inode_id: int) -> bool:
        """False if it is known, without reading anything, that an inode has no extended attributes."""
        return self._state.may_have_xattrs(inode_id)

    def listxattr(self, inode_id: int) -> list[bytes]:
        """The names of all extended attributes."""
        return sorted(self._state.inode(inode_id).xattrs)

    def removexattr(self, inode_id: int, name: bytes) -> None:
        """Remove an extended attribute."""
        attributes.removexattr(self._core, inode_id, name)

    def statfs(self) -> StatFs:
        """The store's room, as the vault's, without what is kept for the ballast."""
        space = self._core.objects.store.space()
        owed = self._core.space.owed
        free, available = max(space.free - owed, 0), max(space.available - owed, 0)
        block = 4096
        count = self._state.inode_count
        return StatFs(
            block, space.total // block, free // block, available // block,
            count + free // block, free // block, MAX_NAME,
        )  # fmt: skip

    # Content

    def read_plan(self, inode_id: int, offset: int, size: int) -> ReadPlan:
        """Plan a read; carry it out with `ReadPlan.run` in any thread."""
        return readplan.read_plan(self._state, inode_id, offset, size)

    def reread(self, plan: ReadPlan) -> ReadPlan | None:
        """After Damaged: a new plan if what the old one read has moved meanwhile, else None."""
        return readplan.reread(self._state, plan)

    # Reading ahead: jobs for any thread that bring things in

    def content_ahead(self, inode_id: int, offset: int, size: int) -> list[Callable[[], None]]:
        """They bring in a part of a file that is likely to be read soon."""
        return list(read_ahead_content(self._state, inode_id, offset, size))

    def write_back(self) -> None:
        """Have content written lately carried to the disk, so that a sync has less to wait for. Any thread."""
        self._core.objects.handles.write_back()

    def position(self, inode_id: int) -> tuple[int, int] | None:
        """(id of its directory, position among the names there) of a file, if that is known without reading."""
        return self._neighbours.position(inode_id)

    def files_ahead(self, position: int, count: int, at_once: int) -> list[Callable[[], None]]:
        """Each brings in the beginnings of `at_once` files, of `count` in the directory last asked about."""
        entries = self._neighbours.entries(position, count)
        pieces = [entries[start : start + at_once] for start in range(0, len(entries), at_once)]
        return [partial(read_ahead_files, self._core.objects, piece) for piece in pieces]

    def contents_ahead(self, inodes: Iterable[Inode], size: int) -> Callable[[], None]:
        """Brings in the first `size` bytes of these files."""
        return contents_ahead(self._core.objects, inodes, size)

    def directories_ahead(self, inode_id: int, count: int) -> list[Callable[[], None]]:
        """Each brings in the names of `count` directories in a directory; not of more than a few hundred in all."""
        entries = subdirectories(self._state, inode_id)
        pieces = [entries[start : start + count] for start in range(0, len(entries), count)]
        return [partial(read_ahead_directories, self._core.objects, piece) for piece in pieces]

    def data_range(self, inode_id: int, offset: int) -> tuple[int, int] | None:
        """(start, end) of the data at or behind `offset`, None if only a hole follows; long ranges come in pieces."""
        return extents.data_range(self._state, inode_id, offset)

    def write(self, inode_id: int, offset: int, data: bytes, keep_times: bool = False) -> int:
        """Write bytes and return how many; with `keep_times` for a file whose times are known already."""
        return fileio.write(self._core, inode_id, offset, data, keep_times)

    def truncate(self, inode_id: int, size: int, keep_times: bool = False) -> None:
        """Set a file's size in bytes; `keep_times` as in `write`."""
        fileio.truncate(self._core, inode_id, size, keep_times)

    # Durability

    def hold_changes(self) -> None:
        """Let changes wait for one another in memory; the caller promises `write_out` within milliseconds of any."""
        self._core.may_hold = True

    def write_out(self) -> None:
        """Have every change in the journal's file, so that it survives this process; NoSpace or WriteFailed if not."""
        self._core.write_out()

    def begin_sync(self, inode_id: int | None = None) -> SyncPlan:
        """An fsync of one inode, or of everything, in the steps of SyncPlan; raises WriteFailed once a write failed."""
        return fileio.begin_sync(self._core, inode_id)

    @property
    def has_changes(self) -> bool:
        """Whether anything waits for a checkpoint."""
        return self._state.has_changes

    def wants_checkpoint(self, now: float) -> bool:
        """Whether a checkpoint is due; `now` is time.monotonic() in seconds."""
        return self._checkpointer.wanted(now)

    def begin_checkpoint(self) -> CheckpointJob | None:
        """Start a checkpoint; None if there is nothing to commit or one is running."""
        return self._checkpointer.begin()

    def checkpoint(self) -> bool:
        """A whole checkpoint in this thread; True if everything is durable now."""
        return self._checkpointer.run()
