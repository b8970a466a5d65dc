"""Finds all objects of a store by their sealed headers, and puts directories together from the frames they are in."""

import errno
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import OBJECT_DIRECTORY, OBJECT_HEADER_SIZE, OBJECT_SEGMENT, ROOT_ID
from vaultfs.format.layout import object_folders, object_name, object_path
from vaultfs.sealing.entries import Entry, decode_entry, entry_id_and_mode
from vaultfs.sealing.frames import FrameCipher, Items
from vaultfs.sealing.objects import ObjectHeader, open_object_header
from vaultfs.store.api import is_failure
from vaultfs.vault.objects import Objects
from vaultfs.vault.state import HIDDEN_IDS

_PARENT = struct.Struct("<Q")


Frame = tuple[int, Items]


class Found(NamedTuple):
    """An object by its header: its name, the segment number (0 for a directory), its generation, the file's key."""

    name: bytes
    segment: int
    generation: int
    key: bytes


class FoundDirectory:
    """A directory put together from the frames of all its objects, older ones first.

    `changed` has the generation of each entry, `objects` are the names of its objects, `generation` is the newest
    frame's. `parent` and `name` are where it was by its own account, `attributes` its own entry, None if no frame had
    that.
    """

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.changed: dict[bytes, int] = {}
        self.objects: list[bytes] = []
        self.generation = 0
        self.parent = 0
        self.name = b""
        self.attributes: Entry | None = None


class Scan:
    """All objects of a store by what their sealed headers say; `broken` are paths whose header does not verify.

    Of those, of directories and of the store's own folders, `failing` are those that the store gave an error for.
    `content_size` is how many bytes the objects with files' content have, used or not; `newest` is the highest
    generation of an object, `highest_id` the highest number of an inode, and `ids_of` has that by generation.

    `known` are headers as they should be, by name, for objects whose own is broken.
    """

    def __init__(self, objects: Objects, known: Mapping[bytes, ObjectHeader] | None = None) -> None:
        self._objects = objects
        self._known = known or {}
        # The frames of directories as (generation, items), and the names of their objects, older objects first.
        self._frames_of: dict[int, tuple[list[bytes], list[Frame]]] = {}
        self.ids_of: dict[int, int] = {}
        self.segments: dict[int, list[Found]] = {}
        self.directories: dict[int, FoundDirectory] = {}
        self.broken: list[str] = []
        self.failing: list[str] = []
        self.content_size = 0
        self.newest = 0
        self.highest_id = 0

    def run(self, progress: Callable[[int, int], None]) -> None:
        """Read all headers, and all directories; `progress` is told (folders done, of how many)."""
        directories: dict[int, list[Found]] = {}
        folders = object_folders()
        for done, folder in enumerate(folders):
            progress(done, len(folders))
            for path in self._paths(folder):
                self._add(path, directories)
        for inode_id, found in directories.items():
            ordered = sorted(found, key=lambda each: each.generation)
            frames = [frame for each in ordered for frame in self._frames(each)]
            self._frames_of[inode_id] = [each.name for each in ordered], frames
            self.directories[inode_id] = directory = _put_together(*self._frames_of[inode_id])
            for name, encoded in directory.entries.items():
                with suppress(Damaged):
                    self._note_id(directory.changed[name], entry_id_and_mode(encoded)[0])

    def leave_out_after(self, generation: int) -> None:
        """Put all directories together again without the frames of later generations."""
        for inode_id, (names, frames) in self._frames_of.items():
            self.directories[inode_id] = _put_together(names, [frame for frame in frames if frame[0] <= generation])

    def _paths(self, folder: str) -> Iterator[str]:
        try:
            names = self._objects.store.names(folder)
        except OSError as error:
            if error.errno != errno.ENOTDIR:
                self._note_failure(folder, error)
            return
        for name in names:
            yield f"{folder}/{name}"

    def _add(self, path: str, directories: dict[int, list[Found]]) -> None:
        name = object_name(path)
        if name is None:
            return
        try:
            file = self._objects.open(path)
            stored = file.read(OBJECT_HEADER_SIZE, 0)
            header = open_object_header(self._objects.context, name, stored)
        except (Damaged, OSError) as error:
            self._note_failure(path, error)
            self.broken.append(path)
            if name not in self._known or is_failure(error):
                return
            header = self._known[name]
        found = Found(name, header.segment, header.generation, header.key)
        self.newest = max(self.newest, header.generation)
        self._note_id(header.generation, header.inode_id)
        if header.kind == OBJECT_DIRECTORY:
            directories.setdefault(header.inode_id, []).append(found)
        elif header.kind == OBJECT_SEGMENT:
            self.segments.setdefault(header.inode_id, []).append(found)
            self.content_size += file.size()

    def objects_of(self, inode_id: int) -> list[bytes]:
        """The names of all objects of a file or directory."""
        directory = self.directories.get(inode_id)
        return [found.name for found in self.segments.get(inode_id, [])] + (directory.objects if directory else [])

    def _frames(self, found: Found) -> Iterator[Frame]:
        path = object_path(found.name)
        try:
            file = self._objects.open(path)
            stored = file.read(max(file.size() - OBJECT_HEADER_SIZE, 0), OBJECT_HEADER_SIZE)
        except (Damaged, OSError) as error:
            self._note_failure(path, error)
            return
        for _, _, generation, items in FrameCipher(self._objects.context, found.key, found.name).salvage(stored):
            yield generation, items

    def _note_id(self, generation: int, inode_id: int) -> None:
        self.ids_of[generation] = max(self.ids_of.get(generation, 0), inode_id)
        self.highest_id = max(self.highest_id, inode_id)

    def _note_failure(self, path: str, error: Exception) -> None:
        if is_failure(error):
            self.failing.append(path)


def _put_together(names: list[bytes], frames: list[Frame]) -> FoundDirectory:
    directory = FoundDirectory()
    directory.objects = names
    # A delta's frames and later ones of the base may interleave; within a generation the order stays.
    for generation, items in sorted(frames, key=lambda frame: frame[0]):
        directory.generation = generation
        _apply(directory, items)
    return directory


def _apply(directory: FoundDirectory, items: Items) -> None:
    for name, entry in items:
        if not name:
            _take_own(directory, entry)
        elif entry:
            directory.entries[name] = entry
            directory.changed[name] = directory.generation
        else:
            directory.entries.pop(name, None)


def _take_own(directory: FoundDirectory, encoded: bytes) -> None:
    """The item a directory's frames carry for salvage: its attributes, with its place for a content section."""
    try:
        entry = decode_entry(encoded)
    except Damaged:
        return
    if isinstance(entry, Entry) and len(entry.content) >= _PARENT.size:
        (directory.parent,) = _PARENT.unpack_from(entry.content)
        directory.name = entry.content[_PARENT.size :]
        directory.attributes = entry


def own_accounts(scan: Scan) -> dict[int, list[int]]:
    """By their own account, which directories are in which."""
    below: dict[int, list[int]] = {}
    for inode_id, directory in scan.directories.items():
        if directory.name and inode_id not in HIDDEN_IDS and inode_id != ROOT_ID:
            below.setdefault(directory.parent, []).append(inode_id)
    return below
