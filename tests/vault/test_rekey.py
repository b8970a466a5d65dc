"""A change of the master key: everything goes over, nothing is lost wherever it stops, nothing of before is left."""

import errno
import logging
import random
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.support.crashstore import CrashSimulator, crash_states
from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.harness import ROOT, SMALL_CHUNK, TINY, Snapshot, differences, small_limits, snapshot
from vaultfs.check.committed import CommittedTree
from vaultfs.check.rekeying import rekey_inline
from vaultfs.check.scan import Scan
from vaultfs.check.walker import Walker
from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.errors import Damaged, OpenError, VaultfsError
from vaultfs.format.constants import OBJECT_HEADER_SIZE
from vaultfs.format.layout import object_folders, object_name
from vaultfs.keys.header import Unlocked, create, serialise, unlock
from vaultfs.keys.headerfile import load, save
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.keys.rekey import begin, carry_over, finish
from vaultfs.keys.rootcopies import read_copies
from vaultfs.sealing.context import SealingContext
from vaultfs.sealing.entries import decode_head
from vaultfs.sealing.journal import open_journal_header
from vaultfs.sealing.maps import inline_data
from vaultfs.sealing.objects import open_object_header
from vaultfs.sealing.roots import open_root
from vaultfs.store.api import Store, read_file
from vaultfs.store.handles import HandleCache
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.objects import Objects
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions, Vault

PASSWORD = b"the password"
CHEAP = Scrypt(10, 8, 1)
CHUNK = SMALL_CHUNK


def quiet(what: str, done: int, total: int) -> None:
    """Progress nobody looks at."""


@pytest.fixture(autouse=True)
def _small_limits() -> Iterator[None]:
    with small_limits():
        yield


def opened(store: Store, made: Unlocked, settings: Settings = TINY) -> Inline:
    options = OpenOptions(chunk_size=CHUNK, header_epoch=made.header.epoch, settings=settings)
    return Inline(Vault.open(store, made.keys, options))


def put(store: Store, made: Unlocked, *, roots_too: bool = True) -> None:
    save(store, serialise(made.header, made.keys.header_mac_key), roots_too=roots_too)


def new_vault() -> tuple[MemoryStore, Unlocked]:
    """A vault with every kind of thing in it: hidden directories, holes, large files, an empty and a deep folder."""
    made = create(PASSWORD, kdf=CHEAP, chunk_size=65536, minimum=OPEN_FLOOR)
    made = made._replace(header=replace(made.header, chunk_size=65536))
    store = MemoryStore()
    Vault.create(store, made.keys, chunk_size=CHUNK)
    put(store, made)
    vault = opened(store, made)
    make = vault.create_inode
    folder = make(ROOT, b"folder", stat.S_IFDIR | 0o755).id
    deep = folder
    for name in (b"a", b"b", b"c"):
        deep = make(deep, name, stat.S_IFDIR | 0o750).id
    make(ROOT, b"empty", stat.S_IFDIR | 0o755)
    make(ROOT, b"link", stat.S_IFLNK | 0o777, target=b"folder/a")
    for place, name, size in (
        (ROOT, b"small", 300), (folder, b"two", 2 * CHUNK), (deep, b"large", 20 * CHUNK + 7), (deep, b"none", 0),
    ):  # fmt: skip
        inode = make(place, name, stat.S_IFREG | 0o644)
        vault.write(inode.id, 0, random.Random(size).randbytes(size))
    vault.link(vault.lookup(folder, b"two").id, deep, b"two again")
    for number in range(30):
        make(folder, b"file %d" % number, stat.S_IFREG | 0o600)
    vault.vault.checkpoint()
    vault.write(vault.lookup(folder, b"file 3").id, 10 * CHUNK, b"behind a hole")
    vault.vault.close()
    return store, made


def begun(store: Store, made: Unlocked) -> Unlocked:
    """Put the header of a change that begins in force."""
    started = begin(made)
    slot = carry_over(made.slot, PASSWORD, started, CHEAP, OPEN_FLOOR)
    started = started._replace(header=replace(started.header, slots=(slot,)), slot=slot)
    put(store, started)
    return started


def rekeyed(store: Store, made: Unlocked) -> Unlocked:
    """A whole change, from the header in front, in force or begun, to the last one."""
    started = made if made.header.previous else begun(store, made)
    vault = opened(store, started)
    rekey_inline(vault.vault, quiet)
    ended = started._replace(header=finish(started.header))
    put(store, ended, roots_too=False)
    vault.vault.close()
    return unlock(load(store).raw, PASSWORD)


