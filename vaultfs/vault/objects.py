"""Access to a vault's objects for everything above: keys, open descriptors, fresh names, stored slots."""

import threading
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from vaultfs.errors import Damaged
from vaultfs.format.constants import KIND_CHUNK, KIND_NODE, OBJECT_HEADER_SIZE
from vaultfs.format.layout import slot_offset
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.journal import object_name_of
from vaultfs.sealing.slots import SlotCipher, stored_slot_size
from vaultfs.store.api import Store, StoreFile
from vaultfs.store.handles import HandleCache


class NameSource:
    """Names for new objects: a PRF of a journal's secret and a counter, so that strays can be listed.

    What a checkpoint writes is named under the journal that its root makes obsolete: names under a live journal
    are strays unless a record says otherwise.
    """

    __slots__ = ("_active", "_frozen")

    def __init__(self) -> None:
        self._active: tuple[bytes, Iterator[int]] | None = None
        self._frozen: tuple[bytes, Iterator[int]] | None = None

    def use(self, secret: bytes) -> None:
        """Name the active epoch's objects under another journal from now on."""
        self._active = secret, count(1)

    def freeze(self) -> None:
        """Name the frozen epoch's objects as the active one's were named up to now."""
        self._frozen = self._active

    def next(self) -> bytes:
        """A fresh name for the active epoch."""
        return _next(self._active)

    def next_frozen(self) -> bytes:
        """A fresh name for the frozen epoch."""
        return _next(self._frozen)


def _next(source: tuple[bytes, Iterator[int]] | None) -> bytes:
    # Safe in any thread: a count steps atomically.
    assert source is not None, "objects are named under a journal"
    secret, counter = source
    return object_name_of(secret, next(counter))


_CIPHERS = 256


def lost(path: str) -> Damaged:
    """The error for an object that should be there."""
    return Damaged(f"object {path} is missing; is the store fully synced?")


class SlotCiphers(NamedTuple):
    """The ciphers of one segment object: for chunks and for map nodes."""

    chunks: SlotCipher
    nodes: SlotCipher


class Objects:
    """`generation` is the one the changes now made will be committed as.

    `lock` is held while a segment is made, which the owner thread and the checkpoint worker may both want to.
    `replaces_lost` lets segments that are missing be made again for what is to be written to them, with consent only:
    they may still be on their way.
    """

    __slots__ = (
        "_ciphers", "chunk_size", "context", "generation", "handles", "lock", "names", "replaces_lost", "store",
    )  # fmt: skip

    def __init__(self, store: Store, handles: HandleCache, context: SealingContext) -> None:
        self.store = store
        self.handles = handles
        self.context = context
        self.chunk_size = context.chunk_size
        self.names = NameSource()
        self.generation = 0
        self.replaces_lost = False
        self.lock = threading.Lock()
        self._ciphers: dict[bytes, SlotCiphers] = {}

    def slot_ciphers(self, name: bytes, key: bytes) -> SlotCiphers:
        """The ciphers of an object of the file with this key; a few are kept, since each takes over 2 KiB."""
        found = self._ciphers.get(name)
        if found is None:
            cipher, vault_id = self.context.object_cipher(key, name), self.context.vault_id
            found = SlotCiphers(
                SlotCipher(cipher, KIND_CHUNK, vault_id, name), SlotCipher(cipher, KIND_NODE, vault_id, name)
            )
            if len(self._ciphers) >= _CIPHERS:
                self._ciphers.clear()
            self._ciphers[name] = found
        return found

    def open(self, path: str) -> StoreFile:
        """An object that must be there; raises Damaged when it is missing or no regular file."""
        try:
            return self.handles.get(path)
        except FileNotFoundError as error:
            raise lost(path) from error
        except OSError as error:
            raise Damaged(f"object {path} cannot be opened: {error.strerror}") from error

    def read_slot(self, path: str, slot: int, length: int) -> bytes:
        """The stored bytes of a slot holding `length` bytes of data; raises Damaged if the object is cut before."""
        return self._read(path, stored_slot_size(length), slot_offset(slot, self.chunk_size))

    def read_slot_cached(self, path: str, slot: int, length: int) -> memoryview | None:
        """`read_slot`, but None instead of waiting for the disk."""
        stored = memoryview(bytearray(stored_slot_size(length)))
        try:
            done = self.open(path).read_cached(stored, slot_offset(slot, self.chunk_size))
        except OSError as error:
            raise Damaged(f"object {path} cannot be read: {error.strerror}") from error
        if done is not None and done != len(stored):
            raise Damaged(f"object {path} is cut short")
        return None if done is None else stored

    def read_frames(self, path: str, length: int) -> bytes:
        """A directory object's bytes behind its header, up to `length`; raises Damaged if it is cut before."""
        return self._read(path, length - OBJECT_HEADER_SIZE, OBJECT_HEADER_SIZE)

    def _read(self, path: str, size: int, offset: int) -> bytes:
        try:
            stored = self.open(path).read(size, offset)
        except OSError as error:
            raise Damaged(f"object {path} cannot be read: {error.strerror}") from error
        if len(stored) != size:
            raise Damaged(f"object {path} is cut short")
        return stored
