"""Seals the header every object starts with; only salvage reads it back, so it may be rewritten in place."""

import struct
from typing import NamedTuple

from vaultfs.crypto.aead import AuthenticationError, new_nonce
from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    FORMAT_VERSION,
    KIND_HEADER,
    NONCE_SIZE,
    OBJECT_HEADER_PLAIN_SIZE,
    OBJECT_HEADER_SIZE,
)
from vaultfs.sealing.context import SealingContext

_EPOCH = struct.Struct("<I")
_PLAIN = struct.Struct("<BB6xQQQ32s")
assert _PLAIN.size == OBJECT_HEADER_PLAIN_SIZE


class ObjectHeader(NamedTuple):
    """Which file or directory an object belongs to; `key` is that file's own key."""

    kind: int
    inode_id: int
    segment: int
    generation: int
    key: bytes


def seal_object_header(context: SealingContext, name: bytes, header: ObjectHeader, key_epoch: int) -> bytes:
    """The first OBJECT_HEADER_SIZE bytes of the object called `name`."""
    epoch = _EPOCH.pack(key_epoch)
    plain = _PLAIN.pack(
        header.kind, FORMAT_VERSION, header.inode_id, header.segment, header.generation, header.key
    )
    nonce = new_nonce()
    aad = KIND_HEADER + context.vault_id + name + epoch
    return epoch + nonce + context.header_cipher(name).seal(nonce, plain, aad)


def open_object_header(context: SealingContext, name: bytes, stored: bytes) -> ObjectHeader:
    """Read an object's header; raises Damaged if it is not this vault's header of this very object."""
    return context.open_either(lambda keys: _open(keys, name, stored))


def renew_object_header(context: SealingContext, name: bytes, stored: bytes, key_epoch: int) -> bytes | None:
    """A header that only the previous master key opens, sealed anew; None for any other."""
    if context.previous is None:
        return None
    try:
        _open(context, name, stored)
    except Damaged:
        pass
    else:
        return None
    try:
        return seal_object_header(context, name, _open(context.previous, name, stored), key_epoch)
    except Damaged:
        return None


def _open(context: SealingContext, name: bytes, stored: bytes) -> ObjectHeader:
    if len(stored) < OBJECT_HEADER_SIZE:
        raise Damaged(f"object {name.hex()} is cut inside its header")
    epoch = stored[: _EPOCH.size]
    nonce = stored[_EPOCH.size : _EPOCH.size + NONCE_SIZE]
    sealed = stored[_EPOCH.size + NONCE_SIZE : OBJECT_HEADER_SIZE]
    try:
        plain = context.header_cipher(name).open(nonce, sealed, KIND_HEADER + context.vault_id + name + epoch)
    except AuthenticationError as error:
        raise Damaged(f"the header of object {name.hex()} does not verify") from error
    kind, version, inode_id, segment, generation, key = _PLAIN.unpack(plain)
    if version != FORMAT_VERSION:
        raise Damaged(f"object {name.hex()} has the unknown format version {version}")
    return ObjectHeader(kind, inode_id, segment, generation, key)
