"""A vault with every kind of file in it, and what each of them holds."""

import random
import stat
from pathlib import Path
from typing import NamedTuple

from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions, Vault

CHUNK = 32768
SEGMENT = 1024 * CHUNK
KEYS = VaultKeys.from_master(b"v" * 16, b"m" * 32)
OTHER_KEYS = VaultKeys.from_master(b"o" * 16, b"n" * 32)
# A small directory gets its delta object early.
SETTINGS = Settings(
    delta_minimum=6000, ballast_size=0, journal_preallocation=65536, checkpoint_age=1e9, inline_data=40
)  # fmt: skip
OPTIONS = OpenOptions(chunk_size=CHUNK, settings=SETTINGS)

INDEXED_SEGMENTS = 18
"""More segments than a directory entry refers to itself, so that the map has an inner node."""


class Content(NamedTuple):
    """What one path must hold: type bits, and a file's pieces by offset, a link's target, or nothing."""

    kind: int
    size: int = 0
    pieces: tuple[tuple[int, bytes], ...] = ()

    def read(self, offset: int, size: int) -> bytes:
        """The bytes of a file as they should be."""
        out = bytearray(max(min(size, self.size - offset), 0))
        for start, data in self.pieces:
            low, high = max(start, offset), min(start + len(data), offset + len(out))
            if low < high:
                out[low - offset : high - offset] = data[low - start : high - start]
        return bytes(out)


Model = dict[bytes, Content]


class Builder:
    """Fills a vault and keeps the model of it."""

    def __init__(self, inline: Inline, model: Model, seed: int) -> None:
        self.inline = inline
        self.model = model
        self._random = random.Random(seed)

    def make(self, path: bytes, mode: int, **more: int | bytes) -> Inode:
        """A new inode; its directory must be there."""
        folder, _, name = path.rpartition(b"/")
        parent = self.inline.walk(folder).id
        inode = self.inline.create_inode(parent, name, mode, **more)  # type: ignore[arg-type]
        self.model[path] = Content(stat.S_IFMT(mode))
        return inode

    def folder(self, path: bytes) -> None:
        self.make(path, stat.S_IFDIR | 0o755)

    def file(self, path: bytes, *pieces: tuple[int, int]) -> Inode:
        """A file with random bytes in each (offset, size)."""
        inode = self.make(path, stat.S_IFREG | 0o640)
        written = tuple((offset, self._random.randbytes(size)) for offset, size in pieces)
        for offset, data in written:
            for start in range(0, len(data), 1 << 20):
                self.inline.write(inode.id, offset + start, data[start : start + (1 << 20)])
        size = max((offset + len(data) for offset, data in written), default=0)
        self.model[path] = Content(stat.S_IFREG, size, written)
        return inode


def fill(inline: Inline, seed: int = 1) -> Model:
    """Make one of everything."""
    model: Model = {}
    build = Builder(inline, model, seed)
    build.folder(b"docs")
    build.folder(b"docs/deep")
    build.folder(b"docs/deep/deeper")
    build.file(b"empty")
    build.file(b"tiny", (0, 30))
    build.file(b"small", (0, 100))
    build.file(b"docs/inline", (0, 5 * CHUNK + 17))
    build.file(b"docs/leafy", (0, 40 * CHUNK))
    build.file(b"docs/deep/two segments", (SEGMENT - 2 * CHUNK, 5 * CHUNK))
    build.file(b"docs/deep/indexed", *((number * SEGMENT + 5, 3000) for number in range(INDEXED_SEGMENTS)))
    build.file(b"docs/deep/deeper/\xff\xfe not utf-8\n\x1b[31m", (0, 50_000))
    target = build.make(b"link", stat.S_IFLNK | 0o777, target=b"docs/inline")
    build.make(b"pipe", stat.S_IFIFO | 0o600)
    build.make(b"device", stat.S_IFCHR | 0o600, rdev=0x105)
    hard = build.file(b"hard 1", (0, 2 * CHUNK))
    inline.link(hard.id, inline.walk(b"docs").id, b"hard 2")
    model[b"docs/hard 2"] = model[b"hard 1"]
    inline.setxattr(hard.id, b"user.colour", b"blue" * 50)
    inline.setxattr(target.id, b"trusted.x", b"1")
    build.folder(b"many")
    for number in range(60):
        build.file(b"many/%03d" % number, (0, 50 + number))
    inline.vault.checkpoint()
    # A second change makes the delta object of the big directory.
    build.file(b"many/later", (0, 70))
    inline.vault.checkpoint()
    return model


def make_store(path: Path, keys: VaultKeys = KEYS, seed: int = 1) -> Model:
    """A new vault without a header in a new folder, everything committed and clean."""
    path.mkdir()
    with DirectoryStore(path, write=True) as store:
        Vault.create(store, keys, chunk_size=CHUNK)
        vault = Vault.open(store, keys, OPTIONS)
        model = fill(Inline(vault), seed)
        vault.close()
    return model


def verify(inline: Inline, path: bytes, content: Content) -> None:
    """Read one path whole and compare; raises what reading raises, AssertionError for a wrong byte."""
    inode = inline.walk(path)
    assert stat.S_IFMT(inode.mode) == content.kind
    if not stat.S_ISREG(inode.mode):
        return
    assert inode.size == content.size
    step = 1 << 20
    wanted = {0} | {start // step * step for start, _ in content.pieces}
    wanted |= {(start + len(data)) // step * step for start, data in content.pieces}
    for offset in sorted(wanted):
        assert inline.read(inode.id, offset, step) == content.read(offset, step)


