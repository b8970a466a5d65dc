"""Gets everything readable out of a store without its roots: by object headers, frames and slot trailers alone.

Nothing here can tell whether what is found is the newest, or was deleted: that is what roots and maps are for.
"""

import stat
from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from vaultfs.check.scan import Found, FoundDirectory, Scan, own_accounts
from vaultfs.check.structure import leaf_of, load_map
from vaultfs.check.uncommitted import Changed
from vaultfs.errors import Damaged
from vaultfs.format.constants import CHUNKS_PER_SEGMENT, INDEX_SEGMENT, KIND_CHUNK, MAX_NAME, ROOT_ID
from vaultfs.format.layout import object_path, slot_offset, slot_size
from vaultfs.sealing.entries import Entry, Pointer, decode_entry
from vaultfs.sealing.maps import MapEntry
from vaultfs.sealing.slots import SlotCipher, stored_slot_size
from vaultfs.store.api import is_failure
from vaultfs.vault.content import read_chunk
from vaultfs.vault.inode import Inode, inode_of_entry
from vaultfs.vault.keeping import LOST_AND_FOUND, numbered
from vaultfs.vault.objects import Objects
from vaultfs.vault.readahead import read_ahead_slots
from vaultfs.vault.segment import Segment, SlotRef
from vaultfs.vault.state import HIDDEN_IDS, SHARD_IDS

Loss = Callable[[int, int, str], None]
Start = Callable[[Callable[[], None]], None]
"""Has a job that brings something in done some time, in any thread, or never."""

# How many chunks ahead of the reader of a file, and how many of them at once.
_LEAD = 128
_PART = 32
# Bytes of a name that a number comes before, and perhaps another behind.
_LONGEST_NAME = MAX_NAME - 16

Newest = Callable[[int, int | None], Iterator[tuple[int, bytes]]]


class Salvaged(NamedTuple):
    """One thing found: where it goes, and its inode; a directory comes again, `leaving`, behind what is in it."""

    path: bytes
    inode: Inode
    leaving: bool


def _never(job: Callable[[], None]) -> None:
    """Nothing is read ahead."""


