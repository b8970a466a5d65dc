"""The vault's whole state in memory: inodes, directories and contents, each as of up to three epochs.

A change goes to the *active* epoch. A checkpoint freezes that epoch: its values are not touched again, a new active
one begins, and once the frozen one is durable it becomes *committed*. Reads look active, then frozen, then
committed. Everything here belongs to the owner thread; a checkpoint only reads what is frozen or committed.
"""

import stat

from vaultfs.errors import Damaged, NotADirectory, Stale
from vaultfs.format.constants import FIRST_FREE_ID, ORPHANS_ID, ROOT_ID, SHARD_BASE, SHARED_ID, SHARED_SHARDS
from vaultfs.sealing.entries import Glance, Pointer, decode_entry, entry_id_and_mode, glance, may_have_xattrs
from vaultfs.vault.content import FileContent
from vaultfs.vault.directory import Directory
from vaultfs.vault.directory_load import NeedDirectory
from vaultfs.vault.inode import Inode, inode_of_entry
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import Segment
from vaultfs.vault.settings import Settings

TOP_IDS = (ROOT_ID, SHARED_ID, ORPHANS_ID)


class Epoch:
    """What changed in one epoch, and what may be let go once it is committed."""

    __slots__ = (
        "contents", "direct_bytes", "directories", "dropped", "gone", "inodes", "let_go_slots", "overlay_bytes",
        "purged", "purged_directories", "purged_sections", "renewed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {}
        self.directories: dict[int, Directory] = {}
        self.contents: dict[int, FileContent] = {}
        self.purged: list[FileContent] = []
        # The content sections, with objects, of files that are gone and that nobody had looked into, by inode id.
        self.purged_sections: dict[int, bytes] = {}
        # The committed head of each directory that is gone.
        self.purged_directories: dict[int, bytes] = {}
        self.gone: set[int] = set()
        # Directories to be written anew although no name in them changed, with their bytes; their inodes are among
        # `inodes`.
        self.renewed: dict[int, int] = {}
        # Segments made and cut off again.
        self.dropped: list[Segment] = []
        # Slots that records of this epoch's journal name, and nothing else any more.
        self.let_go_slots: list[tuple[Segment, int]] = []
        self.overlay_bytes = 0
        self.direct_bytes = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (
            self.inodes
            or self.directories
            or self.contents
            or self.purged
            or self.purged_sections
            or self.purged_directories
        )


class State:
    """`known` maps the ids of inodes the kernel remembers to its count of them; `opens` counts open handles."""

    def __init__(self, objects: Objects, settings: Settings) -> None:
        self.objects = objects
        self.settings = settings
        self.active = Epoch()
        self.frozen: Epoch | None = None
        self.cache: dict[int, Inode] = {}
        self.directories: dict[int, Directory] = {}
        self.contents: dict[int, FileContent] = {}
        # How many there may be until those not in use are looked for.
        self._most_contents = settings.content_budget
        # As of the last eviction, and what came in since: bytes of directories, and of the entries inodes keep.
        self._directory_bytes = 0
        self._entry_bytes = 0
        self._most_inodes = settings.inode_budget
        self._most_entry_bytes = settings.entry_budget
        self._most_directory_bytes = settings.directory_budget
        self.opens: dict[int, int] = {}
        self.known: dict[int, int] = {}
        # Where to look for an inode that was evicted.
        self.parents: dict[int, int] = {}
        # Inodes the active epoch's journal says the place of, so that recovery can find them.
        self.located: set[int] = set(TOP_IDS)
        self.next_id = FIRST_FREE_ID
        self.inode_count = 0
        # How often a directory got another name or place: who looks at the tree meanwhile may have missed it.
        self.directory_moves = 0

    @property
    def has_changes(self) -> bool:
        """Whether anything waits for a checkpoint."""
        return self.frozen is not None or not self.active.empty

    # Inodes

    def find_inode(self, inode_id: int) -> Inode | None:
        """An inode if it is in memory."""
        inode = self.active.inodes.get(inode_id)
        # The kernel may still ask for an inode that is gone, which the frozen epoch has as it was before.
        if inode is None and inode_id not in self.active.gone:
            if self.frozen is not None:
                inode = self.frozen.inodes.get(inode_id)
                if inode is not None:
                    return inode
            inode = self.cache.get(inode_id)
        return inode

    def inode(self, inode_id: int) -> Inode:
        """An inode as it is now; raises Stale, or NotReady to read its directory again."""
        return self.active.inodes.get(inode_id) or self.find_inode(inode_id) or self._reload(inode_id)

    def _reload(self, inode_id: int) -> Inode:
        parent = SHARED_ID if inode_id in SHARD_IDS else self.parents.get(inode_id)
        if parent is None or self.is_gone(inode_id):
            raise Stale(f"there is no inode {inode_id}")
        directory = self.directory(parent)
        name = directory.name_of(inode_id)
        if name is None:
            raise Stale(f"there is no inode {inode_id}")
        return self._admit(directory, name, directory.committed[name])

    def is_gone(self, inode_id: int) -> bool:
        """Whether an inode is no more, although the committed directories still have it."""
        return inode_id in self.active.gone or (self.frozen is not None and inode_id in self.frozen.gone)

    def edit(self, inode_id: int) -> Inode:
        """An inode that may be changed in place until the next checkpoint."""
        inode = self.active.inodes.get(inode_id)
        if inode is None:
            inode = self.active.inodes[inode_id] = self.inode(inode_id).copy()
        return inode

    def add(self, inode: Inode) -> None:
        """Bring in an inode that is new in this epoch."""
        self.active.inodes[inode.id] = inode
        self.inode_count += 1
        self.next_id = max(self.next_id, inode.id + 1)
        if stat.S_ISDIR(inode.mode):
            self.directories[inode.id] = Directory(inode.id, {})
        elif stat.S_ISREG(inode.mode):
            self.contents[inode.id] = FileContent(self.objects, inode.id)

    def child(self, directory: Directory, name: bytes) -> Inode | None:
        """The inode of a name; raises NotReady if it is hard-linked and its shard is not in memory."""
        found = directory.find(name)
        if found is None:
            return None
        if isinstance(found, int):
            return self.inode(found)
        return self.find_inode(entry_id_and_mode(found)[0]) or self._admit(directory, name, found)

    def listed_child(self, directory: Directory, name: bytes) -> Inode | None:
        """Like `child`, for listings: what is only looked at is not kept in memory, but stays addressable by id."""
        found = directory.find(name)
        if not isinstance(found, bytes):
            return self.child(directory, name)
        inode_id = entry_id_and_mode(found)[0]
        inode = self.find_inode(inode_id)
        if inode is not None:
            return inode
        entry = decode_entry(found)
        if isinstance(entry, Pointer):
            return self.shared_inode(inode_id)
        self.parents[inode_id] = directory.id
        return inode_of_entry(entry, directory.id, name)

    def glance(self, directory_id: int, name: bytes) -> Glance | None:
        """The attributes of a name that nobody has looked at or changed; None where `listed_child` has to tell."""
        directory = self.directories.get(directory_id)
        found = directory.find(name) if directory is not None else None
        if type(found) is not bytes:
            return None
        seen = glance(found)
        if seen is None or self.find_inode(seen.id) is not None:
            return None
        self.parents[seen.id] = directory_id
        return seen

    def thaw_directory(self, directory: Directory, items: dict[bytes, bytes]) -> None:
        """Have a directory take over what a checkpoint committed of it."""
        before = directory.size
        directory.thaw(items)
        self._directory_bytes += directory.size - before

    def set_content(self, inode_id: int, section: bytes) -> None:
        """Note an inode's committed content section in every version of it that is in memory."""
        cached, active = self.cache.get(inode_id), self.active.inodes.get(inode_id)
        if cached is not None:
            cached.content = section
            self._entry_bytes += len(section)
        if active is not None:
            active.content = section
        if inode_id in self.active.purged_directories:
            self.active.purged_directories[inode_id] = section

    def may_have_xattrs(self, inode_id: int) -> bool:
        """Whether an inode has extended attributes, or that cannot be told without reading or decoding its entry.

        `ls -l` asks for ACLs file by file, of inodes that are no more than encoded entries yet.
        """
        inode = self.find_inode(inode_id)
        if inode is not None:
            return bool(inode.xattrs)
        directory = self.directories.get(self.parents.get(inode_id, 0))
        if directory is None or self.is_gone(inode_id):
            return True
        name = directory.name_of(inode_id)
        return name is None or may_have_xattrs(directory.committed[name])

    def _admit(self, directory: Directory, name: bytes, encoded: bytes) -> Inode:
        entry = decode_entry(encoded)
        if isinstance(entry, Pointer):
            return self.shared_inode(entry.id)
        shared = directory.id in SHARD_IDS
        inode = self.cache[entry.id] = inode_of_entry(entry, directory.id, name, shared)
        inode.share_content(encoded)
        self._entry_bytes += len(encoded)
        return inode

    def shared_inode(self, inode_id: int) -> Inode:
        """The inode of a hard-linked file; raises Damaged if the shared table does not have it, or NotReady."""
        inode = self.find_inode(inode_id)
        if inode is not None:
            return inode
        shard_id = shard_of(inode_id)
        table = self.directory(SHARED_ID)
        if self.child(table, shard_name(shard_id)) is not None:
            shard = self.directory(shard_id)
            inode = self.child(shard, hidden_name(inode_id))
        if inode is None:
            raise Damaged(f"the attributes of hard-linked inode {inode_id} are missing")
        return inode

    # Directories

    def directory(self, inode_id: int) -> Directory:
        """A directory's names; raises NotADirectory, NotFound, or NotReady if they have to be read."""
        directory = self.directories.get(inode_id)
        if directory is None:
            inode = self.inode(inode_id)
            if not stat.S_ISDIR(inode.mode):
                raise NotADirectory(f"inode {inode_id} is no directory")
            if inode.content:
                raise NeedDirectory(self.objects, inode, self.admit_directory, self.still_needs)
            directory = self.admit_directory(inode_id, b"", {})
        return directory

    def admit_directory(self, inode_id: int, head: bytes, entries: dict[bytes, bytes]) -> Directory:
        """Take a directory's entries just read at `head`, unless it is here, or has another head, by now."""
        directory = self.directories.get(inode_id)
        if directory is None:
            directory = Directory(inode_id, entries)
            inode = self.find_inode(inode_id)
            if inode is not None and inode.content == head:
                self.directories[inode_id] = directory
                self._directory_bytes += directory.size
        return directory

    def still_needs(self, inode_id: int, head: bytes) -> bool:
        """Whether a directory is as it was committed at `head`, and has to be read there."""
        inode = self.find_inode(inode_id)
        return inode is not None and inode.content == head and inode_id not in self.directories

    def changed_directory(self, inode_id: int) -> Directory:
        """A directory whose names are about to change."""
        directory = self.directory(inode_id)
        self.active.directories[inode_id] = directory
        return directory

    # Contents

    def content(self, inode: Inode) -> FileContent:
        """A regular file's content; raises Damaged if its map cannot be read."""
        content = self.contents.get(inode.id)
        if content is None:
            if len(self.contents) >= self._most_contents:
                self._evict_contents()
            content = FileContent.from_section(self.objects, inode.id, inode.content)
            self.contents[inode.id] = content
        return content

    def changed_content(self, inode: Inode) -> FileContent:
        """A content that is about to change; raises NotReady if its map has to be loaded."""
        content = self.content(inode)
        # A checkpoint writes the whole map anew, also if nothing in it changes.
        content.require_map()
        self.active.contents[inode.id] = content
        return content

    # Epochs

    def freeze(self) -> Epoch:
        """Hand the active epoch to a checkpoint."""
        frozen = self.active
        self.frozen = frozen
        self.active = Epoch()
        self.located = set(TOP_IDS)
        for directory in frozen.directories.values():
            directory.freeze()
        for content in frozen.contents.values():
            content.freeze(self.settings)
        return frozen

    def evict(self) -> None:
        """Forget what is neither changed nor in use, if there is much of it; the kernel's inodes keep an address."""
        if len(self.cache) > self._most_inodes or self._entry_bytes > self._most_entry_bytes:
            self._evict_inodes()
        if self._directory_bytes > self._most_directory_bytes:
            self._evict_directories()

    def _evict_directories(self) -> None:
        """Forget the entries of directories; not of the last few that were read, which somebody is about to use."""
        waiting = self.frozen.renewed if self.frozen is not None else {}
        kept = {*TOP_IDS, *self.active.renewed, *waiting}
        idle = [key for key, value in self.directories.items() if not value.changed and key not in kept]
        for inode_id in idle[: max(len(idle) - self.settings.fresh_directories, 0)]:
            del self.directories[inode_id]
        self._directory_bytes = sum([directory.size for directory in self.directories.values()])
        self._most_directory_bytes = self._directory_bytes + self.settings.directory_budget

    def _forget_content(self, inode_id: int) -> None:
        content = self.contents.pop(inode_id, None)
        if content is not None:
            content.forgotten = True

    def forget_inline(self, inode_id: int) -> None:
        """Forget the content of a closed file whose data its entry has; it is made again in no time."""
        content = self.contents.get(inode_id)
        if content is None or not content.inline or content.changed or inode_id in self.active.contents:
            return
        if self.frozen is None or inode_id not in self.frozen.contents:
            self._forget_content(inode_id)

    def _evict_contents(self) -> None:
        """Forget the maps of files that are closed; each takes several times what its inode does."""
        keep = self.opens.keys() | self.active.contents.keys()
        if self.frozen is not None:
            keep |= self.frozen.contents.keys()
        for inode_id, content in list(self.contents.items()):
            if inode_id not in keep and not content.changed and not content.unsynced:
                self._forget_content(inode_id)
        self._most_contents = len(self.contents) + self.settings.content_budget

    def _evict_inodes(self) -> None:
        keep = set(TOP_IDS) | self.opens.keys() | self.active.inodes.keys() | self.active.directories.keys()
        if self.frozen is not None:
            keep |= self.frozen.inodes.keys() | self.frozen.directories.keys()
        for inode_id in list(keep):
            # A checkpoint needs the directories above what changed, whether or not the kernel remembers them.
            while (inode := self.find_inode(inode_id)) is not None and inode.parent:
                inode_id = inode.parent
                keep.add(inode_id)
        for inode_id in [key for key in self.cache if key not in keep]:
            content = self.contents.get(inode_id)
            if content is not None and (content.changed or content.unsynced):
                continue
            self._forget_content(inode_id)
            inode = self.cache.pop(inode_id)
            if inode_id in self.known:
                self.parents[inode_id] = inode.parent
        self._entry_bytes = sum([inode.content_size for inode in self.cache.values()])
        self._most_inodes = len(self.cache) + self.settings.inode_budget
        self._most_entry_bytes = self._entry_bytes + self.settings.entry_budget


SHARD_IDS = range(SHARD_BASE, SHARD_BASE + SHARED_SHARDS)
HIDDEN_IDS = frozenset({SHARED_ID, ORPHANS_ID, *SHARD_IDS})
"""Directories that no user sees."""


def shard_of(inode_id: int) -> int:
    """The id of the hidden directory that holds a hard-linked inode's entry."""
    return SHARD_BASE + inode_id % SHARED_SHARDS


def shard_name(shard_id: int) -> bytes:
    """A shard's name in the shared table."""
    return b"%02x" % (shard_id - SHARD_BASE)


def hidden_name(inode_id: int) -> bytes:
    """An inode's name in a shard or among the orphans."""
    return b"%016x" % inode_id
