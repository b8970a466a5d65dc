"""Decides when to checkpoint, and carries one through: begin, run, finish, clean up, or try again."""

import logging

from vaultfs.errors import Damaged, NoSpace, WriteFailed
from vaultfs.sealing.roots import JournalStart
from vaultfs.vault.checkpoint import Checkpoint, Plan, make_plan
from vaultfs.vault.core import Core
from vaultfs.vault.journal import JournalFile
from vaultfs.vault.memory import GenerationMemory, Seen
from vaultfs.vault.roots import ChangedByOthers
from vaultfs.vault.space import OUT_OF_SPACE
from vaultfs.vault.waits import resolve

log = logging.getLogger("vaultfs.vault")


class CheckpointJob:
    """One attempt: `run` in a worker, `finish` on the owner thread, `clean_up` in a worker. None of them raises."""

    def __init__(self, checkpointer: "Checkpointer", checkpoint: Checkpoint) -> None:
        self._checkpointer = checkpointer
        self._core = checkpointer.core
        self._checkpoint = checkpoint
        self._error: Exception | None = None
        self._root_begun = False
        self._done: list[JournalFile] = []

    def run(self) -> None:
        """Write everything, then the root."""
        core = self._core
        try:
            # Folders are written on behind what they have, which would be over what somebody else put there.
            core.roots.refuse_others()
            root = self._checkpoint.write(core.now())
            core.roots.refuse_others()
            self._root_begun = True
            core.roots.commit(root)
            self._checkpointer.remember()
        except Exception as error:
            self._error = error

    def finish(self) -> bool:
        """Merge the result, or keep everything for another attempt; True if the checkpoint is durable and merged."""
        try:
            if self._error is None:
                self._take_over()
                return True
            self._failed(self._error)
        except Exception as error:
            # What is durable stays so, and memory reads the same wherever this stopped; nothing more is written.
            self._checkpointer.stop("a checkpoint could not be ended", error)
        return False

    def _take_over(self) -> None:
        core = self._core
        try:
            self._checkpoint.merge()
        except OSError as error:
            core.fail("a free end could not be cut off", error)
        core.full = False
        core.objects.generation += 1
        self._done = core.journal.committed(self._checkpoint.plan.start)
        self._checkpointer.plan = None

    def _failed(self, error: Exception) -> None:
        core = self._core
        self._checkpointer.running = False
        if not isinstance(error, (OSError, Damaged, ChangedByOthers)):
            # What is in the journal is safe, and nobody may wait for ever.
            core.stop_unforeseen("a checkpoint failed", error)
        if self._root_begun:
            # One slot may hold the new root already: what it reaches must stay, and so must what the old one does.
            core.stop_writing(f"a new root could not be written: {error}")
            return
        self._checkpoint.undo()
        if isinstance(error, OSError) and error.errno in OUT_OF_SPACE:
            core.full = not core.make_room()
            log.warning("a checkpoint found the store full; it is kept in memory and the journal, and tried again")
        elif isinstance(error, OSError):
            core.fail("a checkpoint could not be written", error)
        elif isinstance(error, Damaged):
            core.stop_writing(str(error))
        elif isinstance(error, ChangedByOthers):
            core.give_way(error)

    def clean_up(self, last: bool = False) -> None:
        """Free what was let go and, unless this is the `last` one, have the next journal ready.

        Failures here lose nothing.
        """
        core = self._core
        try:
            self._checkpoint.clean_up()
            core.journal.recycle(self._done)
            if not last:
                core.journal.prepare()
            core.space.keep_ballast()
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                log.warning("cleaning up after a checkpoint failed: %s", error)
        finally:
            self._checkpointer.running = False