class Salvage:
    """The tree as far as the objects tell: from the top directory down, the rest under lost+found.

    There, under `journal`, come those that journals tell of (`changed`), as they were after the changes.
    If `strict`, what the store gives errors for is not left out of files by their slots (`slots_of`).
    """

    def __init__(
        self, objects: Objects, scan: Scan, start: Start = _never, *, changed: Sequence[Changed] = (),
        strict: bool = False,
    ) -> None:  # fmt: skip
        self._objects = objects
        # By numbers that no file has: what `pieces` is asked for is a file of the tree or one of these.
        self._changed = dict(enumerate(changed, scan.highest_id + 1 + max((one.id for one in changed), default=0)))
        self._before: dict[int, Inode | None] = {one.id: None for one in changed}
        self._scan = scan
        self._start = start
        self._strict = strict
        self._visited: set[int] = set()
        self._files: set[int] = set()
        self._shared: dict[int, Entry] = {}
        self._own_account = own_accounts(scan)
        for inode_id in SHARD_IDS:
            for encoded in self._entries(inode_id).values():
                entry = _decoded(encoded)
                if isinstance(entry, Entry):
                    self._shared[entry.id] = entry

    def walk(self) -> Iterator[Salvaged]:
        """Everything, depth first."""
        top = self._scan.directories.get(ROOT_ID)
        # A repair may have made such a folder in the vault.
        place = _free(LOST_AND_FOUND, {name for name, _ in self._children(ROOT_ID)})
        yield from self._below(b"", self._inode(ROOT_ID, top, 0o755))
        lost = [
            inode_id for inode_id in sorted(self._scan.directories)
            if inode_id not in self._visited and inode_id not in HIDDEN_IDS
        ]  # fmt: skip
        # Directories whose own account names another one that is lost as well come with that one.
        heads = [inode_id for inode_id in lost if self._scan.directories[inode_id].parent not in lost]
        folder = _made_up(place)
        yield Salvaged(place, folder, False)
        # No head leads to two that say they are in one another, or to one whose name there is another's by now.
        for inode_id in (*heads, *lost):
            if inode_id not in self._visited:
                directory = self._scan.directories[inode_id]
                name = _known_by(inode_id, directory.name)
                yield from self._below(place + b"/" + name, self._inode(inode_id, directory, 0o700))
        yield from self._lost_files(place)
        yield from self._changed_files(place + b"/journal")
        yield Salvaged(place, folder, True)

    def _entries(self, inode_id: int) -> dict[bytes, bytes]:
        directory = self._scan.directories.get(inode_id)
        return directory.entries if directory is not None else {}

    def _inode(self, inode_id: int, directory: FoundDirectory | None, mode: int) -> Inode:
        if directory is None or directory.attributes is None:
            return _made_up(b"", inode_id, mode)
        return inode_of_entry(directory.attributes._replace(content=b""), 0, b"")

    def _below(self, path: bytes, inode: Inode) -> Iterator[Salvaged]:
        stack: list[tuple[bytes, Inode, Iterator[tuple[bytes, Inode]]]] = []
        yield from self._enter(path, inode, stack)
        while stack:
            path, inode, children = stack[-1]
            child = next(children, None)
            if child is None:
                stack.pop()
                yield Salvaged(path, inode, True)
                continue
            name, below = child
            where = path + b"/" + name if path else name
            if stat.S_ISDIR(below.mode):
                if below.id not in self._visited:
                    yield from self._enter(where, below, stack)
            else:
                self._note(below)
                yield Salvaged(where, below, False)

    def _note(self, inode: Inode) -> None:
        self._files.add(inode.id)
        if inode.id in self._before:
            self._before[inode.id] = inode

    def _enter(
        self, path: bytes, inode: Inode, stack: list[tuple[bytes, Inode, Iterator[tuple[bytes, Inode]]]]
    ) -> Iterator[Salvaged]:
        self._visited.add(inode.id)
        stack.append((path, inode, iter(self._children(inode.id))))
        yield Salvaged(path, inode, False)

    def _children(self, inode_id: int) -> list[tuple[bytes, Inode]]:
        children: list[tuple[bytes, Inode]] = []
        entries = self._entries(inode_id)
        for name, encoded in sorted(entries.items()):
            entry = _decoded(encoded)
            if isinstance(entry, Pointer):
                entry = self._shared.get(entry.id)
            if entry is not None:
                children.append((name, inode_of_entry(entry, inode_id, name)))
        return children + self._claimants(inode_id, set(entries))

    def _claimants(self, inode_id: int, named: set[bytes]) -> list[tuple[bytes, Inode]]:
        """Directories that say they were here, although no frame that is left names them.

        Several may say so of one name: what a directory says is as old as its last change, so one that was moved away
        may still have the name that another got. The one that was changed last keeps it.
        """
        found = [(child_id, self._scan.directories[child_id]) for child_id in self._own_account.get(inode_id, [])]
        claimants: list[tuple[bytes, Inode]] = []
        taken = set(named)
        for child_id, directory in sorted(found, key=lambda each: each[1].generation, reverse=True):
            if directory.name not in named and child_id not in self._visited:
                name = _free(directory.name, taken)
                taken.add(name)
                claimants.append((name, self._inode(child_id, directory, 0o700)))
        return claimants

    def _lost_files(self, place: bytes) -> Iterator[Salvaged]:
        """Files that have objects and no entry anywhere; hard-linked ones without a name still have theirs."""
        for inode_id in sorted(self._scan.segments):
            if inode_id in self._files:
                continue
            entry = self._shared.get(inode_id)
            inode = inode_of_entry(entry, 0, b"") if entry is not None else self.lost_file(inode_id)
            self._note(inode)
            yield Salvaged(place + b"/%d" % inode_id, inode, False)

    def _changed_files(self, place: bytes) -> Iterator[Salvaged]:
        """Files that are in journals, under the last name they had there, with their numbers in the vault."""
        if not self._changed:
            return
        folder = _made_up(b"")
        yield Salvaged(place, folder, False)
        taken: set[bytes] = set()
        for number, changed in self._changed.items():
            before = self._before_of(changed)
            known = changed.name or (before.name if before is not None else b"")
            name = _free(_known_by(changed.id, known), taken)
            taken.add(name)
            yield Salvaged(place + b"/" + name, self._after(changed, number), False)
        yield Salvaged(place, folder, True)

    def _before_of(self, changed: Changed) -> Inode | None:
        return self._before[changed.id] if changed.goes_on else None

    def _after(self, changed: Changed, number: int) -> Inode:
        before = self._before_of(changed)
        if changed.made is not None:
            inode = inode_of_entry(changed.made, 0, b"")
        elif before is not None:
            inode = before.copy()
        else:
            inode = _made_up(b"", mode=stat.S_IFREG | 0o600)
        changed.dress(inode)
        inode.id, inode.nlink = number, 1
        return inode

    def lost_file(self, inode_id: int) -> Inode:
        """A file of which only objects are left, as long as the last chunk in them tells."""
        inode = _made_up(b"", inode_id, stat.S_IFREG | 0o600)
        inode.size = self._size_of(inode_id)
        return inode

    def _size_of(self, inode_id: int) -> int:
        size = 0
        for number, (_, data) in self._chunks(inode_id).items():
            size = max(size, number * self._objects.chunk_size + data)
        return size

    def _chunks(self, inode_id: int) -> dict[int, tuple[int, int]]:
        """The newest (generation, length) of each chunk that a file's objects hold."""
        newest: dict[int, tuple[int, int]] = {}
        for segment in self._scan.segments.get(inode_id, []):
            for generation, number, data in slots_of(self._objects, segment, self._strict):
                if number not in newest or newest[number][0] <= generation:
                    newest[number] = (generation, len(data))
        return newest

    def pieces(self, inode: Inode, lost: Loss) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of a file's data; by slots alone, the newest of each chunk, when its map is no help."""
        size = self._objects.chunk_size
        if inode.id in self._changed:
            yield from self._changed_pieces(self._changed[inode.id], inode.size, lost)
        elif not inode.content:
            yield from ((number * size, data) for number, data in self._newest(inode.id))
        else:
            yield from mapped_pieces(self._objects, inode, lost, self._newest, self._start)

    def _changed_pieces(self, changed: Changed, size: int, lost: Loss) -> Iterator[tuple[int, bytes]]:
        inode = self._before_of(changed)
        before = None if inode is None else partial(self.pieces, inode)
        yield from changed.pieces(self._objects, before, size, lost)

    def _newest(self, inode_id: int, only: int | None = None) -> Iterator[tuple[int, bytes]]:
        """(number, data) of the newest of each chunk of a file, or of one of its segments; in memory one by one."""
        found = self._scan.segments.get(inode_id, [])
        for segment in sorted({each.segment for each in found} if only is None else {only}):
            newest: dict[int, tuple[int, bytes]] = {}
            for each in found:
                if each.segment != segment:
                    continue
                for generation, number, data in slots_of(self._objects, each, self._strict):
                    if number not in newest or newest[number][0] <= generation:
                        newest[number] = (generation, data)
            yield from ((number, data) for number, (_, data) in sorted(newest.items()))