def rekeyed_while_open(store: Store, made: Unlocked) -> None:
    """A whole change under a vault that is open, as in a mount: the header files come from somebody else."""
    vault = opened(store, made)
    started = begin(made)
    slot = carry_over(made.slot, PASSWORD, started, CHEAP, OPEN_FLOOR)
    started = started._replace(header=replace(started.header, slots=(slot,)), slot=slot)
    put(store, started, roots_too=False)
    assert vault.vault.change_keys(started.keys)
    rekey_inline(vault.vault, quiet)
    put(store, started._replace(header=finish(started.header)), roots_too=False)
    vault.vault.close()


def shown(store: Store, made: Unlocked) -> Snapshot:
    vault = opened(store, made)
    shot = snapshot(vault)
    vault.vault.close()
    return shot


def assert_nothing_opens(store: Store, keys: VaultKeys) -> None:
    """No root, journal, object header, wrapped key or entry of a store opens with these keys."""
    context = SealingContext(keys, CHUNK)
    for path in ("root.0", "root.1"):
        with pytest.raises(Damaged):
            open_root(context, read_file(store, path))
    for name in store.names("journal"):
        if name != "ballast":
            with pytest.raises(Damaged):
                open_journal_header(context, int(name, 16), read_file(store, f"journal/{name}"))
    for folder in object_folders():
        for name in store.names(folder):
            object_ = object_name(f"{folder}/{name}")
            assert object_ is not None
            with pytest.raises(Damaged):
                open_object_header(context, object_, read_file(store, f"{folder}/{name}")[:OBJECT_HEADER_SIZE])


def assert_all_under(store: Store, keys: VaultKeys, others: VaultKeys) -> int:
    """Every wrapped key in the tree is under `keys` alone; returns how many there are."""
    tree = CommittedTree(store, VaultKeys.from_master(keys.vault_id, bytes(32)), CHUNK)
    tree.objects.context = SealingContext(keys, CHUNK)
    tree.open()
    context, foreign = SealingContext(keys, CHUNK), SealingContext(others, CHUNK)
    problems: list[str] = []
    walker = Walker(tree, lambda finding: problems.append(str(finding)))
    seen = 0
    for _, entry in walker.walk():
        if entry.content and not (stat.S_ISREG(entry.mode) and inline_data(entry.content)):
            wrapped = entry.content[:48] if stat.S_ISDIR(entry.mode) else entry.content[1:49]
            context.unwrap_file_key(entry.id, wrapped)
            with pytest.raises(Damaged):
                foreign.unwrap_file_key(entry.id, wrapped)
            seen += 1
    assert problems == []
    tree.close()
    return seen


def alone(made: Unlocked) -> VaultKeys:
    return VaultKeys.from_master(made.header.vault_id, made.master)


def test_everything_is_there_and_nothing_opens_with_the_old_key() -> None:
    store, made = new_vault()
    before = shown(store, made)
    old_header = load(store).raw
    ended = rekeyed(store, made)
    assert ended.keys.previous is None
    assert ended.header.epoch == made.header.epoch + 2
    assert not differences(before, shown(store, ended))
    assert_nothing_opens(store, alone(made))
    assert assert_all_under(store, alone(ended), alone(made)) > 8
    # No copy of a header is left that has the old key in it.
    assert {raw for _, raw in read_copies(store)} == {load(store).raw}
    # The old header with the old password opens itself, and nothing behind it.
    save(store, old_header, roots_too=False)
    with pytest.raises(OpenError):
        opened(store, unlock(load(store).raw, PASSWORD))


def opens_whole(store: Store, made: Unlocked, before: Snapshot, *, finished: bool) -> None:
    """What a cut left opens with the password, has every byte, and goes on to the end, with nothing of before left."""
    found = unlock(load(store).raw, PASSWORD)
    if finished:
        assert found.keys.previous is None
    assert not differences(before, shown(store, found))
    if found.header.epoch == made.header.epoch or found.keys.previous is not None:
        found = rekeyed(store, found)
        assert not differences(before, shown(store, found))
    assert found.master != made.master
    assert_nothing_opens(store, alone(made))
    assert_all_under(store, alone(found), alone(made))


