"""A checkpoint: writes what one frozen epoch changed, bottom-up, and commits it with a new root.

`run` is for a worker thread and writes only what no root and no record names yet; `finish` is for the owner thread
and merges the result; `clean_up` is for a worker again and frees what was let go.
"""

import logging
from functools import partial
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import ORPHANS_ID, ROOT_ID, SHARED_ID
from vaultfs.format.layout import object_path
from vaultfs.sealing.entries import Pointer, encode_entry, encode_pointer
from vaultfs.sealing.renewal import renew_section
from vaultfs.sealing.roots import JournalStart, Root, SealedRoot
from vaultfs.vault.commit_content import ContentWriter, purged_objects, section_objects
from vaultfs.vault.commit_directories import DirectoryCommit, DirectoryWriter, directory_objects
from vaultfs.vault.content import ContentCommit
from vaultfs.vault.directory import Directory
from vaultfs.vault.inlining import Inlining
from vaultfs.vault.inode import Inode
from vaultfs.vault.segment import Segment
from vaultfs.vault.state import SHARD_IDS, Epoch, State

log = logging.getLogger("vaultfs.vault")


class Plan(NamedTuple):
    """What the worker needs, gathered on the owner thread as of the freeze.

    `directories` are those that need a frame, deepest first, each with its loaded names if there are any;
    `changes` are the names to write in each: an inode, or None for one that is gone.
    """

    epoch: Epoch
    start: JournalStart
    next_id: int
    inode_count: int
    directories: list[tuple[Inode, Directory | None]]
    changes: dict[int, dict[bytes, Inode | None]]


class Result(NamedTuple):
    """What the worker wrote."""

    contents: list[ContentCommit]
    directories: list[DirectoryCommit]
    let_go: list[bytes]
    root: Root


def make_plan(state: State, epoch: Epoch, start: JournalStart) -> Plan:
    """Gather a frozen epoch's changes by directory. Owner thread; may raise NotReady for an evicted ancestor."""
    changes: dict[int, dict[bytes, Inode | None]] = {}
    for directory in epoch.directories.values():
        if not directory.frozen:
            continue
        names = changes.setdefault(directory.id, {})
        for name, inode_id in directory.frozen.items():
            names[name] = frozen_inode(state, inode_id) if inode_id else None
    for inode in epoch.inodes.values():
        changes.setdefault(inode.parent, {})[inode.name] = inode
    for inode_id in epoch.renewed:
        changes.setdefault(inode_id, {})
    depths: dict[int, int] = {0: 0}
    for inode_id in list(changes):
        if inode_id:
            _close_upwards(state, inode_id, changes, depths)
    ordered = sorted((inode_id for inode_id in changes if inode_id), key=depths.__getitem__, reverse=True)
    directories = [(frozen_inode(state, inode_id), state.directories.get(inode_id)) for inode_id in ordered]
    return Plan(epoch, start, state.next_id, state.inode_count, directories, changes)


def _close_upwards(
    state: State, inode_id: int, changes: dict[int, dict[bytes, Inode | None]], depths: dict[int, int]
) -> None:
    """A directory that changes gets a new head, so its entry in the directory above changes too."""
    path: list[int] = []
    while inode_id not in depths:
        path.append(inode_id)
        inode = frozen_inode(state, inode_id)
        changes.setdefault(inode.parent, {})[inode.name] = inode
        changes.setdefault(inode_id, {})
        inode_id = inode.parent
    for depth, member in enumerate(reversed(path), depths[inode_id] + 1):
        depths[member] = depth


def frozen_inode(state: State, inode_id: int) -> Inode:
    """An inode as of the freeze, before any change of the epoch that began then."""
    assert state.frozen is not None
    inode = state.frozen.inodes.get(inode_id) or state.cache.get(inode_id)
    return inode if inode is not None else state.inode(inode_id)


