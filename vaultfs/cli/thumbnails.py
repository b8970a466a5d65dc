"""Finds and removes the plaintext thumbnails that file managers have made of a vault's files.

Each is a PNG in the cache whose text chunk `Thumb::URI` says what it shows (freedesktop.org, Thumbnail Managing
Standard); by that, and not by hashing the names in the vault, those of renamed and deleted files are found too.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEY = b"Thumb::URI\0"
_SCHEME = b"file://"
_CHUNK = struct.Struct(">I4s")
_LONGEST_TEXT = 65536  # bytes; a path of 4,095 bytes takes at most three times as many in a URI


def purge(mountpoint: str) -> int:
    """Delete the thumbnails of everything below an absolute path; how many there were.

    What cannot be read or deleted stays. Folders are those of the user who calls this ($XDG_CACHE_HOME).
    """
    roots = {os.fsencode(os.path.normpath(mountpoint)), os.fsencode(os.path.realpath(mountpoint))}
    count = 0
    for path in _cached():
        try:
            shown = _shown(path)
            if shown is not None and any(shown == root or shown.startswith(root + b"/") for root in roots):
                path.unlink()
                count += 1
        except OSError:
            continue
    return count


def _cached() -> Iterator[Path]:
    home = Path.home()
    cache = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if os.path.isabs(cache) else home / ".cache"
    for folder in (base / "thumbnails", home / ".thumbnails"):
        yield from sorted(folder.rglob("*.png"))


def _shown(path: Path) -> bytes | None:
    """The path of the file that a thumbnail shows, if it says so."""
    with open(path, "rb") as file:
        if file.read(len(_SIGNATURE)) != _SIGNATURE:
            return None
        uri = next((text.removeprefix(_KEY) for text in _texts(file) if text.startswith(_KEY)), b"")
    return unquote_to_bytes(uri.removeprefix(_SCHEME)) if uri.startswith(_SCHEME) else None


def _texts(file: BinaryIO) -> Iterator[bytes]:
    """The bodies of the text chunks of a PNG, up to its end or where it is cut off."""
    while len(head := file.read(_CHUNK.size)) == _CHUNK.size:
        size, kind = _CHUNK.unpack(head)
        if kind == b"tEXt" and size <= _LONGEST_TEXT:
            yield file.read(size)
            file.seek(4, os.SEEK_CUR)
        else:
            file.seek(size + 4, os.SEEK_CUR)
