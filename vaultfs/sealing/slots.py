"""Seals one slot of a segment: a chunk of a file's content or a node of its map.

A slot is nonce ‖ ciphertext ‖ tag. The plaintext is the data followed by a trailer (generation, number), so that
salvage can order slots whose map is lost; the AAD binds kind, vault, object and slot index.
"""

import struct
from collections.abc import Callable, Sequence

from vaultfs.crypto.aead import Aead, AuthenticationError, new_nonce
from vaultfs.errors import Damaged
from vaultfs.format.constants import NONCE_SIZE, SLOT_OVERHEAD, SLOT_TRAILER_SIZE, TAG_SIZE

_INDEX = struct.Struct("<I")
_TRAILER = struct.Struct("<QQ")
assert _TRAILER.size == SLOT_TRAILER_SIZE

Buffer = bytes | bytearray | memoryview


class SlotCipher:
    """Seals and opens the slots of one object.

    `place` is the AAD up to the slot index: kind ‖ vault id ‖ object name.
    """

    __slots__ = ("_cipher", "_place", "_seal", "_seal_into")

    def __init__(self, cipher: Aead, kind: bytes, vault_id: bytes, object_name: bytes) -> None:
        self._cipher = cipher
        self._place = kind + vault_id + object_name
        self._seal: Callable[[bytes, Buffer, bytes], bytes] = cipher.seal
        self._seal_into: Callable[[bytes, Buffer, bytes, memoryview], int] = cipher.seal_into

    def seal(self, slot: int, generation: int, number: int, data: Buffer) -> tuple[bytes, bytes, bytes]:
        """(nonce, ciphertext ‖ tag, tag): write the first two at the slot's offset, keep the tag in the map."""
        nonce = new_nonce()
        sealed = self._seal(
            nonce, b"".join((data, _TRAILER.pack(generation, number))), self._place + _INDEX.pack(slot)
        )
        return nonce, sealed, sealed[-TAG_SIZE:]

    def seal_into(
        self, slots: Sequence[int], generation: int, number: int, data: Sequence[Buffer], out: memoryview
    ) -> list[bytes]:
        """Seal what is numbered from `number` on, one behind the other, into `out`; returns the tags.

        `out` has at least the data's length plus SLOT_OVERHEAD bytes for each.
        """
        tags: list[bytes] = []
        end = 0
        for slot, piece in zip(slots, data, strict=True):
            start, end = end, end + len(piece) + SLOT_OVERHEAD
            nonce = new_nonce()
            out[start : start + NONCE_SIZE] = nonce
            plain = b"".join((piece, _TRAILER.pack(generation, number)))
            self._seal_into(nonce, plain, self._place + _INDEX.pack(slot), out[start + NONCE_SIZE : end])
            tags.append(bytes(out[end - TAG_SIZE : end]))
            number += 1
        return tags

    def open_into(
        self, slot: int, number: int, tag: bytes, stored: memoryview, out: memoryview
    ) -> None:
        """Decrypt a stored slot into `out`, whose first bytes become the data and last 16 the trailer.

        `out` is exactly the data's length plus SLOT_TRAILER_SIZE. Raises Damaged unless the slot is the very one
        the map entry (slot, tag) names and its sealed number is `number`.
        """
        if stored[-TAG_SIZE:] != tag:
            raise Damaged("a chunk is not the one the file's map names")
        try:
            self._cipher.open_into(
                bytes(stored[:NONCE_SIZE]), stored[NONCE_SIZE:], self._place + _INDEX.pack(slot), out
            )
        except AuthenticationError as error:
            raise Damaged("a chunk does not verify") from error
        if _TRAILER.unpack(out[-SLOT_TRAILER_SIZE:])[1] != number:
            raise Damaged("a chunk stands in another chunk's place")

    def open(self, slot: int, number: int, tag: bytes, stored: Buffer) -> bytearray:
        """The data of a stored slot; raises as `open_into`."""
        if len(stored) < SLOT_OVERHEAD:
            raise Damaged("a chunk is cut short")
        out = bytearray(len(stored) - NONCE_SIZE - TAG_SIZE)
        self.open_into(slot, number, tag, memoryview(stored), memoryview(out))
        del out[-SLOT_TRAILER_SIZE:]
        return out

    def salvage(self, slot: int, stored: bytes) -> tuple[int, int, bytes]:
        """(generation, number, data) of a slot without its map entry; raises Damaged if it does not verify."""
        if len(stored) < SLOT_OVERHEAD:
            raise Damaged("a chunk is cut short")
        try:
            plain = self._cipher.open(
                stored[:NONCE_SIZE], stored[NONCE_SIZE:], self._place + _INDEX.pack(slot)
            )
        except AuthenticationError as error:
            raise Damaged("a chunk does not verify") from error
        generation, number = _TRAILER.unpack(plain[-SLOT_TRAILER_SIZE:])
        return generation, number, plain[:-SLOT_TRAILER_SIZE]


def stored_slot_size(length: int) -> int:
    """Bytes on disk of a slot with `length` bytes of data."""
    return length + SLOT_OVERHEAD
