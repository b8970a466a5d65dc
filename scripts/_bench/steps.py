"""The microbenchmarks' operations, once on the library and once through a mount, each as a batch of equal ones."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vaultfs.vault.inline import Inline

_FILE = 0o100644
_ROOT = 1
_MIB = 1 << 20
_BATCH = 300
_LARGE = 64
_SIZES = {"4 KiB": 4096, "128 KiB": 128 << 10, "1 MiB": _MIB}


@dataclass(frozen=True, slots=True)
class Batch:
    """`count` operations of one kind, done by `run` after `prepare`."""

    name: str
    count: int
    run: Callable[[], None]
    prepare: Callable[[], None] = lambda: None


def on_core(vault: Inline) -> Iterator[Batch]:
    """The batches on the library, in an order in which each leaves what the next needs."""
    block = os.urandom(_MIB)
    folder = vault.create_inode(_ROOT, b"batch", 0o40755).id
    names = [b"file%d" % number for number in range(_BATCH)]
    ids: list[int] = []

    def each(operation: Callable[[int], object], count: int = _BATCH) -> Callable[[], None]:
        def run() -> None:
            for number in range(count):
                operation(number)

        return run

    def synced_write(number: int) -> None:
        vault.write(ids[0], number * 4096, block[:4096])
        vault.fsync(ids[0])

    def list_all() -> None:
        for name, _ in vault.list_directory(folder):
            vault.call(lambda name=name: vault.vault.readdir_entry(folder, name))  # type: ignore[misc]

    yield Batch("create", _BATCH, each(lambda n: ids.append(vault.create_inode(folder, names[n], _FILE).id)))
    yield Batch("write 4 KiB", _BATCH, each(lambda n: vault.write(ids[n], 0, block[:4096])))
    yield Batch("write 1 MiB", _LARGE, each(lambda n: vault.write(ids[0], n * _MIB, block), _LARGE))
    yield Batch("fsync of 4 KiB", _BATCH, each(synced_write))
    vault.vault.checkpoint()
    for title, size in _SIZES.items():
        count = min(_BATCH, _LARGE * _MIB // size)
        yield Batch(f"read {title}", count, each(lambda n, size=size: vault.read(ids[0], n * size, size), count))  # type: ignore[misc]
    yield Batch("lookup", _BATCH, each(lambda n: vault.lookup(folder, names[n])))
    yield Batch("lookup of nothing", _BATCH, each(lambda n: vault.vault.readdir_entry(folder, b"no%d" % n)))
    yield Batch("listing, per entry", _BATCH, list_all)
    yield Batch("rename", _BATCH, each(lambda n: vault.rename(folder, names[n], folder, b"new" + names[n])))
    yield Batch("unlink", _BATCH, each(lambda n: vault.unlink(folder, b"new" + names[n])))


class OnMount:
    """The same through the kernel; `forget_names` empties its cache of names, which needs root."""

    def __init__(self, root: Path, forget_names: Callable[[], None]) -> None:
        self._forget_names = forget_names
        self._block = os.urandom(_MIB)
        self._folder = root / "mounted"
        self._folder.mkdir()
        self._paths = [self._folder / f"file{number}" for number in range(_BATCH)]
        self._large = root / "large"

    def batches(self) -> Iterator[Batch]:
        """The batches, in an order in which each leaves what the next needs."""
        yield Batch("create", _BATCH, lambda: self._write_each(b""))
        yield Batch("write 4 KiB", _BATCH, lambda: self._write_each(self._block[:4096]))
        yield Batch("write 1 MiB", _LARGE, self._write_large)
        yield Batch("fsync of 4 KiB", _BATCH, self._write_and_sync)
        for title, size in _SIZES.items():
            count = min(_BATCH, _LARGE * _MIB // size)
            yield Batch(f"read {title}", count, partial(self._read_large, size, count), self._forget_pages)
        yield Batch("lookup", _BATCH, lambda: self._look_up("file"), self._forget_names)
        yield Batch("lookup of nothing", _BATCH, lambda: self._look_up("no"))
        yield Batch("listing, per entry", _BATCH, self._list, self._forget_names)
        yield Batch("rename", _BATCH, self._rename_each)
        yield Batch("unlink", _BATCH, self._unlink_each)

    def _write_each(self, data: bytes) -> None:
        for path in self._paths:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(fd, data)
            os.close(fd)

    def _write_large(self) -> None:
        fd = os.open(self._large, os.O_WRONLY | os.O_CREAT, 0o644)
        for _ in range(_LARGE):
            os.write(fd, self._block)
        os.fsync(fd)
        os.close(fd)

    def _write_and_sync(self) -> None:
        fd = os.open(self._paths[0], os.O_WRONLY)
        for number in range(_BATCH):
            os.pwrite(fd, self._block[:4096], number * 4096)
            os.fsync(fd)
        os.close(fd)

    def _read_large(self, size: int, count: int) -> None:
        fd = os.open(self._large, os.O_RDONLY)
        # Far from one another where they can be: a read-ahead would hide what a read costs.
        stride = _LARGE * _MIB // count
        for number in range(count):
            os.pread(fd, size, number * stride)
        os.close(fd)

    def _forget_pages(self) -> None:
        fd = os.open(self._large, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

    def _look_up(self, prefix: str) -> None:
        for number in range(_BATCH):
            os.path.lexists(self._folder / f"{prefix}{number}")

    def _list(self) -> None:
        for entry in os.scandir(self._folder):
            entry.stat()

    def _rename_each(self) -> None:
        for path in self._paths:
            os.rename(path, f"{path}.new")

    def _unlink_each(self) -> None:
        for path in self._paths:
            os.unlink(f"{path}.new")
