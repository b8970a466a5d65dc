"""Keeps enough room in the store that the next checkpoint can always be written: refuses early instead of half-way."""

import errno
import logging
import threading
import time

from vaultfs.crypto.aead import random_bytes
from vaultfs.errors import NoSpace
from vaultfs.format.layout import BALLAST_PATH
from vaultfs.sealing.entries import decode_head
from vaultfs.store.api import Store
from vaultfs.vault.commit_directories import is_rewritten
from vaultfs.vault.settings import Settings
from vaultfs.vault.state import Epoch, State

log = logging.getLogger("vaultfs.vault")

# Roots, journal headers, a node or two.
_CONSTANT = 1 << 20
_PER_INODE = 512
_PER_NAME = 270
_REFRESH_SECONDS = 1.0
_AMPLE = 256 << 20

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)


# The ballast is at most this part of the store.
_BALLAST_SHARE = 16
# The part of the store, and the bytes at most, in which what waits for a checkpoint counts as if it were written.
_MARGIN_SHARE, _MARGIN = 8, 64 << 20


class SpaceKeeper:
    """The ballast is a really written object that goes when a checkpoint finds the disk full after all.

    While it is not there, as much room is kept for it: what it gave up is for deletions, checkpoints and recovery.
    """

    def __init__(self, store: Store, settings: Settings, state: State) -> None:
        self._store = store
        self._settings = settings
        self._state = state
        self._owed = 0
        self._keeping = threading.Lock()
        self._available = 0
        self._spent = 0
        self._refreshed = 0.0

    def require(self, size: int) -> None:
        """Raise NoSpace unless `size` more bytes and all that waits for a checkpoint still fit."""
        self._spent += size
        if time.monotonic() - self._refreshed > _REFRESH_SECONDS or self._spent * 8 > self._available:
            self._refresh()
        if self._spent + size > self._available:
            self._refresh()
            if size > self._available:
                raise NoSpace("the store has no room left")

    @property
    def is_ample(self) -> bool:
        """Whether there is so much room left, as of a moment ago, that a change need not ask for its own."""
        return self._available - self._spent > _AMPLE

    @property
    def has_margin(self) -> bool:
        """Whether more room is left, not counting what is reserved, than a store should be filled up to.

        Who deletes in a full store has to get room for that, and room from it.
        """
        space = self._store.space()
        margin = max(_CONSTANT, min(space.total // _MARGIN_SHARE, _MARGIN))
        return space.available - self._owed - _CONSTANT > margin

    @property
    def is_scarce(self) -> bool:
        """Whether there is less room than the ballast takes."""
        return self._store.space().available < max(self._ballast_size(), _CONSTANT)

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        self._available = self._store.space().available - self._owed - self._reserved()
        self._spent = 0

    @property
    def owed(self) -> int:
        """The bytes that are kept free for the ballast while it is not there."""
        return self._owed

    def _reserved(self) -> int:
        """Bytes the next checkpoint may need at worst."""
        epochs = [self._state.active]
        if self._state.frozen is not None:
            epochs.append(self._state.frozen)
        return _CONSTANT + sum(_worst_case(epoch, self._state) for epoch in epochs)

    def release_ballast(self) -> bool:
        """Give up the ballast for a checkpoint that found no room; False if there is none."""
        with self._keeping:
            try:
                self._store.delete(BALLAST_PATH)
            except FileNotFoundError:
                return False
            self._owed = self._ballast_size()
        self._refreshed = 0.0
        log.warning("the store is full; its ballast was released so that what is accepted can be written")
        return True

    def keep_ballast(self) -> None:
        """Write the ballast if it is not there and there is room. Any thread; a full disk is no error here."""
        size = self._ballast_size()
        with self._keeping:
            if not size or self._store.exists(BALLAST_PATH):
                return
            self._owed = size
            if self._store.space().available >= 2 * size:
                self._write_ballast(size)

    def _write_ballast(self, size: int) -> None:
        file = self._store.create(BALLAST_PATH)
        try:
            # Random, lest a store that compresses gives it no room at all.
            file.write([random_bytes(size)], 0)
            file.sync()
            self._owed = 0
        except OSError as error:
            if error.errno not in OUT_OF_SPACE:
                raise
            self._store.delete(BALLAST_PATH)
        finally:
            file.close()

    def _ballast_size(self) -> int:
        return min(self._settings.ballast_size, self._store.space().total // _BALLAST_SHARE)


def _worst_case(epoch: Epoch, state: State) -> int:
    """Bytes a checkpoint of the epoch may write: content, changed entries, directories that have to be rewritten."""
    changed: dict[int, int] = {}
    for inode in epoch.inodes.values():
        changed[inode.parent] = changed.get(inode.parent, 0) + inode.content_size + _PER_INODE
    for directory in epoch.directories.values():
        names = len(directory.active) + len(directory.frozen)
        changed[directory.id] = changed.get(directory.id, 0) + names * _PER_NAME
    for inode_id in list(changed):
        _add_ancestors(state, inode_id, changed)
    return (
        epoch.overlay_bytes
        + len(epoch.contents) * state.objects.chunk_size
        + sum(changed.values())
        + sum(_rewritten(state, inode_id, size + epoch.overlay_bytes) for inode_id, size in changed.items())
        + sum(epoch.renewed.values())
    )


def _add_ancestors(state: State, inode_id: int, changed: dict[int, int]) -> None:
    """A directory that changes gets a new head, so its entry in the directory above changes too."""
    inode = state.find_inode(inode_id)
    while inode is not None and inode.parent not in changed:
        changed[inode.parent] = _PER_INODE
        inode = state.find_inode(inode.parent)


def _rewritten(state: State, inode_id: int, size: int) -> int:
    """The bytes of a directory's entries if so many of changes make it be written anew, else 0."""
    inode = state.find_inode(inode_id)
    if inode is None or not inode.content:
        return 0  # what is new in all is changed in all
    head = decode_head(inode.content)
    return head.live if is_rewritten(head, head.live, size, state.settings) else 0
