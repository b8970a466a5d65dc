"""An import that was cut short: nothing that looks whole is half, and the next import goes on where it was."""

import errno
import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD
from tests.support.crashstore import CrashSimulator, crash_states
from tests.support.faultystore import Fault, FaultyStore
from tests.support.recordingstore import RecordingStore
from tests.vault.harness import ROOT, new_store, open_inline, small_limits
from vaultfs.cli import importing
from vaultfs.cli.importing import HALF, Comparison, Importer
from vaultfs.cli.lookahead import Lookahead
from vaultfs.cli.sourcefile import SourceFile
from vaultfs.errors import Exists, NoSpace
from vaultfs.store.api import Store
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr

OLD = 1_600_000_000_000_000_000
LARGE = 2048


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(importing, "_LARGE", LARGE)
    with small_limits():
        yield


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A bit of everything, all of it older than any copy."""
    top = tmp_path / "source"
    (top / "folder").mkdir(parents=True)
    rng = random.Random(1)
    for name, size in (("a", 100), ("empty", 0), ("folder/small", 700), ("folder/large", 6000), ("z", 1500)):
        (top / name).write_bytes(rng.randbytes(size))
    (top / "folder" / "private").write_bytes(b"mode as while it is copied")
    (top / "folder" / "private").chmod(0o600)
    os.setxattr(top / "folder" / "small", "user.note", b"value")
    os.link(top / "folder" / "large", top / "linked")
    os.symlink("a", top / "link")
    os.mkfifo(top / "pipe")
    (top / "hole").touch()
    (top / "sparse").write_bytes(rng.randbytes(5000))
    for name in ("hole", "sparse"):
        os.truncate(top / name, 1 << 16)
    for path in (*top.rglob("*"), top):
        os.utime(path, ns=(OLD, OLD), follow_symlinks=False)
    return top


def import_into(store: Store, source: Path) -> tuple[Inline, Importer]:
    vault = open_inline(store)
    importer = Importer(vault.vault, lambda done: None, lambda: None)
    importer.run(str(source), vault.getattr(ROOT))
    return vault, importer


def differences(vault: Inline, source: Path) -> list[str]:
    """How the vault is not the same as the source, which has to be all it has."""
    with Lookahead(vault.vault.contents_ahead) as lookahead:
        comparison = Comparison(vault, lookahead, lambda done: None, lambda: None)
        comparison.run(str(source), vault.getattr(ROOT))
    more = sorted(set(names_in(vault)) - {os.fsencode(path.relative_to(source)) for path in source.rglob("*")})
    return comparison.differences + [f"{name!r} is there as well" for name in more]


def names_in(vault: Inline, path: bytes = b"") -> Iterator[bytes]:
    for name, _ in vault.list_directory(vault.walk(path).id):
        below = path + b"/" + name if path else name
        yield below
        if stat.S_ISDIR(vault.walk(below).mode):
            yield from names_in(vault, below)


def test_an_import_that_is_repeated_finds_all_there(source: Path) -> None:
    store = new_store()
    vault, first = import_into(store, source)
    vault.vault.close()
    vault, second = import_into(store, source)
    assert (first.left, second.left, second.copied) == (0, 12, 0)
    assert differences(vault, source) == []
    assert vault.walk(b"linked").id == vault.walk(b"folder/large").id


def test_after_a_power_cut_the_next_import_goes_on(source: Path) -> None:
    """What is not whole is the beginning of its source, and short, or has not its time yet; and then it is whole."""
    recording = RecordingStore(new_store())
    import_into(recording, source)[0].vault.close()
    simulator = CrashSimulator(recording.log)
    rng = random.Random(2)
    parts = 0
    for position in range(len(recording.log) + 1):
        if rng.random() > 0.3:
            continue
        for store in crash_states(simulator, position, rng=rng, limit=8):
            vault = open_inline(store)
            there = list(names_in(vault))
            for path in source.rglob("*"):
                name = os.fsencode(path.relative_to(source))
                if not path.is_symlink() and path.is_file() and name in there:
                    inode, data = vault.walk(name), path.read_bytes()
                    found = vault.read(inode.id, 0, inode.size)
                    assert data.startswith(found), f"{store.description}: {name!r}"
                    assert found == data or inode.mtime != OLD or inode.size < len(data), store.description
                    parts += found != data
            vault.vault.close()
            vault, _ = import_into(store, source)
            assert differences(vault, source) == [], store.description
    assert parts


@pytest.mark.expects_log("recovery stops before a rename")
def test_what_is_copied_again_is_there_all_the_time(tmp_path: Path) -> None:
    """It was removed first: a power cut, or the end of the source's disk, then left nothing."""
    source = tmp_path / "short"
    source.mkdir()
    whole = random.Random(4).randbytes(5000)
    (source / "file").write_bytes(whole)
    os.utime(source / "file", ns=(OLD, OLD))
    store = new_store()
    vault = open_inline(store)
    put(vault, b"file", whole[:3000])
    vault.vault.close()
    recording = RecordingStore(store)
    import_into(recording, source)[0].vault.close()
    simulator = CrashSimulator(recording.log)
    found: set[int] = set()
    for position in range(len(recording.log) + 1):
        for state in crash_states(simulator, position, rng=random.Random(position), limit=8):
            again = open_inline(state)
            inode = again.walk(b"file")
            assert again.read(inode.id, 0, 9000) in (whole[:3000], whole), state.description
            found.add(inode.size)
    assert found == {3000, 5000}


