"""Every sealed thing of FORMAT.md put together by hand, with fixed keys and nonces: a second implementation of sealing.

`python -m tests.format.by_hand` prints vectors.json. It imports nothing of vaultfs: keys, AADs and plaintexts are
spelled out, and pycryptodome seals.
"""

import hashlib
import hmac
import json
import struct
from typing import NamedTuple

from Crypto.Cipher import AES
from Crypto.Protocol.KDF import scrypt

from tests.format.decoder_crypto import expand, from_master, u32, u64

MASTER = bytes(range(32))
VAULT_ID = bytes(range(0x40, 0x50))
FILE_KEY = bytes(range(0x60, 0x80))
OBJECT = bytes(range(0x80, 0x90))
SALT = bytes(range(0x90, 0xA0))
SECRET = bytes(range(0xA0, 0xC0))
SLOT_ID = bytes(range(0xC0, 0xC8))
TAG_A, TAG_B = bytes(range(0xD0, 0xE0)), bytes(range(0xE0, 0xF0))
NONCES = [hashlib.sha256(b"nonce %d" % number).digest()[:12] for number in range(2)]
PASSWORD = b"correct horse"
CREATED = "2025-01-31T12:00:00Z"
INODE, PARENT, TIME = 1024, 1, 1_738_324_800_123_456_789
HEADER_BASE = from_master(MASTER, VAULT_ID, b"vaultfs object headers")
METADATA = from_master(MASTER, VAULT_ID, b"vaultfs metadata")
WRAP_KEY = from_master(MASTER, VAULT_ID, b"vaultfs wrap key", 64)
MAC_KEY = from_master(MASTER, VAULT_ID, b"vaultfs header mac")
OBJECT_KEY = expand(FILE_KEY, b"vaultfs object", OBJECT)


class Sealed(NamedTuple):
    """One vector: what is stored, and what it is sealed from. Nothing but `stored` for what is not GCM."""

    stored: bytes
    key: bytes = b""
    nonce: bytes = b""
    aad: bytes = b""
    plaintext: bytes = b""


def gcm(key: bytes, aad: bytes, plaintext: bytes, nonce: bytes = NONCES[0]) -> bytes:
    cipher = AES.new(key, AES.MODE_GCM, nonce=nonce, mac_len=16)
    cipher.update(aad)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    return ciphertext + tag


def siv(key: bytes, aad: bytes, plaintext: bytes) -> bytes:
    cipher = AES.new(key, AES.MODE_SIV)
    cipher.update(aad)
    ciphertext, tag = cipher.encrypt_and_digest(plaintext)
    return tag + ciphertext


def sealed(key: bytes, aad: bytes, plaintext: bytes, before: bytes = b"", after: bytes = b"") -> Sealed:
    """A seal with the first nonce in front of it, and what stands before and behind."""
    nonce = NONCES[0]
    return Sealed(before + nonce + gcm(key, aad, plaintext) + after, key, nonce, aad, plaintext)


def wrapped_file_key() -> bytes:
    return siv(WRAP_KEY, b"W" + VAULT_ID + u64(INODE), FILE_KEY)


def entry(content: bytes = b"") -> bytes:
    """A file of mode 0640 that belongs to 1000:100, with an xattr."""
    flags = 4 | (8 if content else 0)
    fixed = struct.pack("<HIQIIIQqqqq", flags, 0o100640, INODE, 1000, 100, 1, 5, TIME, TIME + 1, TIME + 2, -1)
    xattrs = struct.pack("<BI", 6, 5) + b"user.a" + b"value"
    return fixed + u32(len(xattrs)) + xattrs + content


def directory_entry(inode_id: int) -> bytes:
    return struct.pack("<HIQIIIQqqqq", 0, 0o40755, inode_id, 0, 0, 2, 0, TIME, TIME, TIME, TIME)


def inline_section() -> bytes:
    leaf = struct.pack("<II16s", 0, 5, TAG_A)
    return b"\x01" + wrapped_file_key() + u64(5) + OBJECT + u32(7) + b"\x01" + leaf


def data_section() -> bytes:
    return b"\x03hello"


