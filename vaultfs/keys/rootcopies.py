"""Two more copies of the header, one in each root slot, so that a vault outlives the loss of both `vaultfs.json`.

A root slot is

    u32 length ‖ nonce(12) ‖ sealed(length) ‖ u32 header length ‖ header

with little-endian lengths; the last two parts may be missing. `header` is the header file byte for byte, which
carries its own checksum and MAC. The root in front is found without any key, by its length.
"""

import contextlib
import struct

from vaultfs.format.constants import ROOT_PREFIX_SIZE, ROOT_SLOTS
from vaultfs.format.layout import root_slot_path
from vaultfs.store.api import Store, StoreFile

_LENGTH = struct.Struct("<I")
_LARGEST_COPY = 64 << 10


def trailer(header: bytes) -> bytes:
    """What follows the sealed root in a slot; nothing for no header."""
    return _LENGTH.pack(len(header)) + header if header else b""


def read_copies(store: Store) -> list[tuple[str, bytes]]:
    """(where, bytes) of each copy there is; whether the bytes are a header is for the caller to check."""
    found = []
    for slot in range(ROOT_SLOTS):
        path = root_slot_path(slot)
        with contextlib.suppress(OSError):
            file = store.open(path)
            try:
                copy = _read(file)
            finally:
                file.close()
            if copy:
                found.append((path, copy))
    return found


def write_copies(store: Store, header: bytes) -> list[tuple[str, OSError]]:
    """Make both copies these bytes, durably, one slot after the other; returns (where, why) of those that failed.

    Only for a store whose roots nobody else writes meanwhile. The sealed root in front is not touched.
    """
    failed = []
    for slot in range(ROOT_SLOTS):
        path = root_slot_path(slot)
        try:
            _write(store, path, trailer(header))
        except FileNotFoundError:
            continue  # a root that is lost is not this module's business
        except OSError as error:
            failed.append((path, error))
    return failed


def _offset(file: StoreFile) -> int | None:
    """Where the copy begins, or would; None if the file holds no whole root."""
    size = file.size()
    if size < ROOT_PREFIX_SIZE:
        return None
    offset = ROOT_PREFIX_SIZE + int(_LENGTH.unpack(file.read(_LENGTH.size, 0))[0])
    return offset if offset <= size else None


def _read(file: StoreFile) -> bytes:
    offset = _offset(file)
    if offset is None:
        return b""
    prefix = file.read(_LENGTH.size, offset)
    length = int(_LENGTH.unpack(prefix)[0]) if len(prefix) == _LENGTH.size else 0
    return file.read(length, offset + _LENGTH.size) if 0 < length <= _LARGEST_COPY else b""


def _write(store: Store, path: str, data: bytes) -> None:
    file = store.open(path, write=True)
    try:
        offset = _offset(file)
        if offset is None:
            return
        file.write([data], offset)
        # What a longer header leaves behind would be a piece of a key slot that may be revoked.
        file.truncate(offset + len(data))
        file.sync()
    finally:
        file.close()