class Checkpointer:
    """At most one checkpoint runs at a time; a failed one keeps its frozen epoch and is tried again."""

    def __init__(self, core: Core, memory: GenerationMemory | None) -> None:
        self.core = core
        self._memory = memory
        self.plan: Plan | None = None
        self._start: JournalStart | None = None
        self.running = False
        # When the oldest change that waits was first seen, by time.monotonic().
        self._waiting_since: float | None = None

    def wanted(self, now: float) -> bool:
        """Whether a checkpoint is due at `now`, a time.monotonic() value in seconds."""
        core = self.core
        if self.running or core.read_only_reason:
            return False
        settings, active = core.settings, core.state.active
        if not core.state.has_changes:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        return (
            now - self._waiting_since >= settings.checkpoint_age
            or active.overlay_bytes > settings.overlay_soft
            or active.direct_bytes > settings.direct_soft
            or len(active.inodes) > settings.inodes_soft
            or core.journal.size > settings.journal_soft
            or core.objects.handles.unsynced_count > settings.unsynced_soft
        )

    def begin(self, clean: bool = False) -> CheckpointJob | None:
        """Freeze the active epoch and return the job that commits it; None if there is nothing to do.

        `clean` promises that nothing is appended to the journal before the job is finished.
        """
        if self.running or self.core.read_only_reason:
            return None
        try:
            return self._begin(clean)
        except Exception as error:
            # An epoch that is frozen in part must never be committed: the journal has all of it.
            self.stop("a checkpoint could not begin", error)
            return None

    def _begin(self, clean: bool) -> CheckpointJob | None:
        core = self.core
        if core.state.frozen is None and not self._freeze():
            return None
        if self.plan is None and not self._make_plan():
            return None
        assert self.plan is not None
        latest = core.roots.latest
        assert latest is not None
        job = CheckpointJob(self, Checkpoint(core.state, self.plan, latest, core.header_epoch, clean))
        self._waiting_since = None
        self.running = True
        return job

    def stop(self, what: str, error: Exception) -> None:
        """Let no other checkpoint begin, after an error nobody foresaw."""
        self.core.stop_unforeseen(what, error)
        self.running = False

    def _freeze(self) -> bool:
        """Begin a new epoch, with its own journal; False if there is nothing to commit, or no room for that."""
        core = self.core
        if core.state.active.empty:
            return False
        core.objects.names.freeze()
        try:
            core.rotate_journal()
        except WriteFailed:
            return False
        except (OSError, NoSpace) as error:
            self._no_journal(error)
            return False
        self._start = core.journal.start()
        core.state.freeze()
        return True

    def _make_plan(self) -> bool:
        """Gather what the frozen epoch changed; False if a directory above it cannot be read any more."""
        core = self.core
        frozen = core.state.frozen
        assert frozen is not None and self._start is not None
        start = self._start
        try:
            self.plan = resolve(lambda: make_plan(core.state, frozen, start))
        except Damaged as error:
            core.stop_writing(str(error))
            return False
        return True

    def _no_journal(self, error: OSError | NoSpace) -> None:
        core = self.core
        if isinstance(error, NoSpace) or error.errno in OUT_OF_SPACE:
            core.full = True
        else:
            core.fail("a new journal could not be made", error)

    def run(self, clean: bool = False, last: bool = False) -> bool:
        """A whole checkpoint, for callers with one thread; True if everything is durable now.

        `clean` is as in `begin`; after the `last` one no journal is needed.
        """
        core = self.core
        # An attempt that finds no room gives up for the next what is kept for that.
        while not self._attempt(clean, last):
            if core.full or core.read_only_reason or self.running:
                return False
        return True

    def _attempt(self, clean: bool, last: bool) -> bool:
        job = self.begin(clean)
        if job is None:
            return not self.core.state.has_changes
        job.run()
        finished = job.finish()
        if finished:
            job.clean_up(last)
        return finished

    def remember(self) -> None:
        """Note the durable root outside the store; without that only rollback protection suffers. Any thread."""
        latest = self.core.roots.latest
        if self._memory is None or latest is None:
            return
        try:
            self._memory.save(Seen(latest.root.generation, latest.tag, latest.root.history))
        except OSError as error:
            log.warning("the vault's last generation could not be remembered: %s", error)

