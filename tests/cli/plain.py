"""A vault without a mount, as tests make and break it: by plain paths, closed or left to its journal."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from tests.cli.running import PASSWORD
from vaultfs.check.committed import CommittedTree, Place
from vaultfs.format.constants import OBJECT_HEADER_SIZE, ROOT_ID
from vaultfs.format.layout import object_path
from vaultfs.keys.header import Unlocked, unlock
from vaultfs.keys.headerfile import load
from vaultfs.sealing.entries import Entry, Part, decode_head
from vaultfs.sealing.frames import FrameCipher
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import OpenOptions, Vault


def unlocked(path: Path) -> Unlocked:
    with DirectoryStore(path, write=False) as store:
        return unlock(load(store).raw, PASSWORD.encode())


class Plain:
    """An open vault, by plain paths."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.inline = Inline(vault)

    def id(self, path: str) -> int:
        return self.inline.walk(path.encode()).id

    def place(self, path: str) -> tuple[int, bytes]:
        above, _, name = path.rpartition("/")
        return self.id(above), name.encode()

    def mkdir(self, *paths: str) -> None:
        for path in paths:
            self.inline.create_inode(*self.place(path), stat.S_IFDIR | 0o755)

    def put(self, path: str, data: bytes) -> None:
        self.inline.write(self.inline.create_inode(*self.place(path), stat.S_IFREG | 0o644).id, 0, data)

    def move(self, old: str, new: str) -> None:
        self.inline.rename(*self.place(old), *self.place(new), 0)

    def link(self, old: str, new: str) -> None:
        self.inline.link(self.id(old), *self.place(new))

    def commit(self) -> None:
        assert self.vault.checkpoint()


@contextlib.contextmanager
def opened(path: Path, *, killed: bool = False, accept_damage: bool = False) -> Iterator[Plain]:
    """The vault, closed behind the block; or left with everything synced, but only in the journal."""
    header = unlocked(path).header
    with DirectoryStore(path, write=True) as store:
        options = OpenOptions(
            chunk_size=header.chunk_size,
            header_epoch=header.epoch,
            inline_data=header.inline_data,
            accept_damage=accept_damage,
        )
        vault = Vault.open(store, unlocked(path).keys, options)
        yield Plain(vault)
        if killed:
            Inline(vault).fsync()
            vault._core.objects.handles.close()
            for journal in vault._core.journal._live:
                journal.file.close()
        else:
            vault.close()


@contextlib.contextmanager
def committed(path: Path) -> Iterator[CommittedTree]:
    with DirectoryStore(path, write=False) as store:
        tree = CommittedTree(store, unlocked(path).keys, unlocked(path).header.chunk_size)
        tree.open()
        yield tree
        tree.close()


def base_of(entry: Entry | None) -> Part:
    assert entry is not None
    return decode_head(entry.content).base


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def break_frame(path: Path, plain: str, number: int) -> None:
    """Flip a bit in one frame of a directory's object, counted from the first or, below zero, from the last."""
    with committed(path) as tree:
        entry = tree.find(Place(ROOT_ID, tuple(part.encode() for part in plain.split("/"))))
        part = base_of(entry)
        assert entry is not None
        context = tree.objects.context
        key = context.unwrap_file_key(entry.id, decode_head(entry.content).wrapped_key).key
        stored = (path / object_path(part.object)).read_bytes()[OBJECT_HEADER_SIZE:]
        ends = [0, *(end for end, *_ in FrameCipher(context, key, part.object).salvage(stored))]
    flip(path / object_path(part.object), OBJECT_HEADER_SIZE + ends[:-1][number] + 30)