class Checkpoint:
    """One checkpoint of a frozen epoch; made anew, with the same epoch, if it has to be tried again."""

    def __init__(self, state: State, plan: Plan, previous: SealedRoot, epoch: int, clean: bool) -> None:
        self._state = state
        self._objects = state.objects
        self.plan = plan
        self._previous = previous
        self._epoch = epoch
        self._clean = clean
        self._allocated: list[tuple[Segment, int]] = []
        self._made: list[bytes] = []
        self.result: Result | None = None

    def write(self, time: int) -> Root:
        """Write and sync everything but the root, and return that. Worker; raises OSError and Damaged."""
        contents = []
        inlining = Inlining(self._state.settings, self.plan.epoch.inodes, self.plan.directories)
        for content in self.plan.epoch.contents.values():
            may_inline = partial(inlining.take, content.id)
            contents.append(ContentWriter(self._objects, content, self._allocated, may_inline).commit())
            self._bound_unsynced()
        directories, tops = self._write_directories({commit.content.id: commit.section for commit in contents})
        handles = self._objects.handles
        handles.sync(handles.unsynced())
        handles.sync_folders(handles.unsynced_folders())
        let_go = self._let_go(contents, directories)
        root = self._root(time, tops, tuple(let_go))
        self.result = Result(contents, directories, let_go, root)
        return root

    def _bound_unsynced(self) -> None:
        """Sync now and then: an unsynced object keeps its descriptor, and thousands of small files are one each."""
        handles = self._objects.handles
        # Writers wait at the whole limit, and have to go on meanwhile.
        if handles.unsynced_count > self._state.settings.unsynced_hard // 2:
            handles.sync(handles.unsynced())

    def _write_directories(self, sections: dict[int, bytes]) -> tuple[list[DirectoryCommit], dict[int, bytes]]:
        commits: list[DirectoryCommit] = []
        for inode, directory in self.plan.directories:
            items = {
                name: b"" if child is None else self._encode(inode.id, name, child, sections)
                for name, child in self.plan.changes[inode.id].items()
            }
            writer = DirectoryWriter(self._objects, self._state.settings, inode, directory, items, self._made)
            commit = writer.commit()
            commits.append(commit)
            sections[inode.id] = commit.head
            self._bound_unsynced()
        tops = {
            inode.id: encode_entry(inode.entry(sections.get(inode.id, inode.content)))
            for inode in self.plan.changes.get(0, {}).values()
            if inode is not None
        }
        return commits, tops

    def _encode(self, directory: int, name: bytes, inode: Inode, sections: dict[int, bytes]) -> bytes:
        if inode.shared and directory not in SHARD_IDS:
            return encode_pointer(Pointer(inode.id, inode.mode))
        section = sections.get(inode.id, inode.content)
        return encode_entry(inode.entry(renew_section(self._objects.context, inode.id, inode.mode, section)))

    def _let_go(self, contents: list[ContentCommit], directories: list[DirectoryCommit]) -> list[bytes]:
        epoch = self.plan.epoch
        segments = epoch.dropped + [segment for commit in contents for segment in commit.let_go_segments]
        names = [segment.name for segment in segments if segment.created]
        for commit in directories:
            names += commit.let_go
        purged = [partial(purged_objects, content) for content in epoch.purged]
        purged += [partial(section_objects, self._objects, *item) for item in epoch.purged_sections.items()]
        for objects_of in purged:
            try:
                names += objects_of()
            except Damaged as error:
                log.warning("objects of a deleted file stay behind: %s", error)
        for head in epoch.purged_directories.values():
            names += directory_objects(head)
        return names

    def _root(self, time: int, tops: dict[int, bytes], let_go: tuple[bytes, ...]) -> Root:
        previous = self._previous.root
        return previous._replace(
            generation=previous.generation + 1,
            clean=self._clean,
            epoch=self._epoch,
            time=time,
            next_id=self.plan.next_id,
            inodes=self.plan.inode_count,
            journal=self.plan.start,
            root=tops.get(ROOT_ID, previous.root),
            shared=tops.get(SHARED_ID, previous.shared),
            orphans=tops.get(ORPHANS_ID, previous.orphans),
            let_go=let_go,
            history=self._previous.next_history(),
        )

    def undo(self) -> None:
        """After a failed write: give back slots nothing names, delete objects nothing reaches. Owner thread."""
        for segment, slot in self._allocated:
            segment.release(slot)
        for name in self._made:
            path = object_path(name)
            self._objects.handles.drop(path)
            try:
                self._objects.store.delete(path)
            except OSError as error:
                log.info("an object of a failed checkpoint stays behind: %s", error)

    def merge(self) -> None:
        """Take the committed values over into memory; the frozen epoch is over. Owner thread.

        Wherever it is stopped, memory reads the same: the epoch is found, and not evicted, until all is taken over.
        """
        result = self.result
        assert result is not None
        state = self._state
        epoch = self.plan.epoch
        for inode in epoch.inodes.values():
            if inode.id not in state.active.gone:
                state.cache[inode.id] = inode
        for content in result.contents:
            content.content.thaw(content)
            state.set_content(content.content.id, content.section)
        for directory in result.directories:
            state.set_content(directory.inode_id, directory.head)
            loaded = state.directories.get(directory.inode_id)
            if loaded is not None:
                state.thaw_directory(loaded, directory.items)
        state.frozen = None
        for content in result.contents:
            if content.content.id not in state.opens:
                state.forget_inline(content.content.id)
        for changed in epoch.contents.values():
            changed.settle(self.plan.start.sequence)
        self._free_slots(result.contents)

    def _free_slots(self, contents: list[ContentCommit]) -> None:
        """Slots the old root or the old journal named may be used again, and free ends be cut."""
        freed = self.plan.epoch.let_go_slots + [slot for commit in contents for slot in commit.let_go_slots]
        for segment, slot in freed:
            segment.release(slot)
        for segment in {segment for segment, _ in freed if segment.created}:
            if segment.cut_tail():
                segment.truncate()

    def clean_up(self) -> None:
        """Delete the objects that were let go; one that will not go is left for a check to find. Worker."""
        assert self.result is not None
        delete_objects(self._state, self.result.let_go)


def delete_objects(state: State, names: list[bytes] | tuple[bytes, ...]) -> None:
    """Delete objects by name, those that are gone already included. Any thread; logs what will not go."""
    for name in names:
        path = object_path(name)
        state.objects.handles.drop(path)
        try:
            state.objects.store.delete(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("object %s could not be deleted: %s", path, error)

