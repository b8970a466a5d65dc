"""The attacks: each changes the stored files of a copy of a vault in one way, as an enemy or a bad disk would."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.tamper.world import Locator, Region, World
from vaultfs.format.constants import OBJECT_HEADER_SIZE

ALL = b"*"
"""Stands for any path at all among those an attack may hit."""


class Attack(NamedTuple):
    """`run` gets a fresh copy of the vault in the state `base`; `hits` are the paths it may cost.

    `refuses`: not opening at all without explicit consent is right. `cuts_journal`: nothing in the store can tell the
    attack from a power cut before the last fsync, so what only the journal had may be as it was before.
    """

    row: str
    target: str
    base: str
    run: Callable[[Path, World], None]
    hits: tuple[bytes, ...] = ()
    refuses: bool = False
    cuts_journal: bool = False

    @property
    def name(self) -> str:
        """For people and pytest."""
        return f"{self.row}: {self.target}"


Find = Callable[[Locator, Path], Region]


def _chunk(path: bytes, number: int) -> Find:
    return lambda locator, store: locator.chunk(path, number)


def _directory(path: bytes, part: int) -> Find:
    return lambda locator, store: locator.directory(path)[part]


def _header_of(find: Find) -> Find:
    return lambda locator, store: Region(find(locator, store).stored, 0, OBJECT_HEADER_SIZE)


_LEAFY, _INDEXED, _INLINE, _SMALL, _TWO = (
    b"docs/leafy", b"docs/deep/indexed", b"docs/inline", b"small", b"docs/deep/two segments",
)  # fmt: skip
_DOCS = (b"docs",)

TARGETS: dict[str, tuple[Find, tuple[bytes, ...]]] = {
    "chunk of a small file": (_chunk(_SMALL, 0), (_SMALL,)),
    "first chunk": (_chunk(_INLINE, 0), (_INLINE,)),
    "last chunk": (_chunk(_LEAFY, -1), (_LEAFY,)),
    "chunk of a hard-linked file": (_chunk(b"hard 1", 1), (b"hard 1", b"docs/hard 2")),
    "chunk of a second segment": (_chunk(_TWO, -1), (_TWO,)),
    "map leaf": (lambda locator, store: locator.leaf(_LEAFY), (_LEAFY,)),
    "map inner node": (lambda locator, store: locator.index(_INDEXED), (_INDEXED,)),
    "directory": (_directory(b"many", 0), (b"many",)),
    "directory delta": (_directory(b"many", 1), (b"many",)),
    "directory above others": (_directory(b"docs", 0), _DOCS),
    "top directory": (_directory(b"", 0), (ALL,)),
}


def change(store: Path, region: Region, edit: Callable[[bytes], bytes]) -> None:
    """Replace the bytes of a region by as many others, or cut the file there if they are fewer."""
    path = store / region.stored
    data = path.read_bytes()
    new = edit(data[region.start : region.end])
    if len(new) < region.end - region.start:
        path.write_bytes(data[: region.start] + new)
    else:
        path.write_bytes(data[: region.start] + new + data[region.end :])


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 0x10,)) + data[middle + 1 :]


_EDITS: dict[str, Callable[[bytes], bytes]] = {
    "bit flip": _flip,
    "flipped first byte": lambda data: bytes((data[0] ^ 1,)) + data[1:],
    "flipped last byte": lambda data: data[:-1] + bytes((data[-1] ^ 128,)),
    "zeroed": lambda data: bytes(len(data)),
    "random bytes": lambda data: os.urandom(len(data)),
    "cut at its start": lambda data: b"",
    "cut inside": lambda data: data[: len(data) // 2],
}


def _edited(find: Find, edit: Callable[[bytes], bytes]) -> Callable[[Path, World], None]:
    def run(store: Path, world: World) -> None:
        change(store, located(store, find), edit)

    return run


def located(store: Path, find: Find) -> Region:
    """Where something is."""
    locator = Locator(store)
    try:
        return find(locator, store)
    finally:
        locator.close()


def _deleted(find: Find) -> Callable[[Path, World], None]:
    return lambda store, world: (store / located(store, find).stored).unlink()


def _emptied(find: Find) -> Callable[[Path, World], None]:
    return lambda store, world: os.truncate(store / located(store, find).stored, 0)


def _older(find: Find) -> Callable[[Path, World], None]:
    """The same stored file as the old vault has it; the old version of this object, or an older whole object."""

    def run(store: Path, world: World) -> None:
        stored = located(store, find).stored
        before = world.middle / stored
        if not before.exists():
            before = world.old / located(world.old, find).stored
        assert before.read_bytes() != (store / stored).read_bytes()
        shutil.copyfile(before, store / stored)

    return run


def _older_chunk(path: bytes) -> Callable[[Path, World], None]:
    """Where a slot was used before: its old bytes, whole and once valid."""

    def run(store: Path, world: World) -> None:
        now = located(store, _chunk(path, 0))
        old = (world.middle / now.stored).read_bytes()
        assert len(old) >= now.end
        assert old[now.start : now.end] != (store / now.stored).read_bytes()[now.start : now.end]
        with (store / now.stored).open("r+b") as file:
            file.seek(now.start)
            file.write(old[now.start : now.end])

    return run


def _swapped(one: Find, other: Find) -> Callable[[Path, World], None]:
    """Two regions of the same size exchanged."""

    def run(store: Path, world: World) -> None:
        first, second = located(store, one), located(store, other)
        data = [(store / region.stored).read_bytes()[region.start : region.end] for region in (first, second)]
        assert len(data[0]) == len(data[1])
        change(store, first, lambda _: data[1])
        change(store, second, lambda _: data[0])

    return run


def _exchanged(one: Find, other: Find) -> Callable[[Path, World], None]:
    """Two whole objects exchanged."""

    def run(store: Path, world: World) -> None:
        first, second = (store / located(store, find).stored for find in (one, other))
        spare = store / "spare"
        first.rename(spare)
        second.rename(first)
        spare.rename(second)

    return run


def _strangers(find: Find) -> Callable[[Path, World], None]:
    """An object of another vault under this one's name."""

    def run(store: Path, world: World) -> None:
        objects = sorted(path for path in (world.stranger / "objects").rglob("*") if path.is_file())
        target = store / located(store, find).stored
        size = target.stat().st_size
        shutil.copyfile(min(objects, key=lambda path: abs(path.stat().st_size - size)), target)

    return run