@pytest.mark.parametrize(
    ("change", "poor"),
    [(rekeyed, False), (rekeyed, True), (rekeyed_while_open, False)],
    ids=["journaling", "FAT", "while open"],
)
def test_a_power_cut_at_any_operation(change: Callable[[Store, Unlocked], object], *, poor: bool) -> None:
    """A sample of the operations, of the first and last ones more, where the headers change."""
    inner, made = new_vault()
    before = shown(inner, made)
    store = RecordingStore(inner)
    change(store, made)
    simulator, rng = CrashSimulator(store.log), random.Random(5)
    end = len(store.log)
    tried = 0
    for at in range(end + 1):
        if at not in (0, end) and rng.random() >= (0.5 if min(at, end - at) < 12 else 0.06):
            continue
        for state in crash_states(simulator, at, rng=rng, limit=8, poor=poor):
            opens_whole(state, made, before, finished=at == end)
            tried += 1
    print(f"{tried} power cuts over {end} operations")
    assert tried > 50


def test_a_power_cut_while_it_goes_on_after_one() -> None:
    """Interrupted half-way, gone on with, and interrupted again: still nothing is lost, and it comes to its end."""
    inner, made = new_vault()
    before = shown(inner, made)
    first = RecordingStore(inner)
    rekeyed(first, made)
    rng = random.Random(6)
    for at in (len(first.log) // 4, len(first.log) * 3 // 4):
        (half,) = list(crash_states(first.log, at, rng=rng, limit=8))[:1]
        found = unlock(load(half).raw, PASSWORD)
        second = RecordingStore(half)
        rekeyed(second, found)
        simulator, end = CrashSimulator(second.log), len(second.log)
        for later in sorted(rng.sample(range(end), 8)):
            for state in list(crash_states(simulator, later, rng=rng, limit=8))[:3]:
                opens_whole(state, made, before, finished=False)


FAULTS = [(at, kind) for at in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55) for kind in ("write", "sync", "create", "rename")]


