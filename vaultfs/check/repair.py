"""Mends a vault: plans what can be done, to be shown first, then does it. Nothing is destroyed, only put away."""

import stat
import time
from collections.abc import Callable, Iterator
from itertools import chain, count
from typing import NamedTuple

from vaultfs.check.committed import CommittedTree, Place
from vaultfs.check.data import header_trouble
from vaultfs.check.findings import Finding, Kind
from vaultfs.check.listing import QUARANTINE_FOLDER
from vaultfs.check.salvage import HIDDEN, LOST_AND_FOUND, Salvage, Scan, own_accounts
from vaultfs.check.structure import load_map
from vaultfs.check.walker import Walker
from vaultfs.errors import Damaged, NotFound
from vaultfs.format.constants import (
    OBJECT_DIRECTORY,
    OBJECT_HEADER_SIZE,
    OBJECT_SEGMENT,
    ROOT_ID,
    ROOT_SLOTS,
    SHARED_ID,
)
from vaultfs.format.layout import HEADER_PATH, object_name, object_path, root_slot_path
from vaultfs.sealing.entries import Entry, decode_entry, decode_head, encode_entry
from vaultfs.sealing.objects import ObjectHeader, seal_object_header
from vaultfs.store.api import Store
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode, SetAttr
from vaultfs.vault.segment import KEY_EPOCH


class Step(NamedTuple):
    """One thing to do, in words: to stored files before the vault is opened, in the open vault, to files after that.

    What is `joined` is committed together with the step before: whatever ends a repair in between, a directory that
    names others never gets a place without them, since only the two together tell what was in which.
    """

    text: str
    before: Callable[[Store], None] | None = None
    vault: Callable[[Inline], None] | None = None
    after: Callable[[Store], None] | None = None
    joined: bool = False


class Quarantine:
    """A new folder in the store for what a repair takes out, under its old path with dashes."""

    def __init__(self) -> None:
        self.folder = f"{QUARANTINE_FOLDER}/{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"

    def take(self, store: Store, path: str) -> None:
        """Move a stored file here."""
        self._prepare(store)
        store.rename(path, self._place(path))

    def keep(self, store: Store, path: str, data: bytes) -> None:
        """Keep bytes that are about to be replaced."""
        self._prepare(store)
        file = store.create(self._place(path))
        try:
            file.write([data], 0)
            file.sync()
        finally:
            file.close()

    def _prepare(self, store: Store) -> None:
        store.make_folder(QUARANTINE_FOLDER)
        store.make_folder(self.folder)

    def _place(self, path: str) -> str:
        return f"{self.folder}/{path.replace('/', '-')}"