def put(vault: Inline, name: bytes, data: bytes, mode: int = 0o600) -> int:
    inode_id = vault.create_inode(ROOT, name, stat.S_IFREG | mode).id
    vault.write(inode_id, 0, data)
    return inode_id


@pytest.mark.parametrize(
    ("data", "change"),
    [
        (b"other", SetAttr()),
        (b"private and longer", SetAttr()),
        (b"priv", SetAttr(mode=0o644)),
        (b"priv", SetAttr(atime=5)),
        (b"PRIVATE", SetAttr(mode=0o644, mtime=OLD, atime=OLD)),
        (b"PRIV", SetAttr(mode=0o600, mtime=OLD, atime=OLD)),
    ],
    ids=["other bytes", "more bytes", "another mode", "its own time", "the mode differs", "shorter and other bytes"],
)
def test_what_may_be_a_users_own_is_not_touched(source: Path, data: bytes, change: SetAttr) -> None:
    (source / "a").write_bytes(b"private")
    (source / "a").chmod(0o600)
    os.utime(source / "a", ns=(OLD, OLD))
    store = new_store()
    vault = open_inline(store)
    inode_id = put(vault, b"a", data)
    if change != SetAttr():
        vault.setattr(inode_id, change)
    vault.vault.close()
    vault, importer = import_into(store, source)
    assert [sentence[:48] for sentence in importer.changed] == ["/a is in the vault already, and not the same: it"]
    assert vault.walk(b"z").size == 1500, "what comes after it is there all the same"
    assert vault.read(vault.walk(b"a").id, 0, 100) == data


def test_an_attribute_that_the_source_does_not_have_is_not_thrown_away(source: Path) -> None:
    store = new_store()
    vault = open_inline(store)
    vault.setxattr(put(vault, b"a", b""), b"user.mine", b"value")
    vault.vault.close()
    vault, importer = import_into(store, source)
    assert importer.changed
    assert vault.getxattr(vault.walk(b"a").id, b"user.mine") == b"value"


def test_a_second_name_has_to_be_one_of_the_same_file(source: Path) -> None:
    store = new_store()
    vault = open_inline(store)
    put(vault, b"linked", (source / "linked").read_bytes(), 0o644)
    vault.setattr(vault.walk(b"linked").id, SetAttr(mtime=OLD, atime=OLD))
    vault.vault.close()
    _, importer = import_into(store, source)
    assert [sentence[:28] for sentence in importer.changed] == ["/linked is in the vault alre"]


