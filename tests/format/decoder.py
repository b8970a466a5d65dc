"""A second reader of vaultfs stores, written from FORMAT.md: it imports nothing of vaultfs.

Only the standard library and pycryptodome. It reads a whole store into memory, the journal replayed, and changes
nothing. Small and slow on purpose: it says what the format is, and the tests hold the library to it.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.format.decoder_crypto import TAG, VERSION, DecodeError, Keys, Reader, expand, first_of, open_gcm, u32
from tests.format.decoder_journal import Replay, read_records
from tests.format.decoder_tree import ROOT_ID, Node, Objects, Tree

__all__ = ["DecodeError", "Decoded", "Node", "decode"]


@dataclass
class Decoded:
    """A store as read: every path (`b""` is the top directory) with its inode, and how many records were applied."""

    paths: dict[bytes, Node]
    chunk_size: int
    generation: int
    applied: int

    def blocks(self, node: Node) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of everything a regular file holds that is no hole, cut at its end."""
        for chunk in sorted(node.chunks):
            offset = chunk * self.chunk_size
            yield offset, node.chunks[chunk][: max(node.size - offset, 0)]


@dataclass
class _Root:
    generation: int
    clean: bool
    epoch: int
    journal: tuple[int, bytes, int, bytes]
    tops: tuple[bytes, bytes, bytes]


def decode(store: Path, password: str) -> Decoded:
    """Read a whole store by a password of a scrypt slot; DecodeError unless everything verifies."""
    keys = Keys((store / "vaultfs.json").read_bytes(), password)
    root = _latest_root(store, keys)
    if keys.epoch < root.epoch:
        raise DecodeError("the header is older than the root")
    objects = Objects(store, keys)
    nodes = Tree(objects, *root.tops).nodes
    applied = 0
    if not root.clean:
        replay = Replay(objects, nodes, read_records(store, keys, *root.journal))
        replay.run()
        applied = replay.applied
    return Decoded(dict(_paths(nodes, ROOT_ID, b"")), keys.chunk_size, root.generation, applied)


def _latest_root(store: Path, keys: Keys) -> _Root:
    roots = []
    for slot in ("root.0", "root.1"):
        try:
            roots.append(_parse_root(keys, (store / slot).read_bytes()))
        except DecodeError:
            continue
    if not roots:
        raise DecodeError("no root verifies")
    return max(roots, key=lambda root: root.generation)


def _parse_root(keys: Keys, stored: bytes) -> _Root:
    outer = Reader(stored)
    (length,) = outer.fields("I")
    nonce, sealed = outer.take(12), outer.take(length)
    aad = b"R" + keys.vault_id + u32(length)
    plain = Reader(
        first_of(keys.metadata, lambda key: open_gcm(expand(key, b"vaultfs root"), nonce, sealed, aad))
    )
    version, clean, generation, epoch, _, _, _, number = plain.fields("HBQQQQQQ")
    if version != VERSION:
        raise DecodeError("another version")
    salt, (sequence,), tag = plain.take(16), plain.fields("Q"), plain.take(TAG)
    let_go, history, *sizes = plain.fields("IHIII")
    top, shared, orphans = (plain.take(size) for size in sizes)
    plain.take(let_go * 16 + history * 24)
    plain.end()
    return _Root(generation, bool(clean), epoch, (number, salt, sequence, tag), (top, shared, orphans))


def _paths(nodes: dict[int, Node], inode_id: int, path: bytes) -> Iterator[tuple[bytes, Node]]:
    node = nodes[inode_id]
    yield path, node
    if stat.S_ISDIR(node.mode):
        for name, child in node.names.items():
            yield from _paths(nodes, child, path + b"/" + name if path else name)