class Repair:
    """Plans the repair of what a check found. `unmended` are findings nothing can be done about."""

    def __init__(self, tree: CommittedTree, findings: list[Finding], *, zeros: bool, missing_too: bool) -> None:
        self._tree = tree
        self._findings = findings
        self._zeros = zeros
        self._missing_too = missing_too
        self._quarantine = Quarantine()
        self._walker = Walker(tree, lambda finding: None)
        self.unmended: list[Finding] = []

    def plan(self) -> list[Step]:
        """What to do, in order."""
        steps: list[Step] = []
        owners = self._owners()
        for finding in self._findings:
            name = object_name(finding.stored)
            if finding.stored in map(root_slot_path, range(ROOT_SLOTS)):
                steps.append(self._root(finding.stored))
            elif finding.kind == Kind.CORRUPT and name in owners:
                steps.append(self._header(finding.stored, name, owners[name]))
            elif finding.start is not None and finding.path is not None and self._zeros:
                steps.append(self._zero(finding.path, finding.start, finding.end or finding.start))
            elif finding.stored == HEADER_PATH:
                continue  # whoever has the header's bytes writes it anew
            elif finding.path is not None and finding.path.startswith(Place(SHARED_ID, ()).path):
                continue  # see _links
            elif finding.kind not in (Kind.ORPHAN, Kind.FOREIGN) and not self._is_directory(finding):
                self.unmended.append(finding)
        if self._walker.unread:
            steps += self._directories()
        else:
            # With a directory unread, what seems lost may be in it: that is for another time.
            steps += [*self._orphans(), *self._links()]
        return steps

    def _owners(self) -> dict[bytes, ObjectHeader]:
        """The headers as they should be of all objects with a broken one; walks the tree."""
        suspects = {
            object_name(finding.stored)
            for finding in self._findings
            if finding.start is None and finding.path is not None
        }
        owners: dict[bytes, ObjectHeader] = {}
        for _, entry in self._walker.walk():
            for name, segment, key in _objects_of(self._tree, entry):
                kind = OBJECT_DIRECTORY if stat.S_ISDIR(entry.mode) else OBJECT_SEGMENT
                if name in suspects and header_trouble(self._tree.objects, name, (kind, entry.id, segment, key)):
                    assert self._tree.sealed is not None
                    generation = self._tree.sealed.root.generation
                    owners[name] = ObjectHeader(kind, entry.id, segment, generation, key)
        return owners

    def _is_directory(self, finding: Finding) -> bool:
        """Whether a finding is of a directory that is put together again."""
        return any(finding.path == place.path for place, _ in self._walker.unread)

    def _root(self, path: str) -> Step:
        def write(store: Store) -> None:
            for other in map(root_slot_path, range(ROOT_SLOTS)):
                if other != path:
                    data = _read(store, other)
            if store.exists(path):
                self._quarantine.keep(store, path, _read(store, path))
            else:
                store.create(path).close()
            _write(store, path, data)

        return Step(f"{path}: write it anew from the other root", before=write)

    def _header(self, path: str, name: bytes, header: ObjectHeader) -> Step:
        def write(store: Store) -> None:
            self._quarantine.keep(store, f"{path}.header", _read(store, path)[:OBJECT_HEADER_SIZE])
            stored = seal_object_header(self._tree.objects.context, name, header, KEY_EPOCH)
            _write(store, path, stored, cut=False)

        return Step(f"{path}: write its header anew", before=write)

    def _zero(self, path: bytes, start: int, end: int) -> Step:
        def write(inline: Inline) -> None:
            inode = inline.walk(path)
            size = self._tree.objects.chunk_size
            for offset in range(start, min(end, inode.size), size):
                _write_zeros(inline, inode, offset, size)

        return Step(f"/{path.decode('utf-8', 'backslashreplace')}: put zeros for bytes {start} to {end}", vault=write)

    def _scan(self) -> Scan:
        scan = Scan(self._tree.objects)
        scan.run(lambda done, total: None)
        return scan

    def _directories(self) -> list[Step]:
        rebuilder = Rebuilder(self._tree, self._scan(), self._walker)
        steps: list[Step] = []
        for place, entry in self._walker.unread:
            if place.top != ROOT_ID or (self._is_missing(place.path) and not self._missing_too):
                self.unmended += [finding for finding in self._findings if finding.path == place.path]
            else:
                steps += rebuilder.rebuild(place, entry)
        return steps + [self._put_away(object_path(name)) for name in rebuilder.leftovers()]

    def _is_missing(self, path: bytes) -> bool:
        return any(finding.path == path and finding.kind == Kind.MISSING for finding in self._findings)

    def _orphans(self) -> list[Step]:
        """Content that nothing names comes back by its number; objects of things that are there are only put away."""
        paths = [finding.stored for finding in self._findings if finding.kind == Kind.ORPHAN and finding.stored]
        if not paths:
            return []
        names = {object_name(path) for path in paths}
        scan = self._scan()
        salvage = Salvage(self._tree.objects, scan)
        rebuilder = Rebuilder(self._tree, scan, self._walker)
        steps: list[Step] = []
        for inode_id, directory in sorted(scan.directories.items()):
            if inode_id not in HIDDEN and not rebuilder.has(inode_id) and names & set(directory.objects):
                steps += rebuilder.bring_back(inode_id)
        for inode_id, segments in sorted(scan.segments.items()):
            if not rebuilder.has(inode_id) and names & {found.name for found in segments}:
                steps.append(_brought_back(salvage, salvage.lost_file(inode_id)))
        return steps + [self._put_away(path) for path in paths]

    def _links(self) -> list[Step]:
        """Link counts as there are names; a hard-linked file without any gets one in lost+found."""
        steps: list[Step] = []
        for shard in self._tree.load(self._tree.top(SHARED_ID)).values():
            entry = decode_entry(shard)
            assert isinstance(entry, Entry)
            for _, linked, met in self._walker.wrong_links(self._tree.load(entry)):
                steps.append(_relinked(linked.id, met))
        return steps

    def _put_away(self, path: str) -> Step:
        def take(store: Store) -> None:
            if store.exists(path):
                self._quarantine.take(store, path)

        return Step(f"{path}: move it to {self._quarantine.folder}", after=take)