def _file(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path, World], None]:
    return lambda store, world: _rewrite(store / name, edit)


def _files(names: tuple[str, ...], act: Callable[[Path], object]) -> Callable[[Path, World], None]:
    def run(store: Path, world: World) -> None:
        for name in names:
            for path in store.glob(name):
                act(path)

    return run


def _from(which: str, names: tuple[str, ...]) -> Callable[[Path, World], None]:
    """Stored files replaced by those of another state or vault."""

    def run(store: Path, world: World) -> None:
        source: Path = getattr(world, which)
        for name in names:
            shutil.copyfile(source / name, store / name)

    return run


def _whole(which: str) -> Callable[[Path, World], None]:
    def run(store: Path, world: World) -> None:
        shutil.rmtree(store)
        shutil.copytree(getattr(world, which), store)

    return run


def _rewrite(path: Path, edit: Callable[[bytes], bytes]) -> None:
    path.write_bytes(edit(path.read_bytes()))


def _planted(store: Path, world: World) -> None:
    (store / "objects/ab" / ("c" * 30)).write_bytes(os.urandom(5000))
    shutil.copyfile(store / "root.0", store / "root.2")
    for path in [path for path in (store / "objects").rglob("*") if path.is_file()][:5]:
        shutil.copyfile(path, path.with_name(path.name[::-1]))


def _conflicting(suffix: str) -> Callable[[Path, World], None]:
    """A sync client's copy of an older version beside each newer object and root."""

    def run(store: Path, world: World) -> None:
        for path in sorted(world.old.rglob("*")):
            relative = path.relative_to(world.old)
            if path.is_file() and (store / relative).is_file() and path.parent.name != "journal":
                shutil.copyfile(path, store / relative.with_name(relative.name + suffix))

    return run


def _record(edit: Callable[[bytes], bytes]) -> Callable[[Path, World], None]:
    """Change the first half kilobyte of the journal's records."""

    def run(store: Path, world: World) -> None:
        for path in (store / "journal").iterdir():
            if path.name != "ballast" and path.stat().st_size:
                change(store, Region(f"journal/{path.name}", 256, 768), edit)

    return run


def _link_planted(find: Find) -> Callable[[Path, World], None]:
    def run(store: Path, world: World) -> None:
        path = store / located(store, find).stored
        path.unlink()
        path.symlink_to("/dev/zero")

    return run


def all_attacks() -> list[Attack]:
    """Every attack there is."""
    return [*_object_attacks(), *_exchange_attacks(), *_root_attacks(), *_journal_attacks(), *_store_attacks()]


