"""Seals a root: the generation's tree, which journal follows it, what was let go, and the generations before."""

import struct
from typing import NamedTuple

from vaultfs.crypto.aead import AuthenticationError, new_nonce
from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    FORMAT_VERSION,
    KIND_ROOT,
    NONCE_SIZE,
    OBJECT_NAME_SIZE,
    ROOT_PREFIX_SIZE,
    TAG_SIZE,
)
from vaultfs.sealing.ancestry import Past, followed
from vaultfs.sealing.context import SealingContext

_LENGTH = struct.Struct("<I")
_FIXED = struct.Struct("<HBQQQQQQ16sQ16sIHIII")
_HISTORY = struct.Struct("<Q16s")


class JournalStart(NamedTuple):
    """The journal that follows a root, and the last record (sequence, tag) the root already contains."""

    number: int
    salt: bytes
    sequence: int
    tag: bytes


class Root(NamedTuple):
    """One committed generation. `root`, `shared` and `orphans` are encoded entries of the three top directories.

    `clean` says that no journal is needed; `time` is ns since the epoch; `inodes` counts inodes; `let_go` are the
    names of objects no longer reached that may not be deleted yet; `history` is of some roots before, oldest first.
    """

    generation: int
    clean: bool
    epoch: int
    time: int
    next_id: int
    inodes: int
    journal: JournalStart
    root: bytes
    shared: bytes
    orphans: bytes
    let_go: tuple[bytes, ...]
    history: tuple[Past, ...]


class SealedRoot(NamedTuple):
    """A root as read back, with its own authentication tag."""

    root: Root
    tag: bytes

    def next_history(self) -> tuple[Past, ...]:
        """The history of the root that follows this one."""
        return followed(self.root.history, self.root.generation, self.tag)

    def known(self) -> tuple[Past, ...]:
        """The roots this one tells of, itself the last."""
        return (*self.root.history, (self.root.generation, self.tag))


def seal_root(context: SealingContext, root: Root) -> tuple[bytes, bytes]:
    """(stored bytes, tag); both slots get the same bytes, so a generation has one tag."""
    plain = _encode(root)
    length = len(plain) + TAG_SIZE
    nonce = new_nonce()
    sealed = context.root_cipher().seal(nonce, plain, _aad(context, length))
    return _LENGTH.pack(length) + nonce + sealed, sealed[-TAG_SIZE:]


def open_root(context: SealingContext, stored: bytes) -> SealedRoot:
    """Read a root slot; raises Damaged if it is not a root of this vault."""
    return context.open_either(lambda keys: _open(keys, stored))


def is_outdated_root(context: SealingContext, stored: bytes) -> bool:
    """Whether a root slot's bytes are a root under the previous master key."""
    return context.is_outdated(lambda keys: _open(keys, stored))


def _open(context: SealingContext, stored: bytes) -> SealedRoot:
    if len(stored) < ROOT_PREFIX_SIZE:
        raise Damaged("a root is cut short")
    (length,) = _LENGTH.unpack_from(stored)
    sealed = stored[ROOT_PREFIX_SIZE : ROOT_PREFIX_SIZE + length]
    if len(sealed) != length or length < TAG_SIZE:
        raise Damaged("a root is cut short")
    nonce = stored[ROOT_PREFIX_SIZE - NONCE_SIZE : ROOT_PREFIX_SIZE]
    try:
        plain = context.root_cipher().open(nonce, sealed, _aad(context, length))
    except AuthenticationError as error:
        raise Damaged("a root does not verify") from error
    return SealedRoot(_decode(plain), sealed[-TAG_SIZE:])


def _aad(context: SealingContext, length: int) -> bytes:
    return KIND_ROOT + context.vault_id + _LENGTH.pack(length)


def _encode(root: Root) -> bytes:
    journal = root.journal
    fixed = _FIXED.pack(
        FORMAT_VERSION,
        root.clean,
        root.generation,
        root.epoch,
        root.time,
        root.next_id,
        root.inodes,
        journal.number,
        journal.salt,
        journal.sequence,
        journal.tag,
        len(root.let_go),
        len(root.history),
        len(root.root),
        len(root.shared),
        len(root.orphans),
    )
    return b"".join(
        (fixed, root.root, root.shared, root.orphans, *root.let_go, *(_HISTORY.pack(*past) for past in root.history))
    )


def _decode(plain: bytes) -> Root:
    try:
        fields = _FIXED.unpack_from(plain)
    except struct.error as error:
        raise Damaged("a root is cut short") from error
    version, clean, generation, epoch, time, next_id, inodes, number, salt, sequence, tag = fields[:11]
    let_go_count, history_count, *entry_lengths = fields[11:]
    if version != FORMAT_VERSION:
        raise Damaged(f"a root has the unknown format version {version}")
    position = _FIXED.size
    lists = let_go_count * OBJECT_NAME_SIZE + history_count * _HISTORY.size
    # Before any list is made: the counts may be anything.
    if position + sum(entry_lengths) + lists != len(plain):
        raise Damaged("a root has the wrong length")
    lengths = entry_lengths + [OBJECT_NAME_SIZE] * let_go_count + [_HISTORY.size] * history_count
    parts: list[bytes] = []
    for length in lengths:
        parts.append(plain[position : position + length])
        position += length
    history = tuple((past[0], past[1]) for past in map(_HISTORY.unpack, parts[3 + let_go_count :]))
    journal = JournalStart(number, salt, sequence, tag)
    return Root(
        generation, bool(clean), epoch, time, next_id, inodes, journal,
        parts[0], parts[1], parts[2], tuple(parts[3 : 3 + let_go_count]), history,
    )  # fmt: skip
