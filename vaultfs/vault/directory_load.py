"""Reads a directory's committed entries: its base object, then its delta."""

from collections.abc import Callable, Iterator

from vaultfs.errors import Damaged
from vaultfs.format.layout import object_path
from vaultfs.sealing.entries import Head, decode_head
from vaultfs.sealing.frames import FrameCipher, Items
from vaultfs.vault.inode import Inode
from vaultfs.vault.objects import Objects
from vaultfs.vault.waits import NotReady

Entries = dict[bytes, bytes]


class NeedDirectory(NotReady):
    """A directory's entries have to be read: `admit` takes id, head and entries, `needed` tells if they are wanted."""

    def __init__(
        self, objects: Objects, inode: Inode, admit: Callable[[int, bytes, Entries], object],
        needed: Callable[[int, bytes], bool],
    ) -> None:  # fmt: skip
        super().__init__(inode.id)
        self._objects = objects
        self._id = inode.id
        self._head = inode.content
        self._admit = admit
        self._needed = needed
        self._entries: Entries = {}
        self._error: Damaged | None = None

    @property
    def size(self) -> int | None:
        """The bytes of the directory's objects."""
        try:
            return decode_head(self._head).stored
        except Damaged:
            return None

    def prepare(self) -> None:
        """Read and decrypt the directory's frames."""
        try:
            self._entries = load_directory(self._objects, self._id, self._head)
        except Damaged as error:
            self._error = error

    def install(self) -> None:
        """Bring the entries into memory; raises Damaged unless a checkpoint wrote the directory anew meanwhile."""
        if self._error is not None:
            if self._needed(self._id, self._head):
                raise self._error
            return
        self._admit(self._id, self._head, self._entries)


def load_directory(objects: Objects, inode_id: int, encoded_head: bytes) -> Entries:
    """The entries of the directory with this head; raises Damaged. Safe in any thread."""
    head = decode_head(encoded_head)
    entries: Entries = {}
    for _, items in directory_frames(objects, inode_id, head):
        for name, entry in items:
            if not name:
                continue
            if entry:
                entries[name] = entry
            else:
                entries.pop(name, None)
    if len(entries) != head.entries:
        raise Damaged(f"directory {inode_id} has {len(entries)} entries where {head.entries} were committed")
    return entries


def directory_frames(objects: Objects, inode_id: int, head: Head) -> Iterator[tuple[int, Items]]:
    """(generation, items) of each frame of a directory, in order; raises Damaged. Safe in any thread."""
    key = objects.context.unwrap_file_key(inode_id, head.wrapped_key).key
    for part in (head.base, head.delta):
        if part is not None:
            stored = objects.read_frames(object_path(part.object), part.length)
            yield from FrameCipher(objects.context, key, part.object).open(stored, part.tag)