def reference(index: int) -> bytes:
    return u64(index) + OBJECT + struct.pack("<II", 9, 24) + TAG_B + u32(11)


def tree_section() -> bytes:
    top = b"\x02" + wrapped_file_key() + u64(70000) + b"\x00" + bytes(16) + u32(0)
    return top + b"\x02\x00" + reference(0) + reference(3)


def head() -> bytes:
    base = OBJECT + u64(4096) + TAG_A
    delta = SALT + u64(512) + TAG_B
    return wrapped_file_key() + u64(321) + u32(3) + base + delta


def frames() -> Sealed:
    """Two frames, the second chained to the first; key to plaintext are the first one's."""
    place = b"D" + VAULT_ID + OBJECT
    first = u64(7) + struct.pack("<BI", 3, len(entry())) + b"new" + entry()
    aad = place + u64(96) + u32(len(first) + 16) + bytes(16)
    one = gcm(OBJECT_KEY, aad, first)
    second = u64(8) + struct.pack("<BI", 3, 0) + b"old"
    offset = 96 + 16 + len(one)
    two = gcm(OBJECT_KEY, place + u64(offset) + u32(len(second) + 16) + one[-16:], second, NONCES[1])
    stored = u32(len(one)) + NONCES[0] + one + u32(len(two)) + NONCES[1] + two
    return Sealed(stored, OBJECT_KEY, NONCES[0], aad, first)


def root() -> Sealed:
    entries = [directory_entry(number) for number in (1, 2, 3)]
    plain = struct.pack("<HBQQQQQQ", 1, 0, 9, 2, TIME, 1030, 7, 5) + SALT + u64(77) + TAG_A + struct.pack("<IH", 1, 2)
    plain += b"".join(u32(len(each)) for each in entries) + b"".join(entries)
    plain += OBJECT + u64(7) + TAG_A + u64(8) + TAG_B
    length = u32(len(plain) + 16)
    return sealed(expand(METADATA, b"vaultfs root"), b"R" + VAULT_ID + length, plain, before=length)


def records() -> dict[str, tuple[int, bytes]]:
    """(type, body) of one record of each type."""
    direct = u64(3) + OBJECT + u32(4) + u32(65536) + TAG_A
    patch = u64(70000) + u32(5) + b"patch"
    time = struct.pack("<q", TIME)
    return {
        "create": (1, u64(PARENT) + time + b"\x01" + b"a" + entry()),
        "link": (2, u64(INODE) + u64(PARENT) + time + b"\x02" + b"\xff\xfe"),
        "unlink": (3, u64(PARENT) + time + b"\x01" + b"\x01" + b"a"),
        "rename": (4, u64(PARENT) + u64(INODE) + time + u32(4) + b"\x00" + b"\x01\x02" + b"a" + b"bc" + entry()),
        "attributes": (5, struct.pack("<QIIIqqq", INODE, 0o100600, 1, 2, TIME, -TIME, 0)),
        "truncate": (6, u64(INODE) + u64(12345) + u32(0o100644) + time),
        "write": (
            7,
            u64(INODE) + u64(70005) + u32(0o100644) + time + b"\x01\x00\x01\x00" + wrapped_file_key() + direct + patch,
        ),
        "set xattr": (8, u64(INODE) + u32(0o100644) + time + b"\x01\x06" + b"user.a" + b"value"),
        "remove xattr": (8, u64(INODE) + u32(0o100644) + time + b"\x00\x06" + b"user.a"),
        "synced": (9, u64(INODE) + u64(76)),
        "purge": (10, u64(INODE)),
        "locate": (11, u64(INODE) + u64(PARENT) + b"\x01" + b"a"),
    }


def record(kind: int, body: bytes) -> Sealed:
    plain = u64(78) + u64(70) + TAG_A + bytes((kind,)) + body
    key = expand(METADATA, b"vaultfs journal", u64(5) + SALT)
    length = len(plain) + 16
    return sealed(
        key, b"E" + VAULT_ID + u64(5) + u64(112), plain, before=u32(length), after=bytes(-(16 + length) % 16)
    )