@pytest.mark.parametrize(("at", "kind"), [*FAULTS, (0, "delete"), (1, "delete"), (0, "truncate"), (7, "sync_folder")])
def test_a_store_that_fails_once(at: int, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs it learns of it; what is in the store then opens, and the change goes on to its end."""
    caplog.set_level(logging.CRITICAL, "vaultfs.vault")
    inner, made = new_vault()
    before = shown(inner, made)
    fault = Fault(errno.EIO, at=at, kinds=frozenset({kind}))
    faulty = FaultyStore(inner, fault)
    try:
        found = rekeyed(faulty, made)
        assert found.keys.previous is None
    except (VaultfsError, OSError):
        assert fault.fired
    opens_whole(inner, made, before, finished=False)


def test_a_full_store_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs.vault")
    for at in range(1, 40, 3):
        inner, made = new_vault()
        before = shown(inner, made)
        started = begun(inner, made)
        fault = Fault(errno.ENOSPC, at=at, kinds=frozenset({"write", "create", "allocate"}), lasting=True)
        try:
            vault = opened(FaultyStore(inner, fault), started)
            rekey_inline(vault.vault, quiet)
        except (VaultfsError, OSError):
            assert fault.fired
        opens_whole(inner, made, before, finished=False)


def test_changes_on_the_way_go_to_the_new_key() -> None:
    """A vault in the middle of it is used like any other, and what is written there is out of the old key's reach."""
    store, made = new_vault()
    started = begun(store, made)
    vault = opened(store, started)
    folder = vault.lookup(ROOT, b"folder").id
    inode = vault.create_inode(folder, b"during", stat.S_IFREG | 0o600)
    vault.write(inode.id, 0, b"during" * 700)
    vault.setattr(vault.lookup(folder, b"file 3").id, SetAttr(mode=0o640))
    vault.rename(folder, b"a", ROOT, b"a")
    vault.vault.checkpoint()
    entry = vault.lookup(ROOT, b"folder")
    head = decode_head(entry.content)
    with pytest.raises(Damaged):
        SealingContext(alone(made), CHUNK).unwrap_file_key(entry.id, head.wrapped_key)
    # Not closed: the journal has more, for whoever opens it next.
    vault.write(inode.id, 5, b"journaled")
    before = snapshot(vault)
    assert not differences(before, shown(store, started))
    ended = rekeyed(store, started)
    assert not differences(before, shown(store, ended))
    assert_nothing_opens(store, alone(made))


def test_keys_change_under_an_open_vault() -> None:
    """As in a mount: what is in memory, journaled and half written goes on under the new key."""
    store, made = new_vault()
    vault = opened(store, made)
    folder = vault.lookup(ROOT, b"folder").id
    two, large = vault.lookup(folder, b"two").id, vault.create_inode(folder, b"fresh", stat.S_IFREG | 0o600).id
    vault.write(two, 100, b"before the change")
    vault.write(large, 0, b"f" * (9 * CHUNK))
    vault.fsync(large)
    job = vault.vault.begin_checkpoint()
    assert job is not None
    started = begin(made)
    slot = carry_over(made.slot, PASSWORD, started, CHEAP, OPEN_FLOOR)
    started = started._replace(header=replace(started.header, slots=(slot,)))
    put(store, started, roots_too=False)
    assert not vault.vault.change_keys(started.keys)
    job.run()
    assert job.finish()
    job.clean_up()
    vault.write(two, 200, b"still before")
    vault.unlink(folder, b"file 3")
    assert vault.vault.change_keys(started.keys)
    vault.write(two, 300, b"after the change")
    vault.write(large, 9 * CHUNK, b"g" * CHUNK)
    vault.fsync(two)
    before = snapshot(vault)
    assert not differences(before, shown(store.copy(), started))
    rekey_inline(vault.vault, quiet)
    assert not differences(before, snapshot(vault))
    vault.write(two, 400, b"in the end")
    put(store, started._replace(header=finish(started.header)), roots_too=False)
    before = snapshot(vault)
    crashed = store.copy()
    ended = unlock(load(crashed).raw, PASSWORD)
    assert ended.keys.previous is None
    assert not differences(before, shown(crashed, ended))
    vault.vault.close()
    assert not differences(before, shown(store, ended))
    for each in (store, crashed):
        assert_nothing_opens(each, alone(made))
        assert_all_under(each, alone(ended), alone(made))


def test_what_stays_in_memory_goes_over_again_and_again() -> None:
    """An open file's inode is read once and kept, while the master key changes three times under it."""
    store, made = new_vault()
    vault = opened(store, made)
    folder = vault.lookup(ROOT, b"folder").id
    kept = [vault.lookup(folder, name).id for name in (b"two", b"file 3", b"file 4")]
    kept.append(vault.walk(b"folder/a/b/c/large").id)
    for inode in kept:
        vault.open_inode(inode)
    now = made
    for round_ in range(3):
        started = begin(now)
        slot = carry_over(now.slot, PASSWORD, started, CHEAP, OPEN_FLOOR)
        started = started._replace(header=replace(started.header, slots=(slot,)), slot=slot)
        put(store, started, roots_too=False)
        assert vault.vault.change_keys(started.keys)
        if round_ == 1:
            vault.setattr(kept[1], SetAttr(mode=0o611))
        rekey_inline(vault.vault, quiet)
        put(store, started._replace(header=finish(started.header)), roots_too=False)
        now = unlock(load(store).raw, PASSWORD)
    # Changed only now: what is written must not be what was remembered from the first key.
    for inode in kept:
        vault.setattr(inode, SetAttr(mode=0o600))
    vault.write(kept[0], 10, b"changed")
    vault.vault.checkpoint()
    before = snapshot(vault)
    crashed = store.copy()
    vault.vault.close()
    ended = unlock(load(store).raw, PASSWORD)
    assert not differences(before, shown(crashed, ended))
    assert not differences(before, shown(store, ended))
    assert_nothing_opens(store, alone(made))
    assert_all_under(store, alone(ended), alone(made))


def test_salvage_reads_all_headers_on_the_way_and_after() -> None:
    store, made = new_vault()

    def broken(keys: VaultKeys) -> list[str]:
        handles = HandleCache(store, 16)
        scan = Scan(Objects(store, handles, SealingContext(keys, CHUNK)))
        scan.run(lambda done, total: None)
        handles.close()
        found = len(scan.directories) + len(scan.segments)
        assert found + len(scan.broken) > 8
        return scan.broken

    started = begun(store, made)
    vault = opened(store, started)
    for folder in object_folders()[::2]:
        vault.vault.renew_headers(folder)
    assert broken(started.keys) == []
    assert broken(alone(started)) != []
    rekey_inline(vault.vault, quiet)
    vault.vault.close()
    assert broken(alone(started)) == []


def test_a_torn_header_is_no_loss() -> None:
    """What the crash rule leaves out: a header that opens under neither key costs nothing but a repair."""
    store, made = new_vault()
    before = shown(store, made)
    folder = next(folder for folder in object_folders() if store.names(folder))
    path = f"{folder}/{store.names(folder)[0]}"
    file = store.open(path, write=True)
    file.write([bytes(40)], 30)
    file.close()
    ended = rekeyed(store, made)
    assert not differences(before, shown(store, ended))
    assert_nothing_opens(store, alone(made))