def mapped_pieces(
    objects: Objects, inode: Inode, lost: Loss, newest: Newest, start: Start
) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of what a file's map names and verifies; where the map is broken, the slots' own account."""
    size = objects.chunk_size
    entry = inode.entry(inode.content)
    try:
        content = load_map(objects, entry)
    except Damaged as damage:
        lost(0, inode.size, f"the map is broken, so these bytes may be of an older version: {damage}")
        yield from ((number * size, data) for number, data in newest(inode.id, None) if number * size < inode.size)
        return
    if content.inline:
        yield 0, content.inline
    for number, segment in sorted(content.committed.items()):
        first = number * CHUNKS_PER_SEGMENT
        try:
            leaf = leaf_of(segment)
        except Damaged as damage:
            cause = f"the map is broken, so these bytes may be of an older version: {damage}"
            lost(first * size, min((first + CHUNKS_PER_SEGMENT) * size, inode.size), cause)
            yield from ((chunk * size, data) for chunk, data in newest(inode.id, number))
            continue
        for index, item in _read_ahead(objects, segment, leaf, start):
            chunk = first + index
            try:
                yield chunk * size, bytes(read_chunk(objects, chunk, SlotRef(segment, item)))
            except Damaged as damage:
                lost(chunk * size, min((chunk + 1) * size, inode.size), str(damage))


def _read_ahead(
    objects: Objects, segment: Segment, leaf: list[tuple[int, MapEntry]], start: Start
) -> Iterator[tuple[int, MapEntry]]:
    """A leaf's entries, with the slots of those to come brought in; the first are asked for as soon by their reader."""
    reached = _PART
    for position, item in enumerate(leaf):
        while reached < min(position + _LEAD, len(leaf)):
            entries = [entry for _, entry in leaf[reached : reached + _PART]]
            start(partial(read_ahead_slots, objects, segment.path, entries))
            reached += _PART
        yield item