class Rebuilder:
    """Plans directories anew from the entries that are left of them, leaving out inodes that are elsewhere by now."""

    def __init__(self, tree: CommittedTree, scan: Scan, walker: Walker) -> None:
        self._tree = tree
        self._scan = scan
        self._walker = walker
        self._accounts = own_accounts(scan)
        self._claimed: set[int] = set()
        # Where lost directories got their places, by the places they were to get.
        self._found: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}
        self._leftovers: list[bytes] = []

    def has(self, inode_id: int) -> bool:
        """Whether an inode has its place."""
        return inode_id in self._claimed or self._walker.has_met(inode_id)

    def leftovers(self) -> list[bytes]:
        """The names of the objects that directories rebuilt will no longer need."""
        return list(dict.fromkeys(self._leftovers))

    def rebuild(self, place: Place, entry: Entry, *, joined: bool = False) -> list[Step]:
        """The directory at a place that is there by then, with what is left of its entries, and those below in turn."""
        self._claimed.add(entry.id)
        found = self._scan.directories.get(entry.id)
        if found is not None:
            self._leftovers += found.objects
        entries: dict[bytes, bytes] = {}
        below: list[tuple[Place, Entry]] = []
        for name, encoded in (found.entries if found is not None else {}).items():
            self._admit(place.below(name), encoded, entries, below)
        for child_id in self._accounts.get(entry.id, []):
            child = self._scan.directories[child_id]
            if child.name not in entries and child.attributes is not None:
                encoded = encode_entry(child.attributes._replace(content=b""))
                self._admit(place.below(child.name), encoded, entries, below)
        plain = place.path.decode("utf-8", "backslashreplace")
        text = f"/{plain}: put the directory together from {len(entries)} entries"


        def replace(inline: Inline) -> None:
            top, below = place.names[:2], place.names[2:]
            names = (*self._found.get(top, top), *below)
            inline.call(lambda: inline.vault.replace_directory(names, entries))

        steps = [Step(text, vault=replace, joined=joined)]
        for where, child_entry in below:
            steps += self._descend(where, child_entry)
        return steps

    def _admit(
        self, place: Place, encoded: bytes, entries: dict[bytes, bytes], below: list[tuple[Place, Entry]]
    ) -> None:
        try:
            entry = decode_entry(encoded)
        except Damaged:
            return
        if isinstance(entry, Entry):
            if self.has(entry.id):
                return
            self._claimed.add(entry.id)
            if stat.S_ISDIR(entry.mode):
                below.append((place, entry))
        entries[place.names[-1]] = encoded

    def _descend(self, place: Place, entry: Entry) -> list[Step]:
        """Give everything below a directory its place; rebuild what cannot be read, or is only known by its objects."""
        found = self._scan.directories.get(entry.id)
        try:
            names = self._tree.load(entry)
        except Damaged:
            return self.rebuild(place, entry, joined=True)
        if not entry.content and found is not None and found.entries:
            return self.rebuild(place, entry, joined=True)
        steps: list[Step] = []
        for name, encoded in names.items():
            child = decode_entry(encoded)
            if isinstance(child, Entry):
                self._claimed.add(child.id)
                if stat.S_ISDIR(child.mode):
                    steps += self._descend(place.below(name), child)
        return steps

    def bring_back(self, inode_id: int) -> list[Step]:
        """A directory that nothing names, under lost+found by its number."""
        directory = self._scan.directories[inode_id]
        attributes = directory.attributes
        if attributes is None:
            return []

        place = Place(ROOT_ID, (LOST_AND_FOUND, b"%d" % inode_id))

        def make(inline: Inline) -> None:
            made = _make_lost(inline, inode_id, stat.S_IFDIR | 0o700)
            self._found[place.names] = (LOST_AND_FOUND, made.name)

        made = Step(f"lost directory {inode_id}: make /lost+found/{inode_id}", vault=make)
        return [made, *self.rebuild(place, attributes, joined=True)]


