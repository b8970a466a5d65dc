"""Seals a journal file: its header, then numbered, chained records.

A record on disk is length u32 ‖ nonce ‖ ciphertext ‖ tag, padded with zeros to 16 bytes, where length counts
ciphertext and tag. Its plaintext is sequence, synced, the previous record's tag, a type, and the body. The chain is
inside the plaintext, so that records behind a broken one can still be read, and tell whether it had been synced.
"""

import struct
from typing import NamedTuple

from vaultfs.crypto.aead import Aead, AuthenticationError, new_nonce, random_bytes
from vaultfs.crypto.hkdf import derive
from vaultfs.errors import Damaged
from vaultfs.format.constants import (
    FORMAT_VERSION,
    JOURNAL_HEADER_PLAIN_SIZE,
    JOURNAL_HEADER_SIZE,
    JOURNAL_SALT_SIZE,
    JOURNAL_SECRET_SIZE,
    KIND_JOURNAL,
    KIND_RECORD,
    MAX_RECORD_SIZE,
    NONCE_SIZE,
    OBJECT_NAME_SIZE,
    RECORD_ALIGNMENT,
    RECORD_HEADER_SIZE,
    RECORD_PREFIX_SIZE,
    TAG_SIZE,
)
from vaultfs.sealing.context import SealingContext

_LENGTH = struct.Struct("<I")
_HEADER = struct.Struct("<HQQ32s14x")
_RECORD = struct.Struct("<QQ16sB")
_PLACE = struct.Struct("<QQ")
_NUMBER = struct.Struct("<Q")
assert _HEADER.size == JOURNAL_HEADER_PLAIN_SIZE
assert _RECORD.size == RECORD_HEADER_SIZE


class JournalHeader(NamedTuple):
    """What a journal file starts with. `secret` names the objects made while it is the active one."""

    number: int
    generation: int
    salt: bytes
    secret: bytes


class SealedRecord(NamedTuple):
    """A record read back: `synced` is the last sequence known durable when it was written, `end` the next offset."""

    sequence: int
    synced: int
    previous: bytes
    kind: int
    body: bytes
    tag: bytes
    end: int


def new_journal_header(number: int, generation: int) -> JournalHeader:
    """A header with fresh salt and secret, so that a recycled file's old records cannot verify."""
    return JournalHeader(number, generation, random_bytes(JOURNAL_SALT_SIZE), random_bytes(JOURNAL_SECRET_SIZE))


def seal_journal_header(context: SealingContext, header: JournalHeader) -> bytes:
    """The first JOURNAL_HEADER_SIZE bytes of a journal file."""
    nonce = new_nonce()
    plain = _HEADER.pack(FORMAT_VERSION, header.number, header.generation, header.secret)
    cipher = context.journal_header_cipher(header.number, header.salt)
    sealed = cipher.seal(nonce, plain, KIND_JOURNAL + context.vault_id + _NUMBER.pack(header.number))
    return (header.salt + nonce + sealed).ljust(JOURNAL_HEADER_SIZE, b"\0")


def open_journal_header(context: SealingContext, number: int, stored: bytes) -> JournalHeader:
    """Read a journal's header; raises Damaged if it is not this vault's journal of that number."""
    return context.open_either(lambda keys: _open_header(keys, number, stored))


def is_outdated_journal(context: SealingContext, number: int, stored: bytes) -> bool:
    """Whether a journal file's first bytes are a header under the previous master key."""
    return context.is_outdated(lambda keys: _open_header(keys, number, stored))


def _open_header(context: SealingContext, number: int, stored: bytes) -> JournalHeader:
    if len(stored) < JOURNAL_HEADER_SIZE:
        raise Damaged(f"journal {number} is cut inside its header")
    salt = stored[:JOURNAL_SALT_SIZE]
    nonce = stored[JOURNAL_SALT_SIZE : JOURNAL_SALT_SIZE + NONCE_SIZE]
    start = JOURNAL_SALT_SIZE + NONCE_SIZE
    sealed = stored[start : start + JOURNAL_HEADER_PLAIN_SIZE + TAG_SIZE]
    aad = KIND_JOURNAL + context.vault_id + _NUMBER.pack(number)
    try:
        plain = context.journal_header_cipher(number, salt).open(nonce, sealed, aad)
    except AuthenticationError as error:
        raise Damaged(f"the header of journal {number} does not verify") from error
    version, _, generation, secret = _HEADER.unpack(plain)
    if version != FORMAT_VERSION:
        raise Damaged(f"journal {number} has the unknown format version {version}")
    return JournalHeader(number, generation, salt, secret)


def object_name_of(secret: bytes, counter: int) -> bytes:
    """The name of the counter-th object made under a journal: a PRF, so that recovery can list strays."""
    return derive(secret, b"vaultfs object name", _NUMBER.pack(counter), OBJECT_NAME_SIZE)


class RecordCipher:
    """Seals and opens the records of one journal file; of one from before a change of the master key, only opens."""

    __slots__ = ("_cipher", "_number", "_place", "_previous")

    def __init__(self, context: SealingContext, header: JournalHeader) -> None:
        self._cipher: Aead = context.journal_cipher(header.number, header.salt)
        self._previous = RecordCipher(context.previous, header) if context.previous is not None else None
        self._place = KIND_RECORD + context.vault_id
        self._number = header.number

    def seal(
        self, offset: int, sequence: int, synced: int, previous: bytes, kind: int, body: bytes
    ) -> tuple[bytes, bytes]:
        """(stored record, its tag), to be written at `offset`."""
        nonce = new_nonce()
        plain = _RECORD.pack(sequence, synced, previous, kind) + body
        sealed = self._cipher.seal(nonce, plain, self._place + _PLACE.pack(self._number, offset))
        size = RECORD_PREFIX_SIZE + len(sealed)
        padding = bytes(-size % RECORD_ALIGNMENT)
        return b"".join((_LENGTH.pack(len(sealed)), nonce, sealed, padding)), sealed[-TAG_SIZE:]

    def open(self, stored: memoryview, offset: int) -> SealedRecord | None:
        """The record at `offset` of a journal file's bytes, or None if none verifies there."""
        sealed = self._open(stored, offset)
        return self._previous.open(stored, offset) if sealed is None and self._previous is not None else sealed

    def _open(self, stored: memoryview, offset: int) -> SealedRecord | None:
        body = offset + RECORD_PREFIX_SIZE
        if body > len(stored):
            return None
        (length,) = _LENGTH.unpack_from(stored, offset)
        end = body + length
        if not RECORD_HEADER_SIZE + TAG_SIZE <= length <= MAX_RECORD_SIZE or end > len(stored):
            return None
        nonce = bytes(stored[body - NONCE_SIZE : body])
        try:
            plain = self._cipher.open(
                nonce, bytes(stored[body:end]), self._place + _PLACE.pack(self._number, offset)
            )
        except AuthenticationError:
            return None
        sequence, synced, previous, kind = _RECORD.unpack_from(plain)
        tag = bytes(stored[end - TAG_SIZE : end])
        end += -(end - offset) % RECORD_ALIGNMENT
        return SealedRecord(sequence, synced, previous, kind, plain[RECORD_HEADER_SIZE:], tag, end)
