"""The live journals: appends records, makes them durable, and starts a new file when a checkpoint freezes an epoch.

At most two epochs' journals live at once. After a failed append a file is abandoned for a new one chained to the
last whole record, so no two records are ever sealed for one place. Records may be held back to be appended together:
sealed and written one after the other, while both are fresh in the processor's caches, they take a third of the time.
"""

import threading
from collections.abc import Iterator

from vaultfs.errors import NoSpace
from vaultfs.format.constants import JOURNAL_HEADER_SIZE
from vaultfs.format.layout import JOURNAL_FOLDER, journal_path
from vaultfs.sealing.journal import (
    JournalHeader,
    RecordCipher,
    new_journal_header,
    seal_journal_header,
)
from vaultfs.sealing.records import Record, SetAttributes, encode_record
from vaultfs.sealing.roots import JournalStart
from vaultfs.store.api import StoreFile
from vaultfs.store.syncguard import SyncGuard
from vaultfs.vault.objects import Objects
from vaultfs.vault.settings import Settings
from vaultfs.vault.space import OUT_OF_SPACE

# How much may be held: records, and bytes in them.
_MOST_HELD = 64
_MOST_HELD_BYTES = 64 << 10


class JournalFile:
    """One journal file that is open for appending: `end` is where the next record goes, `keys` what it is under.

    Up to `room` bytes it was made ready for records; up to `synced_room` that is durable.
    """

    __slots__ = ("_guard", "cipher", "end", "file", "header", "keys", "path", "room", "synced_end", "synced_room")

    def __init__(self, objects: Objects, header: JournalHeader, file: StoreFile, room: int) -> None:
        self.header = header
        self.file = file
        self.path = journal_path(header.number)
        self.cipher = RecordCipher(objects.context, header)
        self.keys = objects.context.keys
        self.room = self.synced_room = room
        self.end = JOURNAL_HEADER_SIZE
        self.synced_end = JOURNAL_HEADER_SIZE
        self._guard = SyncGuard(self.path)

    def sync(self) -> None:
        """Make what was written durable; once that failed, it fails every time. Any thread; raises OSError."""
        self._guard.run(self.file.sync)


class Flush:
    """One sync of all live journals: `run` in any thread, then `Journal.flushed`."""

    __slots__ = ("_files", "through")

    def __init__(self, files: list[tuple[JournalFile, int]], through: int) -> None:
        self._files = files
        self.through = through

    @property
    def needed(self) -> bool:
        """Whether there is anything to sync."""
        return bool(self._files)

    @property
    def size(self) -> int:
        """The bytes to make durable."""
        return sum(end - journal.synced_end + journal.room - journal.synced_room for journal, end in self._files)

    def run(self) -> None:
        """Sync, oldest file first, so that no record is durable before the ones it is chained to. Raises OSError."""
        for journal, end in self._files:
            room = journal.room
            journal.sync()
            journal.synced_room = min(room, journal.room)  # its free end may have been cut off meanwhile
            journal.synced_end = max(journal.synced_end, end)


def _no_space(error: OSError) -> NoSpace | OSError:
    """NoSpace for a full store's error, any other error as it is."""
    if error.errno in OUT_OF_SPACE:
        return NoSpace("the store has no room for the journal")
    return error