def _object_attacks() -> list[Attack]:
    attacks = [
        Attack(row, target, "new", _edited(find, edit), hits)
        for target, (find, hits) in TARGETS.items()
        for row, edit in _EDITS.items()
    ]
    for target, (find, hits) in TARGETS.items():
        attacks += [
            Attack("deleted", f"object of the {target}", "new", _deleted(find), hits),
            Attack("cut to 0", f"object of the {target}", "new", _emptied(find), hits),
            Attack("from another vault", f"object of the {target}", "new", _strangers(find), hits),
            Attack("a symlink planted", f"object of the {target}", "new", _link_planted(find), hits),
            # Only salvage needs the header: everything stays readable, and the check finds it.
            Attack("bit flip", f"header of the {target}", "new", _edited(_header_of(find), _flip)),
        ]
    for target in ("chunk of a small file", "first chunk", "directory delta", "directory above others"):
        find, hits = TARGETS[target]
        attacks.append(Attack("older version", f"object of the {target}", "new", _older(find), hits))
    for path in (_SMALL, _INLINE, _LEAFY):
        attacks.append(Attack("older chunk replayed", path.decode(), "new", _older_chunk(path), (path,)))
    return attacks


def _exchange_attacks() -> list[Attack]:
    inline, leafy, many, small = _chunk(_INLINE, 1), _chunk(_LEAFY, 1), _chunk(b"many/007", 0), _chunk(b"many/008", 0)
    directory, other = _directory(b"docs/deep", 0), _directory(b"docs/deep/deeper", 0)
    return [
        Attack("swapped", "two chunks of one file", "new", _swapped(leafy, _chunk(_LEAFY, 7)), (_LEAFY,)),
        Attack("swapped", "chunks of two files", "new", _swapped(leafy, inline), (_LEAFY, _INLINE)),
        Attack("exchanged", "objects of two files", "new", _exchanged(leafy, inline), (_LEAFY, _INLINE)),
        Attack("exchanged", "two names in one directory", "new", _exchanged(many, small), (b"many/007", b"many/008")),
        Attack("exchanged", "objects of two directories", "new", _exchanged(directory, other), (b"docs/deep",)),
        Attack(
            "exchanged", "a file's object and a directory's", "new",
            _exchanged(inline, _directory(b"many", 0)), (_INLINE, b"many"),
        ),
        Attack(
            "exchanged", "two segments of one file", "new", _exchanged(_chunk(_TWO, 0), _chunk(_TWO, -1)), (_TWO,)
        ),
    ]  # fmt: skip


def _root_attacks() -> list[Attack]:
    both = ("root.0", "root.1")
    attacks: list[Attack] = []
    for row, edit in _EDITS.items():
        attacks.append(Attack(row, "one root", "new", _file("root.0", edit)))
        attacks.append(
            Attack(row, "both roots", "new", _files(both, lambda path, edit=edit: _rewrite(path, edit)), refuses=True)  # type: ignore[misc]
        )
    return [
        *attacks,
        Attack("deleted", "one root", "new", _files(("root.1",), os.unlink), refuses=True),
        Attack("deleted", "both roots", "new", _files(both, os.unlink), refuses=True),
        Attack("older version", "one root", "new", _from("old", ("root.0",))),
        Attack("older version", "both roots", "new", _from("old", both), (ALL,), refuses=True),
        Attack("from another vault", "one root", "new", _from("stranger", ("root.0",))),
        Attack("from another vault", "both roots", "new", _from("stranger", both), refuses=True),
    ]


def _journal_attacks() -> list[Attack]:
    def header(path: Path) -> None:
        _rewrite(path, lambda data: _flip(data[:64]) + data[64:])

    def zero(path: Path) -> None:
        _rewrite(path, lambda data: bytes(len(data)))

    files = {
        "bit flip": ("journal header", header),
        "deleted": ("journal", os.unlink),
        "cut to 0": ("journal", lambda path: os.truncate(path, 0)),
        "zeroed": ("journal", zero),
    }
    attacks = [
        Attack(row, target, "unclean", _files(("journal/0*",), act), (ALL,), refuses=True)
        for row, (target, act) in files.items()
    ]
    for row, edit in _EDITS.items():
        cuts = row.startswith("cut")
        attacks.append(Attack(row, "journal records", "unclean", _record(edit), (ALL,), not cuts, cuts))
    return attacks


def _store_attacks() -> list[Attack]:
    suffixes = {
        "Nextcloud": " (conflicted copy 2018-04-10 093612)",
        "Dropbox": " (Anna's conflicted copy 2024-01-02)",
        "Syncthing": ".sync-conflict-20240102-030405-ABCDEF7",
        "OneDrive": "-LAPTOP",
        "Google Drive": " (1)",
        "iCloud": " 2",
    }
    return [
        Attack("older version", "whole store", "new", _whole("old"), (ALL,), refuses=True),
        Attack("from another vault", "whole store", "new", _whole("stranger"), refuses=True),
        Attack("extra files planted", "store", "new", _planted),
        *(Attack("conflict copies", name, "new", _conflicting(suffix)) for name, suffix in suffixes.items()),
    ]
