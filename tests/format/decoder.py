"""A second reader of vaultfs stores, written from FORMAT.md alone: it imports nothing of vaultfs.

Only the standard library and pycryptodome. It reads a whole store into memory, journal replayed, and changes
nothing. Small and slow on purpose: it says what the format is, and the tests hold the library to it.
"""

import hashlib
import hmac
import json
import re
import stat
import struct
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF, scrypt

VERSION = 1
TAG, NONCE = 16, 12
SEGMENT_CHUNKS, INLINE_CHUNKS, NODE_REFERENCES, ENTRY_REFERENCES = 1024, 16, 512, 16
INDEX_SEGMENT = 2**64 - 1
OBJECT_HEADER, JOURNAL_HEADER, RECORD_HEADER, LARGEST_RECORD = 96, 124, 33, 2424832
ROOT_ID, SHARED_ID, ORPHANS_ID = 1, 2, 3
CREATE, LINK, UNLINK, RENAME, ATTRIBUTES, TRUNCATE, WRITE, XATTR, SYNCED, PURGE, LOCATE = range(1, 12)
RENAME_EXCHANGE = 2


class DecodeError(Exception):
    """The store is not what FORMAT.md says, or its bytes do not verify."""


@dataclass
class Node:
    """An inode: attributes as stat(2) names them, times in ns; `chunks` are a regular file's, by number."""

    id: int
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    atime: int
    mtime: int
    ctime: int
    birthtime: int
    device: int = 0
    target: bytes = b""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    key: bytes = b""
    chunks: dict[int, bytes] = field(default_factory=dict)
    names: dict[bytes, int] = field(default_factory=dict)


@dataclass
class Decoded:
    """A store as read: every path (`b""` is the top directory) with its inode, and how many records were applied."""

    paths: dict[bytes, Node]
    chunk_size: int
    generation: int
    records: int


class Reader:
    """Takes fields off a byte string from the front; nothing may be missing, and `end` says nothing may be left."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise DecodeError("cut short")
        self.at += size
        return piece

    def fields(self, form: str) -> tuple[int, ...]:
        """Little-endian integers, as struct(3) names them, without padding."""
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def end(self) -> None:
        if self.left:
            raise DecodeError("bytes left over")


def expand(key: bytes, label: bytes, context: bytes = b"", size: int = 32) -> bytes:
    """HKDF-Expand-SHA256 of one block, by hand."""
    return hmac.digest(key, label + b"\0" + context + b"\x01", "sha256")[:size]


def from_master(master: bytes, salt: bytes, label: bytes, size: int = 32) -> bytes:
    """HKDF-SHA256, extract and expand."""
    derived = HKDF(master, size, salt, SHA256, context=label)
    assert isinstance(derived, bytes)
    return derived


def open_gcm(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=TAG)
    cipher.update(aad)
    try:
        return cipher.decrypt_and_verify(sealed[:-TAG], sealed[-TAG:])
    except ValueError as error:
        raise DecodeError("a seal does not verify") from error


def open_siv(key: bytes, wrapped: bytes, aad: bytes) -> bytes:
    cipher = AES.new(key, AES.MODE_SIV)
    cipher.update(aad)
    try:
        return cipher.decrypt_and_verify(wrapped[TAG:], wrapped[:TAG])
    except ValueError as error:
        raise DecodeError("a wrapped key does not verify") from error


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


class Keys:
    """The vault's keys by a password, which must open a scrypt slot of the header."""

    def __init__(self, header: bytes, password: str) -> None:
        tail = re.search(rb',\n  "mac": "([0-9a-f]{64})",\n  "checksum": "([0-9a-f]{64})"\n}\n\Z', header)
        if tail is None or hashlib.sha256(header[: tail.start(2)]).hexdigest().encode() != tail[2]:
            raise DecodeError("the header is damaged")
        members = json.loads(header)
        if members["format"] != "vaultfs" or members["version"] != VERSION or members["features"]:
            raise DecodeError("another format")
        self.vault_id = bytes.fromhex(members["vault_id"])
        self.chunk_size: int = members["chunk_size"]
        self.epoch: int = members["epoch"]
        master = self._master(members["slots"], unicodedata.normalize("NFKC", password).encode())
        self.wrap = from_master(master, self.vault_id, b"vaultfs wrap key", 64)
        self.headers = from_master(master, self.vault_id, b"vaultfs object headers")
        self.metadata = from_master(master, self.vault_id, b"vaultfs metadata")
        mac_key = from_master(master, self.vault_id, b"vaultfs header mac")
        if hmac.digest(mac_key, header[: tail.start(1)], "sha256").hex().encode() != tail[1]:
            raise DecodeError("the header was altered")

    def _master(self, slots: list[dict[str, object]], password: bytes) -> bytes:
        for slot in slots:
            kdf = slot["kdf"]
            assert isinstance(kdf, dict)
            if kdf["name"] != "scrypt":
                continue
            log_n, r, p = (kdf["params"][name] for name in ("log_n", "r", "p"))
            salt = bytes.fromhex(kdf["salt"])
            hashed = scrypt(password, salt.decode("latin-1"), 32, 2**log_n, r, p) if False else self._scrypt(
                password, salt, log_n, r, p
            )
            place = b"S" + self.vault_id + bytes.fromhex(str(slot["id"]))
            costs = struct.pack(">B3I", 2, log_n, r, p)
            aad = place + costs + str(slot["type"]).encode() + b"\0" + salt
            try:
                return open_siv(from_master(hashed, b"", b"vaultfs slot", 64), bytes.fromhex(str(slot["wrapped"])), aad)
            except DecodeError:
                continue
        raise DecodeError("no scrypt slot opens with this password")