def slots_of(objects: Objects, found: Found, strict: bool) -> Iterator[tuple[int, int, bytes]]:
    """(generation, chunk number, data) of every chunk in an object that verifies, used or not.

    A slot that the store gives an error for is a lost one; if `strict`, the error is raised (OSError, or Damaged).
    """
    if found.segment == INDEX_SEGMENT:
        return
    path = object_path(found.name)
    context = objects.context
    cipher = SlotCipher(context.object_cipher(found.key, found.name), KIND_CHUNK, context.vault_id, found.name)
    try:
        file = objects.open(path)
        size = file.size()
    except (Damaged, OSError) as error:
        if strict and is_failure(error):
            raise
        return
    stride = slot_size(objects.chunk_size)
    for slot, offset in enumerate(range(slot_offset(0, objects.chunk_size), size, stride)):
        try:
            stored = file.read(stride, offset)
        except OSError:
            if strict:
                raise
            continue
        try:
            yield cipher.salvage(slot, stored)
        except Damaged:
            yield from _shorter(cipher, slot, stored, objects.chunk_size)


def _shorter(cipher: SlotCipher, slot: int, stored: bytes, chunk_size: int) -> Iterator[tuple[int, int, bytes]]:
    """A chunk that does not fill its slot, whose length only the lost map knew: behind it are zeros or the end."""
    end = len(stored.rstrip(b"\0"))
    # A tag may end in zeros of its own.
    for length in range(end, min(end + 16, len(stored)) + 1):
        if stored_slot_size(0) <= length < stored_slot_size(chunk_size):
            try:
                yield cipher.salvage(slot, stored[:length])
            except Damaged:
                continue
            return


def _decoded(encoded: bytes) -> Entry | Pointer | None:
    try:
        return decode_entry(encoded)
    except Damaged:
        return None


def _known_by(inode_id: int, name: bytes) -> bytes:
    """What something is called where it has no place of its own: its number, and the name that it had, if any."""
    return _short(b"%d %b" % (inode_id, name)) if name else b"%d" % inode_id


def _free(name: bytes, taken: Container[bytes]) -> bytes:
    """A name that nothing has, made of one that something may have."""
    return name if name not in taken else next(each for each in numbered(_short(name)) if each not in taken)


def _short(name: bytes) -> bytes:
    """The name, cut where that leaves room for a number, and between two characters if it is UTF-8."""
    end = _LONGEST_NAME
    if len(name) <= end:
        return name
    while end > _LONGEST_NAME - 4 and name[end] & 0xC0 == 0x80:
        end -= 1
    return name[:end]


def _made_up(name: bytes, inode_id: int = 0, mode: int = stat.S_IFDIR | 0o700) -> Inode:
    """An inode for something of which only objects are left."""
    if not stat.S_IFMT(mode):
        mode |= stat.S_IFDIR
    return Inode(inode_id, mode, 0, 0, 1, 0, 0, 0, 0, 0, 0, b"", {}, b"", 0, name, False)
