"""What every changing operation goes through: limits, room, the journal, then the state."""

import logging
import sys
import time
from collections.abc import Callable
from functools import partial

from vaultfs.errors import NoSpace, ReadOnly, WriteFailed
from vaultfs.sealing.records import Create, Link, Locate, Record, Rename, SetAttributes, Synced, Unlink, Write
from vaultfs.sealing.roots import Root
from vaultfs.vault.apply import apply
from vaultfs.vault.content import FileContent
from vaultfs.vault.inode import Inode
from vaultfs.vault.journal import Journal
from vaultfs.vault.objects import Objects
from vaultfs.vault.quarantine import keep_journals
from vaultfs.vault.roots import ChangedByOthers, RootSlots
from vaultfs.vault.scratch import Scratch
from vaultfs.vault.settings import Settings
from vaultfs.vault.space import OUT_OF_SPACE, SpaceKeeper
from vaultfs.vault.state import TOP_IDS, State
from vaultfs.vault.waits import NeedCheckpoint, NotReady, resolve

log = logging.getLogger("vaultfs.vault")

# The clock by which Linux stamps files: it moves on with each of the kernel's ticks (clock_gettime(2)). Python has no
# name for it.
_CLOCK_REALTIME_COARSE = 5
# What may wait in memory for milliseconds. Not what makes the change before it good, for programs that take that for
# done although they do not sync it: SQLite ends a transaction by deleting its journal, others by a rename.
_PATIENT = (Create, Locate, SetAttributes, Write)


