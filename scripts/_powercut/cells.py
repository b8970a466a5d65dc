"""Content that says itself what it is: cells of 4 KiB that carry file, place and version, so nothing foreign passes."""

import struct
from hashlib import blake2b
from typing import NamedTuple

CELL = 4096
LEAST = 64
"""Bytes a cut cell at a file's end has at least, so that it can be told apart."""

_HEADER = struct.Struct("<4sQII")
_MAGIC = b"cell"


class Cell(NamedTuple):
    """What a stored cell holds: `length` bytes of a version, then zeros."""

    file: int
    number: int
    version: int
    length: int


def make_cell(file: int, number: int, version: int, size: int = CELL) -> bytes:
    """The first `size` bytes of a cell."""
    header = _HEADER.pack(_MAGIC, file, number, version)
    digest = blake2b(header).digest()
    return (header + digest * (-(-CELL // len(digest))))[:size]


def read_cell(data: bytes) -> Cell | None:
    """What a cell holds; None for zeros only. ValueError for what never was a cell."""
    if not data.strip(b"\0"):
        return None
    if len(data) < _HEADER.size:
        raise ValueError("too short to be a cell")
    magic, file, number, version = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("no cell, but foreign bytes")
    made = make_cell(file, number, version, len(data))
    if data == made:
        return Cell(file, number, version, len(data))
    length = next(index for index, (found, wanted) in enumerate(zip(data, made, strict=True)) if found != wanted)
    if data[length:].strip(b"\0"):
        raise ValueError(f"a cell of file {file} with foreign bytes from byte {length} on")
    return Cell(file, number, version, length)
