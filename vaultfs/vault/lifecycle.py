"""Makes, opens and closes vaults: the roots, the checks against rollback, recovery, and the clean end."""

import contextlib
import errno
import logging
import stat
from dataclasses import replace

from vaultfs.crypto.aead import random_bytes
from vaultfs.errors import (
    Damaged,
    JournalDamaged,
    NoSpace,
    PartlySynced,
    ReadOnly,
    RollbackRefused,
    StoreUnusable,
    WriteFailed,
)
from vaultfs.format.constants import (
    CHUNK_SIZE_MAX,
    CHUNK_SIZE_MIN,
    FIRST_FREE_ID,
    ORPHANS_ID,
    ROOT_ID,
    ROOT_SLOTS,
    SHARED_ID,
)
from vaultfs.format.layout import (
    JOURNAL_FOLDER,
    OBJECTS_FOLDER,
    QUARANTINE_FOLDER,
    journal_path,
    object_folder,
    object_folders,
    object_path,
    root_slot_path,
)
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.sealing.ancestry import are_parted
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import Entry, decode_entry, encode_entry, new_entry
from vaultfs.sealing.records import Purge
from vaultfs.sealing.roots import JournalStart, Root, SealedRoot
from vaultfs.store.api import Store, read_file
from vaultfs.store.handles import HandleCache, descriptor_limit
from vaultfs.vault.apply import apply
from vaultfs.vault.checkpoint import delete_objects
from vaultfs.vault.checkpointing import Checkpointer
from vaultfs.vault.core import Core
from vaultfs.vault.inode import inode_of_entry
from vaultfs.vault.journal import Journal
from vaultfs.vault.memory import GenerationMemory, Seen
from vaultfs.vault.objects import Objects
from vaultfs.vault.quarantine import keep_journals
from vaultfs.vault.recovery import (
    JournalRecords,
    Progress,
    Replay,
    cut_free_ends,
    delete_strays,
    explain,
    journal_numbers,
    named_objects,
    read_journals,
    synced_objects,
    unknown_journals,
)
from vaultfs.vault.roots import NO_ROOT_VERIFIES, RootSlots
from vaultfs.vault.settings import Settings
from vaultfs.vault.space import OUT_OF_SPACE
from vaultfs.vault.state import State
from vaultfs.vault.waits import resolve

log = logging.getLogger("vaultfs.vault")

_ONLY_IN_JOURNAL = (
    "the last changes are safe, but only in the journal: mount the vault again when its store has room"
)
_MAKE_ROOM = (
    "make some in the store, or where its journal is kept; nothing is lost, and the vault can be opened read-only as "
    "it is"
)
_READ_AS_IT_IS = (
    "`vaultfs mount --read-only` shows the vault as it is, and --accept-damage goes on without what is missing"
)
_TOP_NAMES = {ROOT_ID: b"root", SHARED_ID: b"shared", ORPHANS_ID: b"orphans"}


def create_vault(store: Store, keys: VaultKeys, chunk_size: int, header_epoch: int, uid: int, gid: int) -> None:
    """Make an empty vault's folders and roots, all durable; the header comes after. Raises OSError."""
    if chunk_size & (chunk_size - 1) or not CHUNK_SIZE_MIN <= chunk_size <= CHUNK_SIZE_MAX:
        raise ValueError("a chunk size is a power of two from 32 KiB to 1 MiB")
    _make_folders(store)
    handles = HandleCache(store, 16)
    objects = Objects(store, handles, SealingContext(keys, chunk_size))
    now = Core.now()
    tops = {
        inode_id: encode_entry(new_entry(inode_id, stat.S_IFDIR | 0o755, uid, gid, now)) for inode_id in _TOP_NAMES
    }
    start = JournalStart(0, bytes(16), 0, random_bytes(16))
    root = Root(
        1, True, header_epoch, now, FIRST_FREE_ID, 1, start,
        tops[ROOT_ID], tops[SHARED_ID], tops[ORPHANS_ID], (), (),
    )  # fmt: skip
    RootSlots(objects).create(root)
    store.sync_folder("")
    handles.close()


