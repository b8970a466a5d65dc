"""The vaults the attacks are tried on: an old and a new state of one vault, an unclean one, and a stranger's."""

import random
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from tests.support.samples import (
    CHUNK,
    KEYS,
    OPTIONS,
    OTHER_KEYS,
    SEGMENT,
    Content,
    Model,
    make_store,
)
from vaultfs.check.committed import CommittedTree, Place
from vaultfs.check.structure import leaf_of, load_map
from vaultfs.format.constants import OBJECT_HEADER_SIZE, ROOT_ID
from vaultfs.format.layout import object_path, slot_offset
from vaultfs.sealing.entries import decode_head
from vaultfs.sealing.maps import TreeMap, decode_content
from vaultfs.sealing.slots import stored_slot_size
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.memory import GenerationMemory, Seen
from vaultfs.vault.vault import Vault


class World(NamedTuple):
    """Store folders with what they hold, and the newest root this machine has seen of each.

    `old` became `new` by changes to many files, and `middle` was in between; `unclean` is `new` with synced changes
    only its journal has.
    """

    old: Path
    old_model: Model
    middle: Path
    new: Path
    new_model: Model
    unclean: Path
    unclean_model: Model
    stranger: Path
    seen: Seen
    unclean_seen: Seen


class Region(NamedTuple):
    """Bytes of one stored file."""

    stored: str
    start: int
    end: int


def make_world(folder: Path) -> World:
    """Make all four."""
    old = folder / "old"
    old_model = make_store(old)
    new = shutil.copytree(old, folder / "new")
    new_model = dict(old_model)
    middle = folder / "middle"
    _change(new, new_model, middle)
    unclean = folder / "unclean"
    unclean_model = _unclean(new, new_model, unclean)
    stranger = folder / "stranger"
    make_store(stranger, OTHER_KEYS, seed=3)
    return World(old, old_model, middle, new, new_model, unclean, unclean_model, stranger, newest(new), newest(unclean))


def newest(store_path: Path) -> Seen:
    """The newest root of a store, as a machine remembers it."""
    with DirectoryStore(store_path, write=False) as store:
        root, tag = CommittedTree(store, KEYS, CHUNK).open()
        return Seen(root.generation, tag)


def remembering(folder: Path, seen: Seen | None) -> GenerationMemory:
    """The memory of a machine that has seen this root."""
    memory = GenerationMemory(folder, KEYS.vault_id)
    if seen is not None:
        memory.save(seen)
    return memory


def _change(store_path: Path, model: Model, middle: Path) -> None:
    """Rewrite chunks of most files, over and over, so that slots and directories have older versions.

    `middle` becomes a copy after the first time: every third version of a chunk stands in the slot of the first.
    """
    numbers = random.Random(2)
    with DirectoryStore(store_path, write=True) as store:
        inline = Inline(Vault.open(store, KEYS, OPTIONS))
        for number in range(3):
            for path in [b"small", b"docs/inline", b"docs/leafy", b"docs/deep/two segments", b"hard 1"]:
                _overwrite(inline, model, path, 0, numbers.randbytes(100 if path == b"small" else CHUNK))
            inline.create_inode(inline.walk(b"docs").id, b"made %d" % number, stat.S_IFIFO | 0o600)
            model[b"docs/made %d" % number] = Content(stat.S_IFIFO)
            inline.vault.checkpoint()
            if number == 0:
                shutil.copytree(store_path, middle)
        _overwrite(inline, model, b"docs/deep/two segments", SEGMENT, numbers.randbytes(CHUNK))
        _overwrite(inline, model, b"docs/deep/indexed", 5, numbers.randbytes(3000))
        _overwrite(inline, model, b"many/later", 0, numbers.randbytes(70))
        inline.vault.checkpoint()
        model[b"docs/hard 2"] = model[b"hard 1"]
        inline.vault.close()


def _unclean(new: Path, model: Model, target: Path) -> Model:
    """A copy taken after an fsync, before the vault was closed."""
    work = shutil.copytree(new, target.with_name("work"))
    changed = dict(model)
    with DirectoryStore(work, write=True) as store:
        inline = Inline(Vault.open(store, KEYS, OPTIONS))
        numbers = random.Random(9)
        _overwrite(inline, changed, b"docs/leafy", 3 * CHUNK, numbers.randbytes(2 * CHUNK))
        _overwrite(inline, changed, b"small", 20, numbers.randbytes(30))
        inline.create_inode(1, b"journaled", stat.S_IFREG | 0o600)
        changed[b"journaled"] = Content(stat.S_IFREG)
        _overwrite(inline, changed, b"journaled", 0, numbers.randbytes(200))
        inline.fsync(None)
        # A later record tells of the sync before it: without one, a torn tail and a broken record look the same.
        _overwrite(inline, changed, b"small", 10, numbers.randbytes(30))
        inline.fsync(None)
        shutil.copytree(work, target)
        inline.vault.close()
    shutil.rmtree(work)
    return changed


def _overwrite(inline: Inline, model: Model, path: bytes, offset: int, data: bytes) -> None:
    inode = inline.walk(path)
    inline.write(inode.id, offset, data)
    content = model[path]
    size = max(content.size, offset + len(data))
    model[path] = Content(content.kind, size, (*content.pieces, (offset, data)))


class Locator:
    """Finds what a path is stored as."""

    def __init__(self, store_path: Path) -> None:
        self._store = DirectoryStore(store_path, write=False)
        self.tree = CommittedTree(self._store, KEYS, CHUNK)
        self.tree.open()

    def close(self) -> None:
        """Let go of the store."""
        self.tree.close()
        self._store.close()

    def chunk(self, path: bytes, number: int) -> Region:
        """The slot of the number-th chunk that is no hole."""
        entry = self.tree.find(Place(ROOT_ID, tuple(path.split(b"/"))))
        assert entry is not None
        slots = [
            (segment.path, item)
            for segment in load_map(self.tree.objects, entry).committed.values()
            for _, item in leaf_of(segment)
        ]
        stored, item = slots[number]
        start = slot_offset(item.slot, CHUNK)
        return Region(stored, start, start + stored_slot_size(item.length))

    def leaf(self, path: bytes) -> Region:
        """The slot of the first segment's map node."""
        entry = self.tree.find(Place(ROOT_ID, tuple(path.split(b"/"))))
        assert entry is not None
        segment = next(iter(load_map(self.tree.objects, entry).committed.values()))
        assert segment.node is not None
        start = slot_offset(segment.node.slot, CHUNK)
        return Region(segment.path, start, start + stored_slot_size(segment.node.length))

    def index(self, path: bytes) -> Region:
        """The slot of the inner map node."""
        entry = self.tree.find(Place(ROOT_ID, tuple(path.split(b"/"))))
        assert entry is not None
        tree = decode_content(entry.content).map
        assert isinstance(tree, TreeMap) and tree.level == 1
        node = tree.references[0][1]
        start = slot_offset(node.slot, CHUNK)
        return Region(object_path(node.object), start, start + stored_slot_size(node.length))

    def directory(self, path: bytes) -> list[Region]:
        """A directory's base and delta, behind their headers, as far as they count."""
        entry = self.tree.find(Place(ROOT_ID, tuple(filter(None, path.split(b"/")))))
        assert entry is not None
        head = decode_head(entry.content)
        parts = [part for part in (head.base, head.delta) if part is not None]
        return [Region(object_path(part.object), OBJECT_HEADER_SIZE, part.length) for part in parts]
