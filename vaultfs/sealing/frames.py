"""Seals the frames of a directory object: batches of changes, each chained to the one before by its tag.

A frame on disk is length u32 ‖ nonce ‖ ciphertext ‖ tag, where length counts ciphertext and tag. Its plaintext is
the generation, then items: name length, entry length (0 deletes the name), name, entry. An item with an empty name
carries the directory's own attributes, for salvage only.
"""

import struct
from collections.abc import Iterable, Iterator

from vaultfs.crypto.aead import Aead, AuthenticationError, new_nonce
from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    FRAME_PREFIX_SIZE,
    FRAME_TARGET_SIZE,
    KIND_FRAME,
    NONCE_SIZE,
    OBJECT_HEADER_SIZE,
    TAG_SIZE,
)
from vaultfs.sealing.context import SealingContext

_LENGTH = struct.Struct("<I")
_ITEM = struct.Struct("<BI")
_GENERATION = struct.Struct("<Q")
_PLACE = struct.Struct("<QI")

Items = list[tuple[bytes, bytes]]
NO_TAG = bytes(TAG_SIZE)


class FrameCipher:
    """Seals and opens the frames of one directory object."""

    __slots__ = ("_cipher", "_place")

    def __init__(self, context: SealingContext, file_key: bytes, object_name: bytes) -> None:
        self._cipher: Aead = context.object_cipher(file_key, object_name)
        self._place = KIND_FRAME + context.vault_id + object_name

    def seal(
        self, items: Iterable[tuple[bytes, bytes]], generation: int, offset: int, tag: bytes
    ) -> tuple[bytes, bytes]:
        """(stored frames, tag of the last): to be written at `offset`, chained to the frame with `tag`.

        Frames are closed at FRAME_TARGET_SIZE bytes; at least one is made.
        """
        stored: list[bytes] = []
        for plain in _batches(items, generation):
            length = len(plain) + TAG_SIZE
            nonce = new_nonce()
            sealed = self._cipher.seal(nonce, plain, self._aad(offset, length, tag))
            tag = sealed[-TAG_SIZE:]
            stored.append(_LENGTH.pack(length) + nonce + sealed)
            offset += FRAME_PREFIX_SIZE + length
        return b"".join(stored), tag

    def open(self, stored: bytes, tag: bytes) -> Iterator[tuple[int, Items]]:
        """(generation, items) of each frame in `stored`, the object's bytes behind its header, up to the head.

        Raises Damaged at the first frame that does not verify, or if the last one's tag is not `tag`.
        """
        position = 0
        previous = NO_TAG
        while position < len(stored):
            end, sealed_tag, plain = self._open_one(stored, position, previous)
            previous = sealed_tag
            yield _parse(plain)
            position = end
        if previous != tag:
            raise Damaged("a directory does not end with the frame its entry names")

    def salvage(self, stored: bytes) -> Iterator[tuple[int, bytes, int, Items]]:
        """(end, tag, generation, items) of each frame in `stored`, as `open` takes it, up to the first broken one."""
        position = 0
        previous = NO_TAG
        while position < len(stored):
            try:
                position, previous, plain = self._open_one(stored, position, previous)
                generation, items = _parse(plain)
            except Damaged:
                return
            yield position, previous, generation, items

    def _open_one(self, stored: bytes, position: int, previous: bytes) -> tuple[int, bytes, bytes]:
        body = position + FRAME_PREFIX_SIZE
        if body > len(stored):
            raise Damaged("a directory is cut inside a frame")
        (length,) = _LENGTH.unpack_from(stored, position)
        end = body + length
        if end > len(stored) or length < TAG_SIZE:
            raise Damaged("a directory is cut inside a frame")
        nonce = stored[body - NONCE_SIZE : body]
        aad = self._aad(OBJECT_HEADER_SIZE + position, length, previous)
        try:
            plain = self._cipher.open(nonce, stored[body:end], aad)
        except AuthenticationError as error:
            raise Damaged("a directory frame does not verify") from error
        return end, stored[end - TAG_SIZE : end], plain

    def _aad(self, offset: int, length: int, previous: bytes) -> bytes:
        return self._place + _PLACE.pack(offset, length) + previous


def item_size(name: bytes, entry: bytes) -> int:
    """Bytes an item takes in a frame."""
    return _ITEM.size + len(name) + len(entry)


def _batches(items: Iterable[tuple[bytes, bytes]], generation: int) -> Iterator[bytes]:
    parts = [_GENERATION.pack(generation)]
    size = 0
    for name, entry in items:
        parts += (_ITEM.pack(len(name), len(entry)), name, entry)
        size += item_size(name, entry)
        if size >= FRAME_TARGET_SIZE:
            yield b"".join(parts)
            parts, size = [_GENERATION.pack(generation)], 0
    if size or len(parts) == 1:
        yield b"".join(parts)


def _parse(plain: bytes) -> tuple[int, Items]:
    items: Items = []
    position = _GENERATION.size
    unpack, header = _ITEM.unpack_from, _ITEM.size
    try:
        (generation,) = _GENERATION.unpack_from(plain)
        while position < len(plain):
            name_length, entry_length = unpack(plain, position)
            position += header
            split = position + name_length
            end = split + entry_length
            items.append((plain[position:split], plain[split:end]))
            position = end
    except struct.error as error:
        raise Damaged("a directory frame is cut short") from error
    if position != len(plain):
        raise Damaged("a directory frame is cut short")
    return generation, items