def slot_aad() -> bytes:
    return b"S" + VAULT_ID + SLOT_ID + struct.pack(">B3I", 2, 10, 8, 1) + b"password\0" + SALT


def wrapped_master_key() -> bytes:
    hashed = scrypt(PASSWORD, SALT, 32, 2**10, 8, 1)
    assert isinstance(hashed, bytes)
    return siv(from_master(hashed, b"", b"vaultfs slot", 64), slot_aad(), MASTER)


def identity() -> Sealed:
    plain = '{"label": "Größe", "owner": "me"}'.encode().ljust(512)
    return sealed(expand(METADATA, b"vaultfs identity"), b"I" + VAULT_ID, plain)


def header() -> bytes:
    kdf = {"name": "scrypt", "params": {"log_n": 10, "r": 8, "p": 1}, "salt": SALT.hex()}
    slot = {
        "id": SLOT_ID.hex(), "type": "password", "label": "", "created": CREATED, "kdf": kdf,
        "wrapped": wrapped_master_key().hex(),
    }  # fmt: skip
    members = {
        "format": "vaultfs", "version": 1, "vault_id": VAULT_ID.hex(), "epoch": 3, "features": [],
        "cipher": "AES-256-GCM", "chunk_size": 65536, "slots": [slot], "identity": identity().stored.hex(),
    }  # fmt: skip
    guarded = json.dumps(members, indent=2)[: -len("\n}")].encode() + b',\n  "mac": "'
    guarded += hmac.digest(MAC_KEY, guarded, "sha256").hex().encode() + b'",\n  "checksum": "'
    return guarded + hashlib.sha256(guarded).hexdigest().encode() + b'"\n}\n'


def vectors() -> dict[str, Sealed]:
    """Every sealed thing by name."""
    trailer = u64(7) + u64(3)
    node = u64(7) + u64(1 << 56 | 2)
    place = VAULT_ID + OBJECT + u32(4)
    number = u64(5)
    header_plain = struct.pack("<BB6xQQQ", 1, 1, INODE, 2, 7) + FILE_KEY
    journal_plain = struct.pack("<HQQ32s14x", 1, 5, 9, SECRET)
    journal_key = expand(METADATA, b"vaultfs journal header", number + SALT)
    found = {
        "chunk": sealed(OBJECT_KEY, b"C" + place, b"hello" + trailer),
        "map leaf": sealed(OBJECT_KEY, b"N" + place, struct.pack("<II16s", 0, 5, TAG_A) + u64(7) + u64(2)),
        "inner map node": sealed(OBJECT_KEY, b"N" + place, reference(1024) + reference(1025) + node),
        "frames": frames(),
        "root": root(),
        "journal header": sealed(
            journal_key, b"J" + VAULT_ID + number, journal_plain, before=SALT, after=bytes(4)
        ),
        "object header": sealed(
            expand(HEADER_BASE, b"vaultfs object header", OBJECT),
            b"H" + VAULT_ID + OBJECT + u32(1), header_plain, before=u32(1),
        ),
        "wrapped file key": Sealed(wrapped_file_key()),
        "wrapped master key": Sealed(wrapped_master_key()),
        "identity": identity(),
        "vault header": Sealed(header()),
        "object name": Sealed(expand(SECRET, b"vaultfs object name", u64(3), 16)),
        "small file's entry": Sealed(entry(inline_section())),
        "very small file's entry": Sealed(entry(data_section())),
        "larger file's entry": Sealed(entry(tree_section())),
        "hard link's entry": Sealed(struct.pack("<HIQ", 16, 0o100640, INODE)),
        "head": Sealed(head()),
    }  # fmt: skip
    return found | {f"record: {name}": record(kind, body) for name, (kind, body) in records().items()}


def to_json() -> str:
    """All vectors as vectors.json has them: hex strings, empty ones left out."""
    return json.dumps(
        {
            name: {field: value.hex() for field, value in vector._asdict().items() if value}
            for name, vector in vectors().items()
        },
        indent=1,
    ) + "\n"


if __name__ == "__main__":
    print(to_json(), end="")