def _brought_back(salvage: Salvage, inode: Inode) -> Step:
    def copy(inline: Inline) -> None:
        made = _make_lost(inline, inode.id, stat.S_IFREG | 0o600).id
        for offset, data in salvage.pieces(inode, lambda start, end, cause: None):
            inline.write(made, offset, data)
        if inline.getattr(made).size != inode.size:
            raise Damaged(f"the content of lost file {inode.id} could not be read a second time; it stays where it is")

    return Step(f"content of lost file {inode.id}, {inode.size} bytes: put it into /lost+found/{inode.id}", vault=copy)


def _relinked(inode_id: int, links: int) -> Step:
    def mend(inline: Inline) -> None:
        inline.vault.set_links(inode_id, max(links, 1))
        if not links:
            lost = _lost_and_found(inline)
            inline.link(inode_id, lost, _free_name(inline, lost, inode_id))
            inline.vault.set_links(inode_id, 1)

    what = f"set its count of names to {links}" if links else f"name it /lost+found/{inode_id}"
    return Step(f"hard-linked file {inode_id}: {what}", vault=mend)


def _make_lost(inline: Inline, inode_id: int, mode: int) -> Inode:
    """Make something in lost+found for what is left of an inode."""
    lost = _lost_and_found(inline)
    return inline.create_inode(lost, _free_name(inline, lost, inode_id), mode)


def _free_name(inline: Inline, lost: int, inode_id: int) -> bytes:
    """An inode's number, with another behind it where a repair that did not get to its end has left something."""
    names = chain((b"%d" % inode_id,), (b"%d-%d" % (inode_id, more) for more in count(2)))
    return next(name for name in names if not _is_there(inline, lost, name))


def _is_there(inline: Inline, directory: int, name: bytes) -> bool:
    try:
        inline.lookup(directory, name)
    except NotFound:
        return False
    return True


def _lost_and_found(inline: Inline) -> int:
    """The id of the directory for what has no place any more, made if it is missing."""
    try:
        return inline.lookup(ROOT_ID, LOST_AND_FOUND).id
    except NotFound:
        return inline.create_inode(ROOT_ID, LOST_AND_FOUND, stat.S_IFDIR | 0o700).id


def _write_zeros(inline: Inline, inode: Inode, offset: int, chunk_size: int) -> None:
    """Put zeros for a chunk that cannot be read; at a file's end by cutting it off, so that it is not read first."""
    if offset + chunk_size >= inode.size:
        inline.setattr(inode.id, SetAttr(size=offset))
        inline.setattr(inode.id, SetAttr(size=inode.size))
    else:
        inline.write(inode.id, offset, bytes(chunk_size))


def _objects_of(tree: CommittedTree, entry: Entry) -> Iterator[tuple[bytes, int, bytes]]:
    """(name, segment number, key) of each object of a file or directory, as far as its map can be read."""
    try:
        if not entry.content:
            return
        if stat.S_ISDIR(entry.mode):
            head = decode_head(entry.content)
            key = tree.objects.context.unwrap_file_key(entry.id, head.wrapped_key).key
            yield from ((part.object, 0, key) for part in (head.base, head.delta) if part is not None)
        elif stat.S_ISREG(entry.mode):
            content = load_map(tree.objects, entry)
            segments = [*content.committed.values(), *([content.index] if content.index is not None else [])]
            yield from ((segment.name, segment.number, segment.key) for segment in segments)
    except Damaged:
        return


def _read(store: Store, path: str) -> bytes:
    file = store.open(path)
    try:
        return file.read(file.size(), 0)
    finally:
        file.close()


def _write(store: Store, path: str, data: bytes, *, cut: bool = True) -> None:
    file = store.open(path, write=True)
    try:
        file.write([data], 0)
        if cut:
            file.truncate(len(data))
        file.sync()
    finally:
        file.close()