def _make_folders(store: Store) -> None:
    """Make the folders a vault has, those that are missing: some sync clients leave out empty ones."""
    store.make_folder(OBJECTS_FOLDER)
    store.make_folder(JOURNAL_FOLDER)
    there = set(store.names(OBJECTS_FOLDER))
    missing = [folder for folder in object_folders() if folder.rpartition("/")[2] not in there]
    for folder in missing:
        store.make_folder(folder)
    if missing:
        store.sync_folder(OBJECTS_FOLDER)


def open_core(
    store: Store,
    keys: VaultKeys,
    *,
    chunk_size: int,
    header_epoch: int,
    inline_data: bool,
    read_only: bool,
    accept_rollback: bool,
    accept_damage: bool,
    memory: GenerationMemory | None,
    settings: Settings,
    progress: Progress,
) -> tuple[Core, Checkpointer]:
    """Open a vault, recovering it if it did not end cleanly; read-only that happens in memory alone.

    Raises OpenError subclasses (PartlySynced, RollbackRefused, JournalDamaged), Damaged and OSError.
    """
    settings = settings.within(descriptor_limit())
    if not inline_data:
        settings = replace(settings, inline_data=0)
    handles = HandleCache(store, settings.open_objects)
    objects = Objects(store, handles, SealingContext(keys, chunk_size))
    objects.replaces_lost = accept_damage
    roots = RootSlots(objects)
    latest = _latest_root(store, roots, read_only)
    seen = memory.load() if memory is not None else None
    if not accept_rollback:
        _refuse_rollback(latest, header_epoch, seen)
    state = _state_of(objects, settings, latest.root)
    start = latest.root.journal
    journal = Journal(objects, start.number, start.sequence, start.tag, settings)
    reason = "the vault is open read-only" if read_only else ""
    core = Core(objects, settings, state, roots, journal, reason)
    core.header_epoch = max(header_epoch, latest.root.epoch)
    checkpointer = Checkpointer(core, memory)
    is_ours = _is_ours(latest, seen)
    opening = _Opening(core, checkpointer, latest.root, accept_damage, is_ours)
    opening.replay(progress)
    strangers = opening.strangers()
    if not read_only:
        opening.settle(strangers)
    if not read_only or is_ours or not strangers:
        checkpointer.remember()
    return core, checkpointer


def _latest_root(store: Store, roots: RootSlots, read_only: bool) -> SealedRoot:
    found = roots.read()
    missing = [root_slot_path(slot) for slot in range(ROOT_SLOTS) if not store.exists(root_slot_path(slot))]
    if missing and (not read_only or not found):
        raise PartlySynced(
            f"{' and '.join(missing)} missing from the store: let it finish syncing, then try again; {_way_out(found)}"
        )
    if not found:
        raise StoreUnusable(NO_ROOT_VERIFIES)
    return found[0]


def _way_out(found: list[SealedRoot]) -> str:
    """What helps when a root is lost for good."""
    if found:
        return "if it is lost for good, `vaultfs check --repair` makes it again from the other"
    return "if both are lost for good, `vaultfs export --salvage` gets out what can be read"


def _refuse_rollback(latest: SealedRoot, header_epoch: int, seen: Seen | None) -> None:
    if header_epoch < latest.root.epoch:
        raise RollbackRefused(
            "the header is older than the vault: a password that was changed since may still open it; "
            "open it with `vaultfs mount --accept-rollback` if this is meant"
        )
    if seen is None:
        return
    root = latest.root
    if root.generation < seen.generation:
        raise RollbackRefused(
            f"the store is older (generation {root.generation}) than this machine has seen ({seen.generation}); "
            "let it finish syncing, or open it with `vaultfs mount --accept-rollback` if it was restored on purpose"
        )
    if are_parted(latest.known(), seen.known()):
        raise RollbackRefused(
            "the store went another way than what this machine has seen: two copies of it were changed; "
            "`vaultfs mount --accept-rollback` goes on with this one"
        )


