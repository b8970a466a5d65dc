"""fsync: makes directly written slots durable, marks them so in the journal, then makes the journal durable."""

from vaultfs.format.layout import object_folder
from vaultfs.sealing.records import Synced
from vaultfs.vault.content import FileContent
from vaultfs.vault.core import Core
from vaultfs.vault.journal import Flush
from vaultfs.vault.segment import Segment


class SyncPlan:
    """One fsync. In order: `flush_content` (worker), `mark` (owner), `flush_journal` (worker), `done` (owner).

    Each step raises WriteFailed if the store fails; the vault is read-only then. Files that were renamed over
    others, or with a directory, are synced along: their content must not come later than the new name.
    """

    def __init__(self, core: Core, inode_id: int | None) -> None:
        self._core = core
        self._through = core.journal.sequence
        self._flush: Flush | None = None
        contents = dict(core.replacements)
        if core.journal.is_idle:
            contents = {}  # a clean root has everything
        elif inode_id is None:
            contents |= {key: content for key, content in core.state.contents.items() if content.unsynced}
        elif inode_id in core.state.contents:
            contents[inode_id] = core.state.contents[inode_id]
        # They stay unsynced until `mark`: a sync that begins meanwhile must not answer before they are durable.
        self._taken: list[tuple[FileContent, list[Segment]]] = [
            (content, list(content.unsynced)) for content in contents.values() if content.unsynced
        ]

    @property
    def needed(self) -> bool:
        """Whether there is anything to sync at all."""
        return bool(self._taken) or self._core.journal.flush().needed

    @property
    def has_content(self) -> bool:
        """Whether `flush_content` has anything to do."""
        return bool(self._taken)

    def flush_content(self) -> None:
        """Sync the segments, then the folders of those that are new. Any thread."""
        if not self._taken:
            return
        segments = [segment for _, taken in self._taken for segment in taken]
        handles = self._core.objects.handles
        try:
            handles.sync([segment.path for segment in segments])
            handles.sync_folders({object_folder(segment.name) for segment in segments})
        except OSError as error:
            raise self._core.fail("written content could not be synced", error) from error

    def mark(self) -> None:
        """Note in the journal what is durable now, and plan the journal's own sync. Owner thread."""
        for content, _ in self._taken:
            try:
                self._core.journal.append(Synced(content.id, self._through))
            except OSError as error:
                raise self._core.fail("the journal could not be written", error) from error
            content.settle(self._through)
        self._core.replacements = {
            key: content for key, content in self._core.replacements.items() if content.unsynced
        }
        self._flush = self._core.journal.flush()

    @property
    def journal_size(self) -> int:
        """The bytes `flush_journal` makes durable."""
        assert self._flush is not None
        return self._flush.size

    def flush_journal(self) -> None:
        """Sync the journal. Any thread."""
        assert self._flush is not None
        try:
            self._flush.run()
        except OSError as error:
            raise self._core.fail("the journal could not be synced", error) from error

    def done(self) -> None:
        """Note that all this is durable. Owner thread."""
        assert self._flush is not None
        self._core.journal.flushed(self._flush)

    def run(self) -> None:
        """All steps, for callers with one thread."""
        if not self.needed:
            return
        self.flush_content()
        self.mark()
        self.flush_journal()
        self.done()