def test_a_large_file_that_is_there_is_not_even_read(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "a").write_bytes(bytes(3 * LARGE))
    store = new_store()
    vault = open_inline(store)
    put(vault, b"a", b"another", 0o644)
    vault.vault.close()
    (source / "folder" / "large").unlink()
    (source / "linked").unlink()
    opened: list[bytes] = []
    enter = SourceFile.__enter__

    def entering(file: SourceFile) -> SourceFile:
        opened.append(file._source.name)
        return enter(file)

    monkeypatch.setattr(SourceFile, "__enter__", entering)
    _, importer = import_into(store, source)
    assert importer.changed
    assert opened
    assert b"a" not in opened


def test_what_a_source_calls_half_is_copied_like_all_else(source: Path) -> None:
    (source / "folder" / ".half-imported.large").write_bytes(b"h" * 3 * LARGE)
    vault, _ = import_into(new_store(), source)
    assert differences(vault, source) == []


def test_a_large_files_name_may_be_as_long_as_any(source: Path) -> None:
    for letter in "nm":
        (source / (letter * 255)).write_bytes(letter.encode() * LARGE)
    vault, _ = import_into(new_store(), source)
    assert differences(vault, source) == []


@pytest.mark.expects_log("full")
def test_a_full_store_leaves_no_half(source: Path) -> None:
    (source / "folder" / "large").write_bytes(random.Random(3).randbytes(100_000))
    store = FaultyStore(new_store())
    vault = open_inline(store)

    def fill(done: int) -> None:
        if done > 1000 and not store.faults:
            kinds = frozenset({"write", "allocate", "create"})
            store.faults.append(Fault(errno.ENOSPC, kinds=kinds, below="objects", lasting=True))

    with pytest.raises(NoSpace, match=r"/folder/.* could not be copied"):
        Importer(vault.vault, fill, lambda: None).run(str(source), vault.getattr(ROOT))
    store.faults.clear()
    assert not [name for name in names_in(vault) if HALF in name]
    importer = Importer(vault.vault, lambda done: None, lambda: None)
    importer.run(str(source), vault.getattr(ROOT))
    assert differences(vault, source) == []


def test_a_directory_cannot_be_what_has_its_name_in_the_vault(source: Path) -> None:
    store = new_store()
    vault = open_inline(store)
    put(vault, b"folder", b"a file")
    vault.vault.close()
    with pytest.raises(Exists, match="/folder is in the vault already, and is no directory"):
        import_into(store, source)


def test_a_part_that_nobody_will_finish_is_named(source: Path) -> None:
    (source / ".half-imported.theirs").write_bytes(b"a name like any other")
    store = new_store()
    vault = open_inline(store)
    put(vault, HALF + b"gone", b"part")
    put(vault, HALF + b"large", b"part")
    vault.vault.close()
    vault, importer = import_into(store, source)
    assert [sentence[:40] for sentence in importer.unfinished] == [
        "/.half-imported.gone is a part of a file",
        "/.half-imported.large is a part of a fil",
    ]
    assert HALF + b"gone" in names_in(vault)


KILLED = """
import os, signal
from vaultfs.vault.beside import CheckpointsBeside
CheckpointsBeside.keep_up = lambda self: self.checkpoint()
pread, reads = os.pread, []
def failing(fd, size, offset):
    if os.readlink(f"/proc/self/fd/{fd}").endswith("/big"):
        reads.append(offset)
        if len(reads) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    return pread(fd, size, offset)
os.pread = failing
"""


def test_what_a_killed_import_leaves_says_what_it_is(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    (source / "big").write_bytes(os.urandom(5 << 20))
    assert vaultfs("import", source, vault, stdin=PASSWORD, first=KILLED).code == -9
    listed = vaultfs("ls", vault, stdin=PASSWORD)
    assert listed.code == 0
    assert listed.out.split() == [".half-imported.big", "a"]
    done = vaultfs("import", source, vault, "--verify", stdin=PASSWORD)
    assert done.code == 0, done
    assert "14 entries, 1 of them there already," in done.out
    assert ".half" not in vaultfs("ls", vault, stdin=PASSWORD).out