def _is_ours(latest: SealedRoot, seen: Seen | None) -> bool:
    """Whether this machine wrote the root, as far as it remembers: a power cut may come before it does."""
    return seen is None or (seen.generation, seen.tag) in latest.known()[-2:]


def _state_of(objects: Objects, settings: Settings, root: Root) -> State:
    state = State(objects, settings)
    state.next_id = root.next_id
    state.inode_count = root.inodes
    objects.generation = root.generation + 1
    for inode_id, encoded in ((ROOT_ID, root.root), (SHARED_ID, root.shared), (ORPHANS_ID, root.orphans)):
        entry = decode_entry(encoded)
        if not isinstance(entry, Entry) or entry.id != inode_id:
            raise Damaged("a root does not have the directories a root has")
        state.cache[inode_id] = inode_of_entry(entry, 0, _TOP_NAMES[inode_id])
    return state


class _Opening:
    """Brings a vault from what was found in the store to a clean beginning."""

    def __init__(
        self, core: Core, checkpointer: Checkpointer, root: Root, accept_damage: bool, is_ours: bool
    ) -> None:
        self._core = core
        self._checkpointer = checkpointer
        self._root = root
        self._accept_damage = accept_damage
        self._is_ours = is_ours
        # What comes later is left alone: nobody has looked at it.
        self._numbers = journal_numbers(core.objects)
        self._journals: JournalRecords | None = None
        self._kept: set[bytes] = set()
        self._left_out = False

    def replay(self, progress: Progress) -> None:
        """Apply what the journals hold, if the last root needs them."""
        if self._root.clean:
            return
        core = self._core
        try:
            journals = read_journals(core.objects, self._root.journal)
        except PartlySynced as error:
            if not self._accept_damage:
                raise PartlySynced(f"{error}; or give --accept-damage to go on without the changes in it") from error
            log.warning("changes since the last checkpoint are left out: %s", error)
            self._left_out = core.lacks_changes = True
            return
        except Damaged as error:
            if not self._accept_damage and not core.read_only_reason:
                raise JournalDamaged(
                    f"the journal is damaged: {error}; mount with --read-only to look, "
                    "or with --accept-damage to go on without the changes in it"
                ) from error
            log.warning("changes since the last checkpoint are left out: %s", error)
            self._left_out = core.lacks_changes = True
            return
        if journals.damaged:
            if not self._accept_damage and not core.read_only_reason:
                raise explain(journals)
            log.warning("changes are left out: %s", journals.damaged)
        self._journals = journals
        consent = self._accept_damage or bool(core.read_only_reason)
        replay = Replay(core.state, journals.records, tolerant=consent)
        try:
            replay.run(progress)
        except Damaged as error:
            raise JournalDamaged(
                f"{error}; mount with --read-only to look, or with --accept-damage to go on without such changes"
            ) from error
        self._kept = replay.objects | synced_objects(journals.behind)
        core.lacks_changes = replay.refused or bool(journals.damaged)
        self._left_out = replay.left_out or bool(journals.damaged)
        log.info(
            "recovered %d of %d changes from the journal, since the vault was not closed the last time",
            replay.applied,
            len(journals.records),
        )
        if journals.behind and not journals.damaged:
            log.info("%s: it is kept, and `vaultfs export --salvage` gets them out", journals.left_behind)
        for inode_id, chunk in replay.skipped:
            log.info("chunk %d of inode %d had not reached the disk; it has its older content", chunk, inode_id)

    def strangers(self) -> list[int]:
        """The numbers of journals that may have changes of another session.

        If this machine wrote the root, a power cut is what they most likely tell of: they are kept without a word.
        """
        objects = self._core.objects
        replayed = self._journals.replayed_files() if self._journals is not None else set()
        found = unknown_journals(objects, set(self._numbers) - replayed, self._root)
        if found and not self._is_ours:
            log.warning(
                "the store has a journal, as of a session on another machine, whose changes may be missing here: it is "
                "kept, and `vaultfs export --salvage` gets them out"
            )
        return found

    def settle(self, strangers: list[int]) -> None:
        """Commit what was recovered, purge what was unlinked, and delete what nothing reaches."""
        core = self._core
        _make_folders(core.objects.store)
        core.roots.settle()
        delete_objects(core.state, self._root.let_go)
        done = self._put_away(strangers)
        self._renew_journal(max([self._root.journal.number, *self._numbers]) + 1)
        self._purge_orphans()
        # A root that knows the header's epoch makes older headers, and the passwords in them, be refused.
        if not self._root.clean or not core.state.active.empty or core.header_epoch > self._root.epoch:
            self._commit()
        for number in done:
            with contextlib.suppress(FileNotFoundError):  # a sync client may have come first
                core.objects.store.delete(journal_path(number))
        core.space.keep_ballast()

    def _put_away(self, strangers: list[int]) -> list[int]:
        """Keep the journals that have what nothing else may have; the numbers of those that may be deleted then."""
        if self._left_out:
            self._keep_journals(self._numbers)
            return self._numbers
        journals = self._journals
        broken = [header.number for header in journals.headers] if journals is not None and journals.behind else []
        kept = sorted({*strangers, *broken})
        try:
            self._keep_journals(kept)
        except (NoSpace, StoreUnusable, OSError):
            if not self._is_ours:
                raise
            # Where they are they are kept as well, until the next opening.
            return [number for number in self._numbers if number not in kept]
        return self._numbers

    def _keep_journals(self, numbers: list[int]) -> None:
        """Put copies away of journals that have changes which were left out: nothing else has them."""
        try:
            store = self._core.objects.store
            keep_journals(store, ((number, read_file(store, journal_path(number))) for number in numbers))
        except OSError as error:
            if error.errno == errno.EINVAL:  # something else has the folder's name
                raise StoreUnusable(
                    f"the journal, whose changes are left out, cannot be kept: {error.strerror}; nothing but a folder "
                    f"may be called {QUARANTINE_FOLDER} in the store"
                ) from error
            if error.errno not in OUT_OF_SPACE:
                raise
            if not self._core.space.release_ballast():
                raise NoSpace("the store has no room to keep the journal, whose changes are left out") from error
            self._keep_journals(numbers)

    def _renew_journal(self, number: int) -> None:
        """A recovered journal is never appended to: go on in a new one, with the old one's last number and tag."""
        core = self._core
        sequence, tag = self._root.journal.sequence, self._root.journal.tag
        if self._journals is not None:
            sequence, tag = self._journals.sequence, self._journals.tag
        core.journal = Journal(core.objects, number, sequence, tag, core.settings)

    def _purge_orphans(self) -> None:
        """Files that were unlinked while open when the vault ended go now."""
        state = self._core.state
        try:
            orphans = resolve(lambda: state.directory(ORPHANS_ID))
        except Damaged as error:
            log.warning("the deleted files that were open cannot be found: %s", error)
            return
        for name, inode_id in list(orphans.listing()):
            try:
                # An id says nothing of where the inode is: its name brings it into memory.
                resolve(lambda name=name: state.child(orphans, name))  # type: ignore[misc]
                resolve(lambda inode_id=inode_id: apply(state, Purge(inode_id)))  # type: ignore[misc]
            except Damaged as error:
                log.warning("a deleted file's remains stay behind: %s", error)

    def _sync_kept(self) -> None:
        """Make what replayed records name durable: a process that died, and no power cut, left it in memory."""
        store = self._core.objects.store
        for name in self._kept:
            with contextlib.suppress(FileNotFoundError):
                file = store.open(object_path(name), write=True)
                try:
                    file.sync()
                finally:
                    file.close()
        for folder in sorted({object_folder(name) for name in self._kept}):
            store.sync_folder(folder)

    def _commit(self) -> None:
        core = self._core
        self._sync_kept()
        if self._journals is not None and core.space.is_scarce:
            # Only what no record names: should this opening fail, the next may find content that arrived meanwhile.
            self._delete_strays(self._journals, self._kept | named_objects(self._journals.records))
            cut_free_ends(core.objects, self._journals)
        try:
            core.rotate_journal()
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                raise
            raise NoSpace(f"there is no room for a new journal: {_MAKE_ROOM}") from error
        if core.state.active.empty:
            clean_end(core, self._checkpointer)
        elif not self._checkpointer.run(clean=True, last=True):
            if core.full:
                raise NoSpace(f"there is no room to write what was recovered: {_MAKE_ROOM}")
            reason = core.read_only_reason or "the recovered state could not be written"
            raise WriteFailed(f"{reason}; {_READ_AS_IT_IS}")
        if self._journals is not None:
            self._delete_strays(self._journals, self._kept)
        core.journal.remove_all()

    def _delete_strays(self, journals: JournalRecords, kept: set[bytes]) -> None:
        core = self._core
        strays = delete_strays(core.objects, journals.headers, kept, core.settings.recovery_name_gap)
        if strays:
            log.info("deleted %d objects of unfinished changes", strays)


