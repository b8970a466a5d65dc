"""Which objects a committed root reaches, by decoding everything from the root down; what is left over has leaked."""

from collections.abc import Iterator

from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, SMALL_CHUNK
from vaultfs.format.layout import journal_path, object_folders, object_name, object_path, root_slot_path
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import Entry, decode_entry, decode_head
from vaultfs.sealing.maps import InlineData, InlineMap, decode_content, leaf_entries
from vaultfs.sealing.roots import Root, open_root
from vaultfs.store.handles import HandleCache
from vaultfs.vault.content import FileContent, load_index
from vaultfs.vault.directory_load import load_directory
from vaultfs.vault.objects import Objects

S_IFMT, S_IFDIR, S_IFREG = 0o170000, 0o040000, 0o100000


def newest_root(store: MemoryStore) -> Root:
    """The root in force."""
    context = SealingContext(KEYS, SMALL_CHUNK)
    roots = []
    for slot in range(2):
        file = store.open(root_slot_path(slot))
        roots.append(open_root(context, file.read(file.size(), 0)).root)
    return max(roots, key=lambda root: root.generation)


def object_names(store: MemoryStore) -> set[bytes]:
    """The names of all objects in the store."""
    found = set()
    for folder in object_folders():
        for name in store.names(folder):
            decoded = object_name(f"{folder}/{name}")
            assert decoded is not None, f"{folder}/{name}"
            found.add(decoded)
    return found


def reachable(store: MemoryStore, chunk_size: int = SMALL_CHUNK) -> dict[bytes, str]:
    """The objects the newest root reaches, and what each is."""
    objects = Objects(store, HandleCache(store, 16), SealingContext(KEYS, chunk_size))
    found: dict[bytes, str] = {}
    root = newest_root(store)
    for encoded in (root.root, root.shared, root.orphans):
        entry = decode_entry(encoded)
        assert isinstance(entry, Entry)
        for name, what in _below(objects, entry):
            assert name not in found, f"{what} and {found[name]} share an object"
            found[name] = what
    return found


def _below(objects: Objects, entry: Entry) -> Iterator[tuple[bytes, str]]:
    if not entry.content:
        return
    if entry.mode & S_IFMT == S_IFREG:
        yield from _of_file(objects, entry)
    elif entry.mode & S_IFMT == S_IFDIR:
        head = decode_head(entry.content)
        for part in (head.base, head.delta):
            if part is not None:
                yield part.object, f"directory {entry.id}"
        for encoded in load_directory(objects, entry.id, entry.content).values():
            child = decode_entry(encoded)
            if isinstance(child, Entry):
                yield from _below(objects, child)


def _of_file(objects: Objects, entry: Entry) -> Iterator[tuple[bytes, str]]:
    section = decode_content(entry.content)
    if isinstance(section.map, InlineMap):
        yield section.map.object, f"file {entry.id}"
        assert section.stored == _bytes_in(section.map.leaf), f"file {entry.id} tells another size on disk than it has"
        return
    if isinstance(section.map, InlineData):
        assert section.stored == len(section.map.data), f"file {entry.id} tells another size on disk than it has"
        return
    content = FileContent.from_section(objects, entry.id, entry.content)
    if section.map.level:
        loaded = load_index(content, entry.content)
        yield loaded.index_segment.name, f"index of file {entry.id}"
        content.adopt_references(loaded.leaves)
    for number, segment in content.committed.items():
        yield segment.name, f"segment {number} of file {entry.id}"
    stored = sum(_bytes_in(segment.load_node()) for segment in content.committed.values())
    assert section.stored == stored, f"file {entry.id} tells another size on disk than it has"


def _bytes_in(leaf: bytes) -> int:
    """The bytes of chunk data that a leaf names."""
    return sum(entry.length for _, entry in leaf_entries(leaf))


def assert_clean(store: MemoryStore, chunk_size: int = SMALL_CHUNK) -> None:
    """The store of a vault that was closed cleanly has what its root reaches, and no more."""
    reached = reachable(store, chunk_size)
    present = object_names(store)
    missing = [what for name, what in reached.items() if name not in present]
    leaked = [object_path(name) for name in present - reached.keys()]
    assert not missing, f"missing: {missing}"
    assert not leaked, f"leaked: {leaked}"
    assert newest_root(store).clean
    assert store.names("journal") in ([], ["ballast"]), journal_path(0)
