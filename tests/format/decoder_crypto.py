"""The second reader's primitives: fields off a byte string, AES-256-GCM, AES-SIV, HKDF, and the vault's keys."""

import hashlib
import hmac
import json
import re
import struct
import unicodedata
from collections.abc import Callable
from typing import Any, TypeVar

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF, scrypt

T = TypeVar("T")

VERSION = 1
TAG = 16


class DecodeError(Exception):
    """The store is not what FORMAT.md says, or its bytes do not verify."""


class Reader:
    """Takes fields off a byte string from the front; DecodeError if one is missing, and by `end` if any is left."""

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
        """Little-endian integers without padding, named as in Python's struct: B, H, I, Q are u8 to u64, q is i64."""
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def rest(self) -> bytes:
        return self.take(self.left)

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def end(self) -> None:
        if self.left:
            raise DecodeError("bytes left over")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def expand(key: bytes, label: bytes, context: bytes = b"", size: int = 32) -> bytes:
    """HKDF-Expand with SHA-256 for at most one block."""
    return hmac.digest(key, label + b"\0" + context + b"\x01", "sha256")[:size]


def from_master(master: bytes, salt: bytes, label: bytes, size: int = 32) -> bytes:
    """HKDF with SHA-256, extract and expand."""
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


def first_of(keys: list[bytes], opened: Callable[[bytes], T]) -> T:
    """What the first key opens that opens it; DecodeError if none does."""
    for key in keys[:-1]:
        try:
            return opened(key)
        except DecodeError:
            continue
    return opened(keys[-1])


class Keys:
    """The vault's keys, by a password that opens one of the header's scrypt slots."""

    def __init__(self, header: bytes, password: str) -> None:
        tail = re.search(rb',\n  "mac": "([0-9a-f]{64})",\n  "checksum": "([0-9a-f]{64})"\n}\n\Z', header)
        if tail is None or hashlib.sha256(header[: tail.start(2)]).hexdigest().encode() != tail[2]:
            raise DecodeError("the header is damaged")
        members = json.loads(header)
        if (members["format"], members["version"]) != ("vaultfs", VERSION):
            raise DecodeError("another format")
        if members["features"] not in ([], ["rekey"], ["inline-data"], ["inline-data", "rekey"]):
            raise DecodeError("an unknown feature")
        self.vault_id = bytes.fromhex(members["vault_id"])
        self.chunk_size: int = members["chunk_size"]
        self.epoch: int = members["epoch"]
        master = self._master(members["slots"], unicodedata.normalize("NFKC", password).encode())
        masters = [master]
        if "rekey" in members["features"]:
            wrapping = from_master(master, self.vault_id, b"vaultfs previous master", 64)
            masters.append(open_siv(wrapping, bytes.fromhex(members["previous"]), b"P" + self.vault_id))
        # The present ones, and during a change of the master key those before.
        self.wrap = [from_master(each, self.vault_id, b"vaultfs wrap key", 64) for each in masters]
        self.headers = [from_master(each, self.vault_id, b"vaultfs object headers") for each in masters]
        self.metadata = [from_master(each, self.vault_id, b"vaultfs metadata") for each in masters]
        mac_key = from_master(master, self.vault_id, b"vaultfs header mac")
        if hmac.digest(mac_key, header[: tail.start(1)], "sha256").hex().encode() != tail[1]:
            raise DecodeError("the header was altered")

    def _master(self, slots: list[dict[str, Any]], password: bytes) -> bytes:
        for slot in slots:
            kdf = slot["kdf"]
            if (slot["type"], kdf["name"]) != ("password", "scrypt"):
                continue
            log_n, r, p = (kdf["params"][name] for name in ("log_n", "r", "p"))
            salt = bytes.fromhex(kdf["salt"])
            hashed = scrypt(password, salt, 32, 2**log_n, r, p)
            assert isinstance(hashed, bytes)
            costs = struct.pack(">B3I", 2, log_n, r, p)
            aad = b"S" + self.vault_id + bytes.fromhex(slot["id"]) + costs + slot["type"].encode() + b"\0" + salt
            try:
                return open_siv(from_master(hashed, b"", b"vaultfs slot", 64), bytes.fromhex(slot["wrapped"]), aad)
            except DecodeError:
                continue
        raise DecodeError("no scrypt slot opens with this password")

    def file_key(self, inode_id: int, wrapped: bytes) -> bytes:
        aad = b"W" + self.vault_id + u64(inode_id)
        return first_of(self.wrap, lambda key: open_siv(key, wrapped, aad))