def clean_end(core: Core, checkpointer: Checkpointer, failure: str = "a clean root could not be written") -> None:
    """Write a root that needs no journal; everything must be committed.

    Raises WriteFailed, with `failure` for a reason, or ReadOnly because of others.
    """
    core.refuse_others()
    latest = core.roots.latest
    assert latest is not None
    root = latest.root._replace(
        generation=latest.root.generation + 1,
        clean=True,
        epoch=core.header_epoch,
        time=core.now(),
        journal=latest.root.journal._replace(sequence=core.journal.sequence, tag=core.journal.tag),
        let_go=(),
        history=latest.next_history(),
    )
    core.commit_root(root, failure)
    core.objects.generation = root.generation + 1
    checkpointer.remember()


def settle_core(core: Core, checkpointer: Checkpointer) -> bool:
    """Write a clean root while the vault stays open; False if a checkpoint has to come first.

    Raises ReadOnly if the vault turned that way or others changed it, WriteFailed if it turns that way now.
    """
    if core.read_only_reason:
        raise ReadOnly(core.read_only_reason)
    if checkpointer.running or core.state.has_changes:
        return False
    latest = core.roots.latest
    assert latest is not None
    if not latest.root.clean:
        try:
            clean_end(core, checkpointer)
            core.journal.remove_all()
        except OSError as error:
            raise core.fail("old journals could not be deleted", error) from error
    return True


