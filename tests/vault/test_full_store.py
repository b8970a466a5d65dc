"""A store another program filled to the last byte: what was accepted stays, in every order of events."""

import errno
import random
import stat

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.image import PAGE
from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, ROOT, open_inline
from tests.vault.walker import assert_clean
from vaultfs.errors import NoSpace
from vaultfs.format.constants import CHUNK_SIZE_DEFAULT
from vaultfs.format.layout import BALLAST_PATH
from vaultfs.sealing.entries import decode_head
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions, Vault

SIZE = 64 << 20
OPENING = OpenOptions(settings=Settings(checkpoint_age=1e9))


class Kept:
    """A vault in a store of 64 MiB, and what must be in it."""

    def __init__(self, opening: OpenOptions = OPENING) -> None:
        self._opening = opening
        self._taken = 0
        self._random = random.Random(1)
        self.contents: dict[bytes, bytes] = {}
        self.store = MemoryStore(capacity=SIZE)
        self.root_lost = Fault(errno.EIO, at=1 << 30, kinds=frozenset({"write"}), below="root")
        Vault.create(self.store, KEYS)
        self.vault = open_inline(FaultyStore(self.store, self.root_lost), opening)
        for number in range(40):
            self.write(b"file%d" % number, (100, 5000, 70_000)[number % 3])

    def write(self, name: bytes, size: int) -> None:
        data = self._random.randbytes(size)
        inode = self.vault.create_inode(ROOT, name, stat.S_IFREG | 0o600)
        self.contents[name] = b""
        self.vault.write(inode.id, 0, data)
        self.contents[name] = data
        self.vault.fsync()

    def delete(self, *names: bytes) -> None:
        for name in names:
            self.vault.unlink(ROOT, name)
            del self.contents[name]

    def fill(self, but: int = 0) -> None:
        """Another program takes all there is, but so many bytes."""
        self._take((self.store.space().available - but) // PAGE)

    def empty(self) -> None:
        """It lets go of it again."""
        self._take(-self._taken)

    def _take(self, pages: int) -> None:
        self._taken += pages
        self.store.take(pages)

    def _copy(self) -> MemoryStore:
        store = self.store.copy()
        store.take(self._taken)
        return store

    def fill_and_take_the_ballast(self) -> None:
        """The same, just after the ballast gave up its room."""
        assert self.vault.vault._core.make_room()
        self.fill()
        assert self.store.space().available == 0

    def reopen(self) -> None:
        """As after the process was killed."""
        self.store = self._copy()
        self.vault = open_inline(self.store, self._opening)

    def check(self) -> None:
        """Everything is there now, after a kill and after the next opening."""
        for store in (None, self._copy()):
            vault = self.vault if store is None else Inline(Vault.open(store, KEYS, self._opening))
            names = [name for name, _ in vault.list_directory(ROOT)]
            found = {name: vault.read(vault.lookup(ROOT, name).id, 0, 1 << 20) for name in names}
            assert found == self.contents
            if store is not None:
                vault.vault.close()
                assert_clean(store, CHUNK_SIZE_DEFAULT)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def use_up(kept: Kept, size: int) -> int:
    """Write files until the vault refuses; how many it took."""
    for number in range(10_000):
        try:
            kept.write(b"more%d" % number, size)
        except NoSpace:
            return number
    raise AssertionError("the store has no end")


@pytest.mark.parametrize("size", [30_000, 200_000])
def test_a_store_is_not_full_as_long_as_only_what_waits_takes_its_room(size: int) -> None:
    """Each changed file was counted with a node of its map: a disk was full with two thirds of it free."""
    kept = Kept()
    before = kept.store.space().available
    taken = use_up(kept, size) * size
    assert taken > before * 2 // 5
    kept.delete(*(b"more%d" % number for number in range(taken // size // 2)))
    assert kept.vault.vault.checkpoint()
    assert kept.vault.vault.checkpoint()
    kept.write(b"afterwards", 1 << 20)
    kept.check()


def test_a_store_with_little_room_left_counts_what_waits(kept: Kept) -> None:
    """Otherwise who deletes in it could be told that there is no room for that."""
    kept.fill(but=12 << 20)
    checkpoints = kept.vault.vault._core.objects.generation
    assert use_up(kept, 30_000) > 0
    assert kept.vault.vault._core.objects.generation == checkpoints
    kept.empty()
    kept.check()


@pytest.mark.expects_log("ballast was released")
def test_what_the_ballast_gave_up_is_not_for_new_content(kept: Kept) -> None:
    kept.fill()
    use_up(kept, 70_000)
    kept.vault.vault._core.make_room()
    assert not kept.store.exists(BALLAST_PATH)
    assert kept.store.space().available >= 4 << 20
    assert kept.vault.statfs().blocks_available * 4096 < 70_000
    assert use_up(kept, 70_000) == 0
    kept.delete(b"file0", b"file1", b"file2")
    kept.check()


@pytest.mark.expects_log("ballast was released")
def test_the_ballast_comes_back_when_there_is_room(kept: Kept) -> None:
    kept.fill()
    kept.vault.vault._core.make_room()
    assert kept.vault.vault.checkpoint()
    assert not kept.store.exists(BALLAST_PATH)
    assert use_up(kept, 70_000) == 0
    kept.empty()
    kept.write(b"again", 70_000)
    assert kept.vault.vault.checkpoint()
    assert kept.store.exists(BALLAST_PATH)
    kept.check()


def test_a_small_store_has_a_small_ballast() -> None:
    store = MemoryStore(capacity=8 << 20)
    Vault.create(store, KEYS)
    vault = open_inline(store, OPENING)
    assert 0 < store.open(BALLAST_PATH).size() <= 512 << 10
    inode = vault.create_inode(ROOT, b"file", stat.S_IFREG | 0o600)
    vault.write(inode.id, 0, bytes(4 << 20))
    vault.vault.close()
    assert_clean(store, CHUNK_SIZE_DEFAULT)


@pytest.mark.expects_log("ballast was released")
def test_a_kill_without_a_free_byte_is_recovered_in_the_journals_free_end(kept: Kept) -> None:
    kept.fill_and_take_the_ballast()
    kept.delete(*(b"file%d" % number for number in range(5)))
    kept.reopen()
    kept.check()
    kept.empty()
    kept.write(b"afterwards", 1 << 20)
    kept.check()


@pytest.mark.expects_log("ballast was released")
def test_a_vault_without_a_free_byte_is_closed_in_the_journals_free_end(kept: Kept) -> None:
    kept.fill_and_take_the_ballast()
    kept.delete(*(b"file%d" % number for number in range(5)))
    kept.vault.vault.close()
    assert_clean(kept.store, CHUNK_SIZE_DEFAULT)
    kept.reopen()
    kept.check()


@pytest.mark.expects_log("ballast was released|a checkpoint found the store full")
@pytest.mark.parametrize(("pages", "what"), [(0, "for a new journal"), (8, "to write what was recovered")])
def test_a_store_without_room_to_be_opened_in_says_so_and_loses_nothing(pages: int, what: str) -> None:
    settings = Settings(checkpoint_age=1e9, journal_preallocation=0)
    kept = Kept(OpenOptions(settings=settings))
    kept.write(b"waits", 60_000)
    assert kept.vault.vault._core.make_room()
    kept.fill(but=pages * PAGE)
    with pytest.raises(NoSpace, match=f"no room {what}: make some in the store"):
        kept.reopen()
    as_it_is = Inline(Vault.open(kept.store.copy(writable=False), KEYS, OpenOptions(read_only=True)))
    assert as_it_is.read(as_it_is.walk(b"waits").id, 0, 60_000) == kept.contents[b"waits"]
    kept.empty()
    kept.reopen()
    kept.check()


def test_a_directory_far_above_that_is_due_to_be_rewritten_counts() -> None:
    settings = Settings(checkpoint_age=1e9, journal_preallocation=0, ballast_size=0, delta_minimum=4096)
    kept = Kept(OpenOptions(settings=settings))
    vault = kept.vault
    above = vault.create_inode(ROOT, b"above", stat.S_IFDIR | 0o700).id
    for number in range(1000):
        vault.create_inode(above, b"%d" % number, stat.S_IFLNK | 0o777, target=b"x" * 200)
    folder = vault.create_inode(above, b"folder", stat.S_IFDIR | 0o700).id
    file = vault.create_inode(folder, b"file", stat.S_IFREG | 0o600).id
    assert vault.vault.checkpoint()
    live = decode_head(vault.getattr(above).content).live
    assert live > 250_000
    reserved = []
    for number in range(220):
        vault.write(file, 0, b"a change")
        reserved.append(kept.vault.vault._core.space._reserved())
        vault.setattr(vault.lookup(above, b"%d" % number).id, SetAttr(mtime=5))
        assert vault.vault.checkpoint()
    assert max(reserved) - min(reserved) >= live, "its delta was full at some time"
    assert sum(each - min(reserved) >= live for each in reserved) < 20


@pytest.mark.expects_log("root could not be written")
def test_a_kill_in_a_checkpoint_leaves_room_for_recovery() -> None:
    """What the checkpoint had written goes before it is written again: there is no room for both."""
    kept = Kept(OpenOptions(settings=Settings(checkpoint_age=1e9, journal_preallocation=0, ballast_size=0)))
    for number in range(100):
        kept.write(b"late%d" % number, 20_000)
    before = kept.store.space().available
    kept.root_lost.at = kept.root_lost.seen
    assert not kept.vault.vault.checkpoint()
    written = before - kept.store.space().available
    assert written > 1 << 20
    kept.fill(but=written // 4)
    kept.reopen()
    kept.check()


@pytest.mark.expects_log("ballast was released")
def test_a_session_in_a_store_without_a_free_byte_can_begin_with_a_deletion(kept: Kept) -> None:
    kept.vault.vault.close()
    kept.vault = open_inline(kept.store, OPENING)
    kept.fill()
    assert kept.store.names("journal") == ["ballast"], "there is a journal to write to"
    kept.delete(b"file0", b"file1")
    kept.check()


def test_a_log_is_emptied_on_a_full_disk() -> None:
    """`: > big.log` gives room back, as deleting it does."""
    kept = Kept()
    kept.write(b"big.log", 8 << 20)
    assert kept.vault.vault.checkpoint()
    kept.fill(but=8 * PAGE)
    inode = kept.vault.walk(b"big.log").id
    kept.vault.vault.remember(inode)
    kept.vault.vault._core.space._refreshed = 0.0  # what it looks at only once a second
    with pytest.raises(NoSpace):
        kept.vault.setattr(inode, SetAttr(size=9 << 20))
    kept.vault.setattr(inode, SetAttr(size=0))
    kept.contents[b"big.log"] = b""
    kept.vault.fsync()
    assert kept.vault.vault.checkpoint()
    kept.vault.write(inode, 0, b"new")
    kept.contents[b"big.log"] = b"new"
    kept.vault.fsync()
    kept.check()