class Core:
    """The parts of an open vault, and the one way to change it.

    `read_only_reason` is empty while the vault may be written to.
    """

    def __init__(
        self, objects: Objects, settings: Settings, state: State, roots: RootSlots, journal: Journal, reason: str
    ) -> None:
        self.objects = objects
        self.settings = settings
        self.state = state
        self.roots = roots
        self.journal = journal
        self.space = SpaceKeeper(objects.store, settings, state)
        self.read_only_reason = reason
        self.header_epoch = 0
        # Set where opening left changes out, because the journal they are in, or what they change, is broken.
        self.lacks_changes = False
        # Set once anything could not be written or synced: no later sync may claim that it was.
        self.write_failed = False
        # Set while the last checkpoint failed for want of room.
        self.full = False
        # Set by who promises to call `write_out` soon after any change: records may then wait for one another.
        self.may_hold = False
        # What is sealed in it has to be written at once.
        self.scratch = Scratch()
        # Files renamed over others, or in a directory that was renamed, whose own content is not durable yet.
        self.replacements: dict[int, FileContent] = {}

    @staticmethod
    def now() -> int:
        """The time a change is stamped with, ns since the epoch.

        It is what the kernel would stamp it with, where there is one that keeps times: a file that is made and written
        within a tick then has the time the kernel wants it to have, and needs no request that says so.
        """
        return time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) if sys.platform == "linux" else time.time_ns()

    def admit(self, size: int) -> None:
        """Let a change begin that may add `size` bytes; raises ReadOnly, NoSpace or NeedCheckpoint before any.

        What waits for a checkpoint takes room twice, in the journal and in what is reserved for the worst that the
        checkpoint may write. With a lot of room left the store is not full: it is there again after a checkpoint.
        """
        self.admit_removal()
        try:
            self.space.require(size)
        except NoSpace:
            if self.full or not self.state.has_changes or not self.space.has_margin:
                raise
            raise NeedCheckpoint from None

    def admit_removal(self) -> None:
        """Let a change begin that makes room; raises ReadOnly or NeedCheckpoint before any."""
        if self.read_only_reason:
            raise ReadOnly(self.read_only_reason)
        if self.over_limit():
            if self.full:
                raise NoSpace("the store has no room to write what already waits")
            raise NeedCheckpoint
        latest = self.roots.latest
        assert latest is not None
        if latest.root.clean:
            self._start_writing()

    def over_limit(self) -> bool:
        """Whether writers have to wait for a checkpoint."""
        settings, active = self.settings, self.state.active
        return (
            active.overlay_bytes > settings.overlay_hard
            or active.direct_bytes > settings.direct_hard
            or len(active.inodes) > settings.inodes_hard
            or self.journal.size > settings.journal_hard
            or self.objects.handles.unsynced_count > settings.unsynced_hard
        )

    def commit(self, record: Record) -> None:
        """Append a record, then apply it. Raises NoSpace or WriteFailed, and then nothing changed."""
        for inode_id in _inodes_of(record):
            if inode_id not in self.state.located:
                self._locate(inode_id)
        self._append(record)
        try:
            self._apply(record)
        except BaseException as error:
            # Memory may have half of the record, the journal has all: no checkpoint may put what is in memory in its
            # place.
            self.stop_unforeseen("a change could not be applied", error)
            if not isinstance(error, Exception):
                raise
            raise WriteFailed(self.read_only_reason) from error
        if isinstance(record, Create):
            # Recovery meets it in this very record.
            self.state.located.add(self.state.next_id - 1)

    def _apply(self, record: Record) -> None:
        try:
            apply(self.state, record)
        except NotReady:
            # The record is in the journal: whatever the operation forgot to have in memory is loaded here and now.
            resolve(lambda: apply(self.state, record))

    def _locate(self, inode_id: int) -> None:
        """Have the journal say where an inode's entry is, and its directories' entries, once per epoch."""
        located = self.state.located
        path: list[Inode] = []
        while inode_id not in located:
            path.append(self.state.inode(inode_id))
            inode_id = path[-1].parent
        for inode in reversed(path):
            self._append(Locate(inode.id, inode.parent, inode.name))
            located.add(inode.id)

    def _append(self, record: Record) -> None:
        # On a store that is almost full, whoever asks for a change has to hear at once that it finds no room.
        if self.may_hold and isinstance(record, _PATIENT) and self.space.is_ample:
            if self.journal.is_full:
                self.write_out()
            self.journal.hold(record)
        else:
            self._write(partial(self.journal.append, record))

    def write_out(self) -> None:
        """Have every change in the journal's file; raises NoSpace or WriteFailed, and then some are only in memory."""
        if self.write_failed and self.journal.is_abandoned:
            # A failing disk can take long to say so, and this is called again and again; `close_core` tries once more.
            raise WriteFailed(self.read_only_reason)
        self._write(self.journal.write_held)

    def _write(self, writing: Callable[[], None]) -> None:
        try:
            writing()
        except NoSpace:
            # Once more with the ballast gone, which is what lets deletes work on a full disk.
            if not self.make_room():
                raise NoSpace("the store has no room for the journal") from None
            try:
                writing()
            except OSError as error:
                raise self.fail("the journal could not be written", error) from error
        except OSError as error:
            raise self.fail("the journal could not be written", error) from error

    def make_room(self) -> bool:
        """Give up what is kept for a full store: the ballast, then the journals' free ends; False if nothing is."""
        try:
            return self.space.release_ballast() or self.journal.cut_free_ends()
        except OSError as error:
            log.warning("room kept for a full store could not be given up: %s", error)
            return False

    def rotate_journal(self) -> None:
        """Go on in a new journal file, made in what `make_room` gives if there is no other room; raises OSError.

        What is held goes to the old one; raises NoSpace or WriteFailed if it cannot.
        """
        self.write_out()
        try:
            self.journal.rotate()
        except OSError as error:
            if error.errno not in OUT_OF_SPACE or not self.make_room():
                raise
            self.journal.rotate()

    def fail(self, what: str, error: OSError) -> WriteFailed | NoSpace:
        """The error to raise for a failed write; unless the disk is only full, the vault turns read-only."""
        if error.errno in OUT_OF_SPACE:
            return NoSpace("the store has no room left")
        sentence = f"{what}: {error.strerror or error}"
        self.stop_writing(sentence)
        return WriteFailed(sentence)

    def refuse_others(self) -> None:
        """Turn read-only if the roots in the store are not those this vault goes on from; raises ReadOnly then."""
        try:
            self.roots.refuse_others()
        except ChangedByOthers as others:
            self.give_way(others)
            raise ReadOnly(self.read_only_reason) from others
        except OSError as error:
            raise self.fail("the roots could not be read", error) from error

    def give_way(self, others: ChangedByOthers) -> None:
        """Turn read-only, and keep what only the journal here has: whoever opens the store next goes on from theirs."""
        self.stop_writing(str(others))
        try:
            kept = self._keep_journals()
        except OSError as error:
            log.error("the last changes could not be kept: %s", error)
            return
        if kept:
            log.warning("the last changes are kept in %s: `vaultfs export --salvage` gets them out", ", ".join(kept))

    def _keep_journals(self) -> list[str]:
        try:
            return keep_journals(self.objects.store, self.journal.contents())
        except OSError as error:
            if error.errno not in OUT_OF_SPACE or not self.make_room():
                raise
            return self._keep_journals()

    def stop_writing(self, sentence: str) -> None:
        """Turn read-only: nothing is thrown away, and no later sync may claim that what waits is durable."""
        self.write_failed = True
        if not self.read_only_reason:
            self.read_only_reason = f"the vault turned read-only because {sentence}"
            log.error("%s; nothing is thrown away, but nothing can be changed until it is mounted again", sentence)

    def stop_unforeseen(self, what: str, error: BaseException) -> None:
        """Turn read-only after an error nobody foresaw (out of memory, or a mistake); the log has its traceback."""
        log.error("%s", what, exc_info=error)
        self.stop_writing(f"{what}: {type(error).__name__}")

    def _start_writing(self) -> None:
        """A root that needs its journal goes out before the first record does."""
        latest = self.roots.latest
        assert latest is not None
        self.refuse_others()
        # The chain of records begins here: what an earlier one said of places, for a change that was refused, is gone.
        self.state.located = set(TOP_IDS)
        try:
            if self.journal.is_idle:
                self.rotate_journal()
        except OSError as error:
            raise self.fail("a journal could not be made", error) from error
        root = latest.root._replace(
            generation=latest.root.generation + 1,
            clean=False,
            epoch=self.header_epoch,
            journal=self.journal.start(),
            let_go=(),
            history=latest.next_history(),
        )
        self.commit_root(root)
        self.objects.generation = root.generation + 1

    def commit_root(self, root: Root, failure: str = "a new root could not be written") -> None:
        """Write a root; or turn read-only, even for want of room, and raise WriteFailed for the reason `failure`."""
        try:
            self.roots.commit(root)
        except OSError as error:
            # One slot may be written and the other not: going on would leave a clean root that knows no journal.
            self.stop_writing(f"{failure}: {error.strerror or error}")
            raise WriteFailed(self.read_only_reason) from error


def _inodes_of(record: Record) -> tuple[int, ...]:
    """The inodes a record knows by their ids only."""
    match record:
        case Create() | Unlink():
            return (record.parent,)
        case Rename():
            return record.parent, record.new_parent
        case Link():
            return record.inode, record.parent
        case Synced() | Locate():
            return ()
        case _:
            return (record.inode,)
