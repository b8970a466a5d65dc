"""Moves the wrapped file keys in directory entries from the previous master key to the present one.

A file keeps its key, so what is in its slots stays as it is; only the 48 bytes in front of its map change.
"""

import stat

from vaultfs.errors import Damaged
from vaultfs.format.constants import WRAPPED_KEY_SIZE
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import Entry, Pointer, decode_entry
from vaultfs.sealing.maps import has_data

# A file's content section says first of which form it is.
_IN_FILE = slice(1, 1 + WRAPPED_KEY_SIZE)
_IN_HEAD = slice(0, WRAPPED_KEY_SIZE)


def is_outdated(context: SealingContext, entry: Entry) -> bool:
    """Whether the key of a file or directory opens under the previous master key alone."""
    is_directory = stat.S_ISDIR(entry.mode)
    if not is_directory and has_data(entry.content):
        return False
    place = _IN_HEAD if is_directory else _IN_FILE
    return bool(entry.content) and _renewed_key(context, entry.id, entry.content[place]) is not None


def renew_section(context: SealingContext, inode_id: int, mode: int, section: bytes) -> bytes:
    """A file's content section with its key wrapped under the present master key; any other section as it is."""
    if context.previous is None or not section or not stat.S_ISREG(mode) or has_data(section):
        return section
    renewed = _renewed_key(context, inode_id, section[_IN_FILE])
    return section if renewed is None else section[: _IN_FILE.start] + renewed + section[_IN_FILE.stop :]


def renew_entry(context: SealingContext, encoded: bytes) -> bytes:
    """An encoded entry with a file's key wrapped under the present master key; one that is broken as it is."""
    try:
        entry = decode_entry(encoded)
    except Damaged:
        return encoded
    if isinstance(entry, Pointer) or not entry.content:
        return encoded
    # The content section is an entry's end.
    section = renew_section(context, entry.id, entry.mode, entry.content)
    return encoded if section is entry.content else encoded[: -len(section)] + section


def _renewed_key(context: SealingContext, inode_id: int, wrapped: bytes) -> bytes | None:
    """A key that only the previous master key unwraps, wrapped anew; None for any other."""
    try:
        renewed = context.unwrap_file_key(inode_id, wrapped).wrapped
    except Damaged:
        return None
    return renewed if renewed != wrapped else None
