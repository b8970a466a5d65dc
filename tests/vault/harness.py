"""Small vaults in memory for the tests of this folder: limits so low that everything happens after a few operations."""

import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.memorystore import MemoryStore
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.records import Record
from vaultfs.store.api import Store
from vaultfs.vault import core
from vaultfs.vault.apply import apply
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode
from vaultfs.vault.settings import Settings
from vaultfs.vault.state import State
from vaultfs.vault.vault import OpenOptions, Vault
from vaultfs.vault.waits import NotReady

KEYS = VaultKeys.from_master(bytes(range(16)), bytes(range(32)))
ROOT = 1

SMALL_LIMITS = {
    "CHUNK_SIZE_MIN": 1024, "CHUNKS_PER_SEGMENT": 4, "INLINE_CHUNKS": 2, "NODE_REFERENCES": 2, "ROOT_REFERENCES": 2,
}  # fmt: skip
"""Format constants lowered so that a file of a few KiB has several segments and two levels of map nodes."""

SMALL_CHUNK = 1024

TINY = Settings(
    checkpoint_age=1e9,
    journal_soft=1 << 13,
    journal_hard=1 << 15,
    overlay_soft=1 << 13,
    overlay_hard=1 << 14,
    direct_soft=1 << 14,
    direct_hard=1 << 15,
    inodes_soft=16,
    inodes_hard=24,
    journal_preallocation=4096,
    journal_room=512,
    journal_step=1024,
    ballast_size=0,
    direct_minimum=512,
    stream_minimum=1024,
    page_size=100,
    open_objects=8,
    unsynced_soft=8,
    inode_budget=0,
    content_budget=0,
    entry_budget=0,
    directory_budget=0,
    fresh_directories=0,
    inline_data=300,
    delta_minimum=512,
    compaction_slots=4,
    seals_per_object=64,
    recovery_name_gap=32,
)


@contextmanager
def nothing_loaded_late() -> Iterator[None]:
    """Fail when a record that is in the journal already needs something that is not in memory."""

    def strict(state: State, record: Record) -> None:
        try:
            apply(state, record)
        except NotReady as late:
            raise AssertionError(f"{type(late).__name__} after {record!r:.300} was journaled") from late

    vars(core)["apply"] = strict
    try:
        yield
    finally:
        vars(core)["apply"] = apply


@contextmanager
def small_limits() -> Iterator[None]:
    """Lower the format's constants in every module that has taken them over."""
    changed = [
        (module, name, getattr(module, name))
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith("vaultfs.")
        for name in SMALL_LIMITS
        if hasattr(module, name)
    ]
    for module, name, _ in changed:
        setattr(module, name, SMALL_LIMITS[name])
    try:
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)


def new_store(chunk_size: int = SMALL_CHUNK) -> MemoryStore:
    """A store with an empty vault."""
    store = MemoryStore()
    Vault.create(store, KEYS, chunk_size=chunk_size)
    return store


def options(
    chunk_size: int = SMALL_CHUNK, settings: Settings = TINY, *, read_only: bool = False, accept_damage: bool = False
) -> OpenOptions:
    """How the tests open a vault."""
    return OpenOptions(
        chunk_size=chunk_size, read_only=read_only, accept_damage=accept_damage, settings=settings
    )


def open_inline(store: Store, opening: OpenOptions | None = None) -> Inline:
    """The vault in a store, opened."""
    return Inline(Vault.open(store, KEYS, opening or options()))


def settle(vault: Inline) -> None:
    """Have a vault leave a root that needs no journal, as sync-ready does."""
    while not vault.vault.settle():
        assert vault.vault.checkpoint()


def put_file(vault: Inline, name: bytes, data: bytes = b"") -> int:
    """Make a file in the top directory that the vault remembers, as for a kernel; its inode id."""
    inode = vault.create_inode(ROOT, name, stat.S_IFREG | 0o644)
    vault.vault.remember(inode.id)
    vault.write(inode.id, 0, data)
    return inode.id


def vault_with(files: Mapping[str, bytes], opening: OpenOptions | None = None) -> Inline:
    """A vault just opened, by default as users do, with these files in folders made as needed."""
    store = MemoryStore()
    Vault.create(store, KEYS)
    vault = Inline(Vault.open(store, KEYS))
    for path, content in files.items():
        parent = ROOT
        *folders, name = path.split("/")
        for folder in folders:
            known = dict(vault.list_directory(parent))
            parent = known.get(folder.encode()) or vault.create_inode(parent, folder.encode(), 0o40700).id
        vault.write(vault.create_inode(parent, name.encode(), 0o100600).id, 0, content)
    vault.vault.close()
    return open_inline(store, opening or OpenOptions())


Stat = tuple[object, ...]


@dataclass
class Snapshot:
    """What a vault shows: attributes by inode id, names by directory id, contents by file id."""

    stats: dict[int, Stat] = field(default_factory=dict)
    names: dict[int, dict[bytes, int]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)


def stat_of(inode: Inode) -> Stat:
    """Everything stat(2) and listxattr(2) tell, but the size."""
    return (
        inode.mode, inode.uid, inode.gid, inode.nlink, inode.atime, inode.mtime, inode.ctime,
        inode.birthtime, inode.device, inode.target, tuple(sorted(inode.xattrs.items())),
    )  # fmt: skip


def snapshot(vault: Inline, *, contents: bool = True) -> Snapshot:
    """Everything that can be reached from the top."""
    shot = Snapshot()
    top = vault.getattr(ROOT)
    shot.stats[ROOT] = stat_of(top)
    waiting = [ROOT]
    while waiting:
        directory = waiting.pop()
        entries = dict(vault.list_directory(directory))
        shot.names[directory] = entries
        for name, inode_id in entries.items():
            inode = vault.lookup(directory, name)
            assert inode.id == inode_id
            if inode_id in shot.stats:
                continue
            shot.stats[inode_id] = stat_of(inode)
            if inode.mode & 0o170000 == 0o040000:
                waiting.append(inode_id)
            elif inode.mode & 0o170000 == 0o100000:
                size = inode.size
                shot.contents[inode_id] = vault.read(inode_id, 0, size) if contents else bytes(size)
    return shot


def differences(one: Snapshot, other: Snapshot) -> list[str]:
    """How two snapshots differ, in words."""
    found = []
    for what in ("stats", "names", "contents"):
        left, right = getattr(one, what), getattr(other, what)
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key):
                found.append(f"{what} of {key}: {str(left.get(key))[:300]} became {str(right.get(key))[:300]}")
    return found