class Journal:
    """`sequence` is the last record's, held ones included; `tag` is that of the last one written.

    `synced` is the last sequence known to be durable. `size` is the bytes of records in the live files.
    """

    def __init__(self, objects: Objects, number: int, sequence: int, tag: bytes, settings: Settings) -> None:
        self._objects = objects
        self._settings = settings
        self._next_number = number
        self._spare: JournalFile | None = None
        self._recyclable: list[str] = []
        self._abandoned = False
        # Held records as (type, body): one that cannot be encoded has to be refused before anything changes.
        self._held: list[tuple[int, bytes]] = []
        self._held_bytes = 0
        # The inode whose attributes the last record held sets, or 0.
        self._held_attributes = 0
        self._preparing = threading.Lock()
        self._live: list[JournalFile] = []
        self.size = 0
        self.sequence = sequence
        self.tag = tag
        self.synced = sequence

    @property
    def active(self) -> JournalFile:
        """The file records go to."""
        return self._live[-1]

    @property
    def is_idle(self) -> bool:
        """Whether there is no file to append to yet."""
        return not self._live

    @property
    def is_abandoned(self) -> bool:
        """Whether the last append failed, so that the next one needs a new file."""
        return self._abandoned

    def start(self) -> JournalStart:
        """What a root that contains everything up to now says of the journal that follows it; nothing may be held."""
        assert not self._held
        header = self.active.header
        return JournalStart(header.number, header.salt, self.sequence, self.tag)

    def append(self, record: Record) -> None:
        """Append a record, after those held; raises OSError, or NoSpace, and then this one was not appended."""
        encoded = encode_record(record)
        self.write_held()
        self._write([encoded])
        self.sequence += 1

    @property
    def is_full(self) -> bool:
        """Whether what is held has to be written before anything else may be held."""
        return len(self._held) >= _MOST_HELD or self._held_bytes >= _MOST_HELD_BYTES

    def hold(self, record: Record) -> None:
        """Have a record appended by the next `write_held`; until then it is nowhere in the store."""
        encoded = encode_record(record)
        attributes = record.inode if isinstance(record, SetAttributes) else 0
        if attributes and attributes == self._held_attributes:
            # It says all of the attributes: nobody can tell whether those in between were ever written.
            self._held[-1] = encoded
            return
        self._held_attributes = attributes
        self._held_bytes += len(encoded[1])
        self._held.append(encoded)
        self.sequence += 1

    def write_held(self) -> None:
        """Append all that is held, in order; raises OSError, or NoSpace, and then it stays held."""
        if self._held:
            self._write(self._held)
            self._forget_held()

    def _forget_held(self) -> None:
        self._held = []
        self._held_bytes = self._held_attributes = 0

    def _write(self, records: list[tuple[int, bytes]]) -> None:
        if self._abandoned:
            self._replace_abandoned()
        journal = self._live[-1]
        end, sequence, tag = journal.end, self._written, self.tag
        parts: list[bytes] = []
        for kind, body in records:
            sequence += 1
            stored, tag = journal.cipher.seal(end, sequence, self.synced, tag, kind, body)
            parts.append(stored)
            end += len(stored)
        try:
            if end > journal.room:
                self._grow(journal, end)
            journal.file.write(parts, journal.end)
        except OSError as error:
            self._abandoned = True
            raise _no_space(error) from error
        self.size += end - journal.end
        journal.end = end
        self.tag = tag

    @property
    def _written(self) -> int:
        """The sequence of the last record written."""
        return self.sequence - len(self._held)

    def _replace_abandoned(self) -> None:
        try:
            self._next_file()
        except OSError as error:
            raise _no_space(error) from error

    def _grow(self, journal: JournalFile, end: int) -> None:
        """Make room for records up to `end` and as many again as there are, but not without limit; raises OSError.

        Past the preallocation only while records are synced as they come: to append would cost each sync a commit of
        the file system's own journal, which doubles its time. Records that nobody syncs are appended as quickly.
        """
        step, most = self._settings.journal_step, self._settings.journal_preallocation
        taken = max(journal.room, journal.end)
        room = max(taken + min(taken, step), end)
        if not most or journal.end - journal.synced_end > step:
            room = min(room, most)
        if room < end:
            return
        self._make_room(journal.file, room)
        journal.room = room

    def prepare(self) -> None:
        """Have the next file ready and durable, from a recycled one if there is one. Any thread; raises OSError."""
        self._have_spare(self._settings.journal_preallocation)

    def _have_spare(self, room: int) -> None:
        with self._preparing:
            if self._spare is None:
                self._spare = self._prepare(room)

    def _prepare(self, room: int) -> JournalFile:
        store = self._objects.store
        header = new_journal_header(self._next_number, self._objects.generation)
        path = journal_path(header.number)
        if self._recyclable:
            store.rename(self._recyclable.pop(), path)
            file = store.open(path, write=True)
        else:
            file = store.create(path)
        try:
            # The first record of the file's former life goes with the old header.
            file.write([seal_journal_header(self._objects.context, header), bytes(64)], 0)
            self._make_room(file, room)
            file.sync()
            store.sync_folder(JOURNAL_FOLDER)
        except OSError:
            # Its name is needed for the next attempt.
            store.delete(path)
            raise
        self._next_number += 1
        return JournalFile(self._objects, header, file, room)

    def _make_room(self, file: StoreFile, room: int) -> None:
        """Make a file `room` bytes long; what is left of an almost full store is for records that are needed.

        Where there is less room than the store says (a quota, or journals in another place), none is made.
        """
        try:
            available = self._objects.store.space().available
        except OSError:
            return  # a record needs no room made for it, and its own write tells whether the store fails
        if available >= 4 * (room - file.size()):
            try:
                file.allocate(room)
            except OSError as error:
                if error.errno not in OUT_OF_SPACE:
                    raise

    def rotate(self) -> None:
        """Append to the next file from now on; raises OSError if none was ready and none can be made.

        Nothing may be held: what goes to which file decides what a checkpoint has to contain.
        """
        assert not self._held
        self._next_file()

    def _next_file(self) -> None:
        if self._spare is None:
            self._have_spare(min(self._settings.journal_room, self._settings.journal_preallocation))
        assert self._spare is not None
        spare, self._spare = self._spare, None
        self._live.append(spare)
        self.size += spare.end
        self._abandoned = False
        self._objects.names.use(self.active.header.secret)

    def cut_free_ends(self) -> bool:
        """Give up the room that is kept for records and files to come; False if there was none. Raises OSError."""
        with self._preparing:
            files = self._live + ([self._spare] if self._spare is not None else [])
            recyclable, self._recyclable = self._recyclable, []
        for path in recyclable:
            self._objects.store.delete(path)
        free = [journal for journal in files if journal.file.size() > journal.end]
        for journal in free:
            journal.file.truncate(journal.end)
            journal.room = journal.synced_room = journal.end
        return bool(recyclable or free)

    def flush(self) -> Flush:
        """A sync of everything appended so far; what is held is not."""
        files = [(journal, journal.end) for journal in self._live if journal.synced_end < journal.end]
        return Flush(files, self._written)

    def flushed(self, flush: Flush) -> None:
        """Note that a flush succeeded."""
        self.synced = max(self.synced, flush.through)

    def committed(self, start: JournalStart) -> list[JournalFile]:
        """Take out the files a durable root no longer needs."""
        self.synced = max(self.synced, start.sequence)
        done = [journal for journal in self._live if journal.header.number < start.number]
        self._live = self._live[len(done) :]
        self.size -= sum(journal.end for journal in done)
        return done

    def recycle(self, done: list[JournalFile]) -> None:
        """Keep one file for the next round and delete the others. Any thread; raises OSError."""
        # An fsync may still be syncing one of these files, so none is closed here: its last reference does that.
        for journal in done:
            # What a file from before a change of the master key holds must not lie about until it is used again.
            if self._recyclable or journal.keys is not self._objects.context.keys:
                self._objects.store.delete(journal.path)
            else:
                self._recyclable.append(journal.path)

    def change_keys(self) -> None:
        """Have the next file made anew: nothing more is to be sealed under the keys of before. Raises OSError."""
        with self._preparing:
            spare, self._spare = self._spare, None
            recyclable, self._recyclable = self._recyclable, []
        for path in recyclable + ([spare.path] if spare is not None else []):
            self._objects.store.delete(path)

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """(number, bytes) of the live files that have records, up to the last one written; raises OSError."""
        for journal in self._live:
            if journal.end > JOURNAL_HEADER_SIZE:
                yield journal.header.number, journal.file.read(journal.end, 0)

    def remove_all(self) -> None:
        """Delete every journal file; only once a clean root is durable. Raises OSError."""
        # The root holds every change. All that can be left is where an inode is, for a change that found no room.
        self._forget_held()
        spare = [self._spare] if self._spare is not None else []
        for journal in self._live + spare:
            journal.file.close()
            self._objects.store.delete(journal.path)
        for path in self._recyclable:
            self._objects.store.delete(path)
        self._live, self._spare, self._recyclable, self.size = [], None, [], 0
