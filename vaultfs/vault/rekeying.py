"""The vault's part in a change of the master key: what it takes to have everything under the new one.

While the change is under way, `context.previous` opens what is still as before, and whatever is written is sealed and
wrapped under the present master key. Directories are written anew, under keys of their own that are new too; the
headers of objects are sealed anew in their place; roots and journals are replaced by any checkpoint.
"""

import errno
import stat
from concurrent.futures import ThreadPoolExecutor

from vaultfs.errors import NoSpace, ReadOnly
from vaultfs.format.constants import JOURNAL_HEADER_SIZE, OBJECT_HEADER_SIZE, ROOT_SLOTS
from vaultfs.format.layout import JOURNAL_FOLDER, journal_path, object_name, root_slot_path
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import decode_head
from vaultfs.sealing.journal import is_outdated_journal
from vaultfs.sealing.objects import renew_object_header
from vaultfs.sealing.renewal import renew_section
from vaultfs.sealing.roots import is_outdated_root
from vaultfs.vault.checkpointing import Checkpointer
from vaultfs.vault.core import Core
from vaultfs.vault.objects import Objects
from vaultfs.vault.recovery import journal_numbers
from vaultfs.vault.segment import KEY_EPOCH

# What a checkpoint writes besides a directory's own bytes: entries above it, a header.
_ROOM = 4096
# Headers written before they are synced.
_BATCH = 256
# Syncs at a time.
_SYNCS = 16


def change_keys(core: Core, checkpointer: Checkpointer, keys: VaultKeys) -> bool:
    """Go over to the keys of a new master key, whose `previous` are those in force; all in memory but two deletions.

    False, and nothing is changed, while a checkpoint is not finished: it may seal this and that under either.
    Raises ReadOnly, WriteFailed.
    """
    if core.read_only_reason:
        raise ReadOnly(core.read_only_reason)
    state, objects = core.state, core.objects
    if checkpointer.running or state.frozen is not None:
        return False
    # What is in memory may still be under the keys before those in force, which the new ones know nothing of.
    for inode in (*state.cache.values(), *state.active.inodes.values()):
        inode.content = renew_section(objects.context, inode.id, inode.mode, inode.content)
    for inode_id, section in state.active.purged_sections.items():
        state.active.purged_sections[inode_id] = renew_section(objects.context, inode_id, stat.S_IFREG, section)
    objects.context = SealingContext(keys, objects.chunk_size)
    for content in {*state.contents.values(), *state.active.contents.values(), *state.active.purged}:
        if content.key is not None:
            # The journal's records and the maps to come take the wrapped key from here.
            content.key = objects.context.unwrap_file_key(content.id, content.key.wrapped)
    try:
        core.journal.change_keys()
    except OSError as error:
        raise core.fail("a journal from before the change of keys could not be deleted", error) from error
    return True


def renew_directory(core: Core, top: int, names: tuple[bytes, ...]) -> None:
    """Have the next checkpoint write the directory at a path below a top directory anew.

    Nothing is journaled, as nothing a user sees changes. One that is gone or something else by now is left alone: a
    later look finds it where it is. Raises NotReady, ReadOnly, NoSpace.
    """
    state = core.state
    inode = state.inode(top)
    for name in names:
        if not stat.S_ISDIR(inode.mode):
            return
        found = state.child(state.directory(inode.id), name)
        if found is None:
            return
        inode = found
    if not stat.S_ISDIR(inode.mode):
        return
    size = decode_head(inode.content).stored if inode.content else 0
    core.admit(_ROOM + size)
    state.edit(inode.id)
    state.active.renewed[inode.id] = size


def renewal_waits(core: Core) -> bool:
    """Whether a checkpoint has still to write a directory that `renew_directory` named.

    Raises ReadOnly or NoSpace if no checkpoint can.
    """
    state = core.state
    waits = bool(state.active.renewed) or (state.frozen is not None and bool(state.frozen.renewed))
    if waits and core.read_only_reason:
        raise ReadOnly(core.read_only_reason)
    if waits and core.full:
        raise NoSpace("the store has no room to write the directories anew")
    return waits


def renew_headers(objects: Objects, folder: str) -> int:
    """Seal the headers of all objects in a folder anew that only the previous master key opens, and sync them.

    In place: a header is within one sector, so a power cut leaves it as it was or as it is to be; and only salvage
    reads it, for a key that the tree has too. Returns how many. Raises OSError.
    """
    renewed = 0
    batch: list[str] = []
    try:
        names = objects.store.names(folder)
    except FileNotFoundError:
        return 0
    for entry in names:
        path = f"{folder}/{entry}"
        name = object_name(path)
        if name is not None and _renew_header(objects, path, name):
            renewed += 1
            batch.append(path)
            if len(batch) >= _BATCH:
                _sync(objects, batch)
                batch = []
    _sync(objects, batch)
    # An object deleted lately may come back with a power cut, with its old header: that is over now.
    objects.store.sync_folder(folder)
    return renewed


def _sync(objects: Objects, paths: list[str]) -> None:
    """Sync objects, several at a time: each waits for the disk far longer than that has to do for it."""
    if len(paths) < _SYNCS:
        objects.handles.sync(paths)
        return
    with ThreadPoolExecutor(_SYNCS) as threads:
        for _ in threads.map(objects.handles.sync, ([path] for path in paths)):
            pass


def _renew_header(objects: Objects, path: str, name: bytes) -> bool:
    try:
        stored = objects.handles.get(path).read(OBJECT_HEADER_SIZE, 0)
        renewed = renew_object_header(objects.context, name, stored, KEY_EPOCH)
        if renewed is None:
            return False
        objects.handles.write(path, [renewed], 0)
    except FileNotFoundError:
        return False  # let go meanwhile
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False  # no regular file, so none of the vault's
    return True


def outdated_parts(objects: Objects) -> list[str]:
    """The paths of roots and journals that the previous master key opens, or may after a power cut. Raises OSError."""
    objects.store.sync_folder(JOURNAL_FOLDER)
    context = objects.context
    found = []
    for path in map(root_slot_path, range(ROOT_SLOTS)):
        stored = _read(objects, path)
        if stored is not None and is_outdated_root(context, stored):
            found.append(path)
    for number in journal_numbers(objects):
        path = journal_path(number)
        stored = _read(objects, path, JOURNAL_HEADER_SIZE)
        if stored is not None and is_outdated_journal(context, number, stored):
            found.append(path)
    return found


def _read(objects: Objects, path: str, size: int | None = None) -> bytes | None:
    """A file's first bytes, all without a size; None if it is gone."""
    try:
        file = objects.store.open(path)
    except FileNotFoundError:
        return None
    try:
        return file.read(file.size() if size is None else size, 0)
    finally:
        file.close()
