"""Mends a vault: plans what can be done, to be shown first, then does it. Nothing is destroyed, only put away."""

import time
from collections.abc import Iterator

from vaultfs.check.committed import CommittedTree, Place
from vaultfs.check.data import header_trouble
from vaultfs.check.findings import UNSYNCED, Finding, Kind
from vaultfs.check.lostfound import bring_back, relink
from vaultfs.check.owners import headers_of, known_headers
from vaultfs.check.rebuilding import Rebuilder
from vaultfs.check.repairstep import Step
from vaultfs.check.salvage import Salvage
from vaultfs.check.scan import Scan
from vaultfs.check.structure import leaf_of, load_map
from vaultfs.check.walker import Walker
from vaultfs.errors import Damaged, PartlySynced, StoreUnusable
from vaultfs.format.constants import (
    OBJECT_HEADER_SIZE,
    ROOT_ID,
    ROOT_SLOTS,
    SHARED_ID,
)
from vaultfs.format.layout import HEADER_PATH, QUARANTINE_FOLDER, object_name, object_path, root_slot_path
from vaultfs.sealing.entries import Entry, decode_entry
from vaultfs.sealing.objects import ObjectHeader, seal_object_header
from vaultfs.store.api import Store, read_file, write_new_file
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode, SetAttr
from vaultfs.vault.segment import KEY_EPOCH
from vaultfs.vault.state import HIDDEN_IDS


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
        write_new_file(store, self._place(path), [data])
        for folder in (self.folder, QUARANTINE_FOLDER, ""):
            store.sync_folder(folder)

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
            elif finding.kind == Kind.CORRUPT and finding.start is None and name in owners:
                steps.append(self._header(finding.stored, name, owners[name]))
            elif self._zeros and finding.start is not None and self._can_zero(finding.path):
                assert finding.path is not None
                steps.append(self._zero(finding.path, finding.start, finding.end or finding.start))
            elif finding.stored == HEADER_PATH:
                continue  # whoever has the header's bytes writes it anew
            elif finding.path is not None and finding.path.startswith(Place(SHARED_ID, ()).path):
                continue  # see _wrong_links
            elif finding.kind not in (Kind.ORPHAN, Kind.FOREIGN) and not self._is_directory(finding):
                self.unmended.append(finding)
        if self._walker.unread:
            steps += self._directories()
        else:
            # With a directory unread, what seems lost may be in it: that is for another time.
            links = list(self._wrong_links())
            steps += self._orphans({linked.id for linked, met in links if not met})
            # Counts as there are names; a hard-linked file without any gets one in lost+found.
            steps += [relink(linked.id, met) for linked, met in links]
        return steps

    def _owners(self) -> dict[bytes, ObjectHeader]:
        """The headers as they should be of all objects with a broken one; walks the tree."""
        suspects = {
            name
            for finding in self._findings
            if finding.start is None and finding.path is not None and (name := object_name(finding.stored)) is not None
        }
        assert self._tree.sealed is not None
        generation = self._tree.sealed.root.generation
        return {
            name: header._replace(generation=generation)
            for name, header in known_headers(self._tree, self._walker, suspects).items()
            if header_trouble(self._tree.objects, name, (header.kind, header.inode_id, header.segment, header.key))
        }

    def _is_directory(self, finding: Finding) -> bool:
        """Whether a finding is of a directory that is put together again."""
        return any(finding.path == place.path for place, _ in self._walker.unread)

    def _root(self, path: str) -> Step:
        def write(store: Store) -> None:
            if store.exists(path):
                self._quarantine.keep(store, path, read_file(store, path))
            copy_root(store, path)

        return Step(f"{path}: write it anew from the other root", before=write)

    def _header(self, path: str, name: bytes, header: ObjectHeader) -> Step:
        def write(store: Store) -> None:
            self._quarantine.keep(store, f"{path}.header", read_file(store, path)[:OBJECT_HEADER_SIZE])
            stored = seal_object_header(self._tree.objects.context, name, header, KEY_EPOCH)
            _write(store, path, stored, cut=False)

        return Step(f"{path}: write its header anew", before=write)

    def _can_zero(self, path: bytes | None) -> bool:
        """Whether a file's map and objects are there, so that bytes of it can be written."""
        if path is None:
            return False
        try:
            entry = self._tree.find(Place(ROOT_ID, tuple(path.split(b"/"))))
            if entry is None:
                return False
            for segment in load_map(self._tree.objects, entry).committed.values():
                leaf_of(segment)
                self._tree.objects.open(segment.path)
        except Damaged:
            return False
        return True

    def _zero(self, path: bytes, start: int, end: int) -> Step:
        def write(inline: Inline) -> None:
            inode = inline.walk(path)
            size = self._tree.objects.chunk_size
            for offset in range(start, min(end, inode.size), size):
                _write_zeros(inline, inode, offset, size)

        return Step(f"/{path.decode('utf-8', 'backslashreplace')}: put zeros for bytes {start} to {end}", vault=write)

    def _scan(self) -> Scan:
        """All objects; raises PartlySynced if they prove that the newest root is not here yet."""
        assert self._tree.sealed is not None
        root = self._tree.sealed.root
        known = dict(found for _, entry in self._walker.unread for found in headers_of(self._tree, entry))
        scan = Scan(self._tree.objects, known)
        scan.run(lambda done, total: None)
        # What a power cut has left behind has numbers that the root knows nothing of as well, but an older generation.
        unknown = max([seen for generation, seen in scan.ids_of.items() if generation > root.generation], default=0)
        is_newer = scan.newest > root.generation + 1 or unknown >= root.next_id
        if not self._missing_too:
            self._refuse_failing(scan.failing)
        if is_newer and root.clean and not self._missing_too:
            raise PartlySynced(
                f"The store has objects of generation {scan.newest}, but roots of {root.generation} only: let it "
                "finish syncing, or what is not lost would be taken for that. If the newer roots are gone for good, "
                "--missing-too goes on without them."
            )
        if self._walker.unread and not is_newer:
            # Frames that are newer than the entries of these never got their root: a power cut came before that.
            scan.leave_out_after(max(self._tree.changed_at(place) for place, _ in self._walker.unread))
        return scan

    def _refuse_failing(self, failing: list[str]) -> None:
        """What a disk gives no bytes for is not lost yet: the next try, or a tool made for that, may read it."""
        if failing:
            raise StoreUnusable(
                f"The store gives errors where objects should be read ({len(failing)}, such as {failing[0]}): copy it "
                "to a sound disk first, with a tool that tries again, such as ddrescue. --missing-too takes what "
                "cannot be read for lost."
            )

    def _directories(self) -> list[Step]:
        unread = [entry.id for _, entry in self._walker.unread]
        rebuilder = Rebuilder(self._tree, self._scan(), self._walker, unread)
        steps: list[Step] = []
        for place, entry in self._walker.unread:
            if place.top != ROOT_ID or (self._is_missing(place.path) and not self._missing_too):
                self.unmended += [finding for finding in self._findings if finding.path == place.path]
            else:
                steps += rebuilder.rebuild(place, entry)
        return steps + [self._put_away(object_path(name)) for name in rebuilder.leftovers()]

    def _is_missing(self, path: bytes) -> bool:
        kinds = {finding.kind for finding in self._findings if finding.path == path}
        return not kinds.isdisjoint(UNSYNCED)

    def _orphans(self, nameless: set[int]) -> list[Step]:
        """Content that nothing names comes back by its number; objects of things that are there are only put away.

        `nameless` are hard-linked inodes that get a name otherwise, and keep their objects.
        """
        paths = [finding.stored for finding in self._findings if finding.kind == Kind.ORPHAN and finding.stored]
        if not paths:
            return []
        names = {object_name(path) for path in paths}
        scan = self._scan()
        salvage = Salvage(self._tree.objects, scan, strict=not self._missing_too)
        lost = [
            inode_id for inode_id, directory in scan.directories.items()
            if inode_id not in HIDDEN_IDS and not self._walker.has_met(inode_id) and names & set(directory.objects)
        ]  # fmt: skip
        rebuilder = Rebuilder(self._tree, scan, self._walker, lost)
        steps: list[Step] = []
        # Those that were in another lost one come with that, and keep their names.
        for inode_id in sorted(lost, key=lambda each: (rebuilder.is_below(each), each)):
            if not rebuilder.has(inode_id):
                steps += rebuilder.bring_back(inode_id)
        for inode_id, segments in sorted(scan.segments.items()):
            if inode_id in nameless or rebuilder.has(inode_id):
                continue
            if names & {found.name for found in segments}:
                try:
                    steps.append(bring_back(salvage, salvage.lost_file(inode_id), scan.highest_id))
                except (Damaged, OSError):
                    self._refuse_failing([object_path(found.name) for found in segments])
        # What comes back as it is keeps its objects; whether one of them is left over the next check will tell.
        used = rebuilder.in_use() | {name for inode_id in nameless for name in scan.objects_of(inode_id)}
        return steps + [self._put_away(path) for path in paths if object_name(path) not in used]

    def _wrong_links(self) -> Iterator[tuple[Entry, int]]:
        """(hard-linked inode, names met) of those that count another number of names."""
        for shard in self._tree.load(self._tree.top(SHARED_ID)).values():
            entry = decode_entry(shard)
            assert isinstance(entry, Entry)
            for _, linked, met in self._walker.wrong_links(self._tree.load(entry)):
                yield linked, met

    def _put_away(self, path: str) -> Step:
        def take(store: Store) -> None:
            if store.exists(path):
                self._quarantine.take(store, path)

        return Step(f"{path}: move it to {self._quarantine.folder}", after=take)


def _write_zeros(inline: Inline, inode: Inode, offset: int, chunk_size: int) -> None:
    """Put zeros for a chunk that cannot be read; at a file's end by cutting it off, so that it is not read first."""
    if offset + chunk_size >= inode.size:
        inline.setattr(inode.id, SetAttr(size=offset))
        inline.setattr(inode.id, SetAttr(size=inode.size))
    else:
        inline.write(inode.id, offset, bytes(chunk_size))


def copy_root(store: Store, path: str) -> None:
    """Write a root slot anew, from the other one."""
    (other,) = (each for each in map(root_slot_path, range(ROOT_SLOTS)) if each != path)
    data = read_file(store, other)
    if not store.exists(path):
        store.create(path).close()
    _write(store, path, data)


def _write(store: Store, path: str, data: bytes, *, cut: bool = True) -> None:
    file = store.open(path, write=True)
    try:
        file.write([data], 0)
        if cut:
            file.truncate(len(data))
        file.sync()
    finally:
        file.close()