def _write_held(core: Core) -> None:
    """Have every change in the journal at least; raises WriteFailed."""
    try:
        core.write_out()
    except NoSpace as error:
        raise WriteFailed("the very last changes are lost: the store had no room left even for its journal") from error


def close_core(core: Core, checkpointer: Checkpointer) -> None:
    """Commit everything and leave the vault clean; a vault turned read-only is left to recovery.

    Raises WriteFailed if what was accepted could not be committed; it is in the journal then, or the error says why
    not. Raises ReadOnly if others changed the store: it is left as they made it.
    """
    try:
        latest = core.roots.latest
        assert latest is not None
        # Even of an idle vault the keys may have been changed meanwhile: the root must know the new header's epoch.
        if core.read_only_reason:
            with contextlib.suppress(OSError, NoSpace):  # it said so when it turned read-only
                core.journal.write_held()
            return
        if latest.root.clean and not core.roots.header_is_newer():
            return
        while core.state.has_changes:
            # The first one that finds the store full releases the ballast, and the next has that room.
            if not checkpointer.run(last=True) and (core.full or core.read_only_reason or checkpointer.running):
                _write_held(core)
                raise WriteFailed(core.read_only_reason or _ONLY_IN_JOURNAL)
        failure = "the vault could not be closed cleanly"
        try:
            clean_end(core, checkpointer, failure)
            core.journal.remove_all()
        except OSError as error:
            raise core.fail(failure, error) from error
    finally:
        # What is unsynced would be forgotten: a checkpoint that somebody left running must not commit it like that.
        if not checkpointer.running:
            core.objects.handles.close()
