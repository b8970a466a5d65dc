"""Keeps enough room in the store that the next checkpoint can always be written: refuses early instead of half-way."""

import errno
import logging
import time

from vaultfs.crypto.aead import random_bytes
from vaultfs.errors import NoSpace
from vaultfs.format.layout import BALLAST_PATH
from vaultfs.store.api import Store
from vaultfs.vault.settings import Settings
from vaultfs.vault.state import Epoch, State

log = logging.getLogger("vaultfs.vault")

# Roots, journal headers, a node or two.
_CONSTANT = 1 << 20
_PER_INODE = 512
_PER_ENTRY = 320
_REFRESH_SECONDS = 1.0
_AMPLE = 256 << 20

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)


# The ballast is at most this part of the store.
_BALLAST_SHARE = 16


class SpaceKeeper:
    """The ballast is a really written object that goes when a checkpoint finds the disk full after all.

    While it is not there, as much room is kept for it: what it gave up is for deletions, checkpoints and recovery.
    """

    def __init__(self, store: Store, settings: Settings, state: State) -> None:
        self._store = store
        self._settings = settings
        self._state = state
        self._owed = 0
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
        return _CONSTANT + sum(_worst_case(epoch, self._state.objects.chunk_size) for epoch in epochs)

    def release_ballast(self) -> bool:
        """Give up the ballast for a checkpoint that found no room; False if there is none."""
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
        if not size or self._store.exists(BALLAST_PATH):
            return
        self._owed = size
        if self._store.space().available < 2 * size:
            return
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


def _worst_case(epoch: Epoch, chunk_size: int) -> int:
    entries = sum(len(directory.committed) for directory in epoch.directories.values())
    return (
        epoch.overlay_bytes
        + len(epoch.contents) * chunk_size
        + sum(inode.content_size + _PER_INODE for inode in epoch.inodes.values())
        + entries * _PER_ENTRY
        + sum(epoch.renewed.values())
    )
