"""The checkpoint of directories: appends a frame of changes to each, bottom-up, or writes it anew when that is due."""

import logging
import struct
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import OBJECT_DIRECTORY, OBJECT_HEADER_SIZE
from vaultfs.format.layout import object_path
from vaultfs.sealing.entries import Head, Part, decode_head, encode_entry, encode_head
from vaultfs.sealing.frames import NO_TAG, FrameCipher, item_size
from vaultfs.sealing.objects import ObjectHeader, seal_object_header
from vaultfs.sealing.renewal import renew_entry
from vaultfs.vault.directory import Directory
from vaultfs.vault.directory_load import load_directory
from vaultfs.vault.inode import Inode
from vaultfs.vault.objects import Objects
from vaultfs.vault.segment import KEY_EPOCH
from vaultfs.vault.settings import Settings

log = logging.getLogger("vaultfs.vault")

_PARENT = struct.Struct("<Q")

Items = dict[bytes, bytes]


class DirectoryCommit(NamedTuple):
    """A directory's new head, the items written, and the names of the objects it no longer needs."""

    inode_id: int
    head: bytes
    items: Items
    let_go: list[bytes]


class DirectoryWriter:
    """Commits one directory; runs in the checkpoint worker, raises OSError and Damaged.

    `items` are the encoded entries of changed names, empty for names that are gone. `made` collects the names of
    new objects, which go again if the checkpoint fails.
    """

    def __init__(
        self, objects: Objects, settings: Settings, inode: Inode, directory: Directory | None, items: Items,
        made: list[bytes],
    ) -> None:  # fmt: skip
        self._objects = objects
        self._settings = settings
        self._inode = inode
        self._directory = directory
        self._items = items
        self._made = made
        self._head = decode_head(inode.content) if inode.content else None
        self._context = objects.context
        self._key = (
            self._context.unwrap_file_key(inode.id, self._head.wrapped_key)
            if self._head is not None
            else self._context.new_file_key(inode.id)
        )

    def commit(self) -> DirectoryCommit:
        """Write the changes and return the new head."""
        head = self._head
        if head is None:
            return self._rewrite([])
        if self._key.wrapped != head.wrapped_key and (renewed := self._renew()) is not None:
            return renewed
        size = sum(item_size(name, entry) for name, entry in self._items.items())
        live, count = self._live_after(head)
        if is_rewritten(head, live, size, self._settings):
            try:
                return self._rewrite(directory_objects(self._inode.content))
            except Damaged as error:
                log.warning("a folder that cannot be read is added to, and not written anew: %s", error)
        head = head._replace(live=live, entries=count)
        if head.delta is not None:
            return self._done(head._replace(delta=self._append(head.delta)), [])
        if head.base.length <= self._settings.delta_minimum:
            return self._done(head._replace(base=self._append(head.base)), [])
        return self._done(head._replace(delta=self._new_object(self._items)), [])

    def _renew(self) -> DirectoryCommit | None:
        """Write a directory from before a change of the master key anew, under a key of its own that is new as well.

        Who has the master key from before then reads nothing that is added to it later. If it cannot be read it
        stays as it is until it is mended; None if there are changes, which it takes as ever.
        """
        present, self._key = self._key, self._context.new_file_key(self._inode.id)
        try:
            return self._rewrite(directory_objects(self._inode.content))
        except Damaged as error:
            log.info("a directory keeps its key, because it cannot be read: %s", error)
            self._key = present
            return None if self._items else DirectoryCommit(self._inode.id, self._inode.content, {}, [])

    def _live_after(self, head: Head) -> tuple[int, int]:
        """(bytes of live items, number of entries) with the changes; old sizes are known while it is loaded."""
        live, count = head.live, head.entries
        committed = self._directory.committed if self._directory is not None else {}
        for name, entry in self._items.items():
            old = committed.get(name)
            if old is not None:
                live -= item_size(name, old)
            if entry:
                live += item_size(name, entry)
            if self._directory is not None:
                count += bool(entry) - (old is not None)
        return max(live, 0), count

    def _rewrite(self, let_go: list[bytes]) -> DirectoryCommit:
        if self._directory is not None:
            entries = dict(self._directory.committed)
        elif self._head is not None:
            entries = load_directory(self._objects, self._inode.id, self._inode.content)
        else:
            entries = {}
        items = self._renewed(entries) if self._context.previous is not None else self._items
        for name, entry in items.items():
            if entry:
                entries[name] = entry
            else:
                entries.pop(name, None)
        self._items = items
        if not entries:
            return DirectoryCommit(self._inode.id, b"", self._items, let_go)
        live = sum(item_size(name, entry) for name, entry in entries.items())
        base = self._new_object(entries)
        return self._done(Head(self._key.wrapped, live, len(entries), base, None), let_go)

    def _renewed(self, entries: Items) -> Items:
        """The changes, and all other entries whose keys are to be wrapped anew."""
        renewed: Items = {}
        for name, entry in entries.items():
            changed = renew_entry(self._context, entry)
            if changed is not entry:
                renewed[name] = changed
        return {**renewed, **self._items}

    def _done(self, head: Head, let_go: list[bytes]) -> DirectoryCommit:
        return DirectoryCommit(self._inode.id, encode_head(head), self._items, let_go)

    def _own(self) -> list[tuple[bytes, bytes]]:
        """What salvage would need of the directory itself: its attributes, and where it was."""
        place = _PARENT.pack(self._inode.parent) + self._inode.name
        return [(b"", encode_entry(self._inode.entry(place)))]

    def _append(self, part: Part) -> Part:
        cipher = FrameCipher(self._objects.context, self._key.key, part.object)
        frames, tag = cipher.seal(
            [*self._own(), *self._items.items()], self._objects.generation, part.length, part.tag
        )
        self._objects.handles.write(object_path(part.object), [frames], part.length)
        return Part(part.object, part.length + len(frames), tag)

    def _new_object(self, items: Items) -> Part:
        objects = self._objects
        name = objects.names.next_frozen()
        path = object_path(name)
        header = ObjectHeader(OBJECT_DIRECTORY, self._inode.id, 0, objects.generation, self._key.key)
        cipher = FrameCipher(objects.context, self._key.key, name)
        frames, tag = cipher.seal([*self._own(), *items.items()], objects.generation, OBJECT_HEADER_SIZE, NO_TAG)
        objects.handles.create(path)
        self._made.append(name)
        objects.handles.write(path, [seal_object_header(objects.context, name, header, KEY_EPOCH), frames], 0)
        return Part(name, OBJECT_HEADER_SIZE + len(frames), tag)


def is_rewritten(head: Head, live: int, size: int, settings: Settings) -> bool:
    """Whether `size` bytes of changes, after which `live` are of use, make a directory be written anew as a whole."""
    if head.delta is None:
        return head.base.length + size > max(settings.delta_minimum, 2 * live)
    return head.delta.length + size > max(settings.delta_minimum, int(settings.delta_share * head.base.length))


def directory_objects(head: bytes) -> list[bytes]:
    """The names of the objects a committed directory has; raises Damaged."""
    if not head:
        return []
    decoded = decode_head(head)
    return [decoded.base.object] + ([decoded.delta.object] if decoded.delta is not None else [])

