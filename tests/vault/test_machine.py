"""Any sequence of operations, checkpoints, evictions and reopenings gives what a simple model of it gives."""

import stat
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.vault import model
from tests.vault.harness import (
    SMALL_CHUNK,
    differences,
    new_store,
    nothing_loaded_late,
    open_inline,
    options,
    small_limits,
    snapshot,
)
from tests.vault.model import Node
from tests.vault.walker import assert_clean
from vaultfs.errors import FilesystemError
from vaultfs.vault.checkpointing import CheckpointJob
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import SetAttr
from vaultfs.vault.waits import NeedCheckpoint, resolve

Result = TypeVar("Result")

CHUNK = SMALL_CHUNK
NAMES = st.sampled_from([b"a", b"b", b"c", b"d", b"\xff\xfe", b"n" * 255])
PICK = st.integers(0, 63)
KINDS = st.sampled_from(
    [stat.S_IFREG] * 6 + [stat.S_IFDIR] * 4 + [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK]
)
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o4755, 0o2755, 0o2644, 0o6777])
OFFSETS = st.one_of(
    st.integers(0, 3 * CHUNK),
    st.integers(0, 40).map(lambda chunk: chunk * CHUNK),
    st.integers(0, 40 * CHUNK),
)
SIZES = st.one_of(
    st.integers(0, 2 * CHUNK),
    st.integers(1, 9).map(lambda chunks: chunks * CHUNK),
    st.sampled_from([511, 512, 513, CHUNK - 1, CHUNK, CHUNK + 1]),
)
XATTRS = st.sampled_from([b"user.x", b"user.y", b"trusted.t", b"security.s"])


def pattern(seed: int, size: int) -> bytes:
    """Bytes that differ from one write to the next."""
    unit = seed.to_bytes(4, "little") + b"\xa5\x01" + bytes(range(1, 12))
    return (unit * (size // len(unit) + 1))[:size]


def outcome_of(operation: Callable[[], object]) -> tuple[object, FilesystemError | None]:
    """What an operation returned or raised."""
    try:
        return operation(), None
    except FilesystemError as refused:
        return None, refused


class Driven(Inline):
    """Brings a checkpoint under way to its end before it begins another."""

    def __init__(self, inline: Inline, end_job: Callable[[], None]) -> None:
        super().__init__(inline.vault)
        self._end_job = end_job

    def call(self, operation: Callable[[], Result]) -> Result:
        """As Inline does, with the machine's own checkpoint."""
        while True:
            try:
                return resolve(operation)
            except NeedCheckpoint:
                self._end_job()
                self.vault.checkpoint()


class VaultMachine(RuleBasedStateMachine):
    """Drives a vault and a model side by side; the model's nodes know their inode ids."""

    @initialize()
    def start(self) -> None:
        self.store = new_store()
        self.top = model.new_top()
        self.nodes = [self.top]
        self.seed = 0
        self.job: CheckpointJob | None = None
        self.job_state = ""
        self.holds = False
        self.reopen()

    def reopen(self) -> None:
        self.vault: Inline = Driven(open_inline(self.store), self.end_job)
        if self.holds:
            self.vault.vault.hold_changes()
        self.holds = not self.holds
        self.known: set[Node] = {self.top}

    # Picking

    def reached(self) -> list[Node]:
        """All nodes with a name, or held open."""
        self.nodes = [node for node in self.nodes if node.nlink or node.opens]
        return self.nodes

    def pick(self, number: int, wanted: Callable[[Node], bool] = lambda node: True) -> Node | None:
        found = [node for node in self.reached() if wanted(node)]
        return found[number % len(found)] if found else None

    def id_of(self, node: Node) -> int:
        """A node's inode id, looked up by path if the kernel would not know it."""
        if node not in self.known:
            directory, name = sorted(node.places, key=lambda place: (place[0].id, place[1]))[0]
            inode = self.vault.lookup(self.id_of(directory), name)
            assert inode.id == node.id
            self.remember(node)
        return node.id

    def remember(self, node: Node) -> None:
        self.vault.vault.remember(node.id)
        self.known.add(node)

    def both(self, live: Callable[[], object], expected: Callable[[], object]) -> tuple[object, bool]:
        """Do something to the vault and to the model; both must refuse it in the same way, or neither."""
        _, wanted = outcome_of(expected)
        result, error = outcome_of(live)
        assert (error and error.errno) == (wanted and wanted.errno), f"{error!r} instead of {wanted!r}"
        return result, error is None

    def check(self, node: Node) -> None:
        """One inode's attributes are the model's."""
        if not (node.nlink or node.opens):
            return
        inode = self.vault.getattr(self.id_of(node))
        seen = (inode.mode, inode.uid, inode.gid, inode.nlink, inode.rdev, inode.target, dict(inode.xattrs))
        assert seen == (node.mode, node.uid, node.gid, node.nlink, node.rdev, node.target, node.xattrs), node.id
        if not node.is_dir:
            assert inode.size == node.size

    # Names

    @rule(number=PICK, name=NAMES, kind=KINDS, mode=MODES, owner=st.integers(0, 2))
    def create(self, number: int, name: bytes, kind: int, mode: int, owner: int) -> None:
        parent = self.pick(number, lambda node: node.is_dir)
        assert parent is not None
        target = b"some/target" if kind == stat.S_IFLNK else b""
        rdev = 0x1234 if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        node = Node(0, kind | mode, owner, owner, rdev=rdev, target=target)
        parent_id = self.id_of(parent)
        inode, done = self.both(
            lambda: self.vault.create_inode(parent_id, name, kind | mode, owner, owner, rdev, target),
            lambda: model.create(parent, name, node),
        )
        if done:
            node.id = inode.id  # type: ignore[attr-defined]
            assert node.id not in {other.id for other in self.nodes}
            self.nodes.append(node)
            self.remember(node)
            self.check(node)
        self.check(parent)

    @rule(number=PICK, where=PICK, name=NAMES)
    def link(self, number: int, where: int, name: bytes) -> None:
        node, parent = self.pick(number), self.pick(where, lambda node: node.is_dir)
        assert node is not None and parent is not None
        node_id, parent_id = self.id_of(node), self.id_of(parent)
        self.both(
            lambda: self.vault.link(node_id, parent_id, name),
            lambda: model.link(node, parent, name),
        )
        self.check(node)

    @rule(number=PICK, name=NAMES)
    def unlink(self, number: int, name: bytes) -> None:
        parent = self.pick(number, lambda node: node.is_dir)
        assert parent is not None
        node = parent.children.get(name)
        parent_id = self.id_of(parent)
        self.both(lambda: self.vault.unlink(parent_id, name), lambda: model.unlink(parent, name))
        self.after_loss(node)
        self.check(parent)

    @rule(number=PICK, name=NAMES)
    def rmdir(self, number: int, name: bytes) -> None:
        parent = self.pick(number, lambda node: node.is_dir)
        assert parent is not None
        node = parent.children.get(name)
        parent_id = self.id_of(parent)
        self.both(lambda: self.vault.rmdir(parent_id, name), lambda: model.rmdir(parent, name))
        self.after_loss(node)
        self.check(parent)

    def after_loss(self, node: Node | None) -> None:
        if node is not None:
            self.check(node)
            if not node.nlink and not node.opens:
                self.known.discard(node)
                self.vault.vault.forget(node.id, 1 << 30)

    @rule(number=PICK, name=NAMES, where=PICK, new_name=NAMES, flags=st.sampled_from([0, 0, 0, 1, 2, 2, 4, 5]))
    def rename(self, number: int, name: bytes, where: int, new_name: bytes, flags: int) -> None:
        parent = self.pick(number, lambda node: node.is_dir and bool(node.children))
        target = self.pick(where, lambda node: node.is_dir)
        if parent is None or target is None:
            return
        if name not in parent.children:
            name = sorted(parent.children)[number % len(parent.children)]
        node, other = parent.children[name], target.children.get(new_name)
        parent_id, target_id = self.id_of(parent), self.id_of(target)
        _, done = self.both(
            lambda: self.vault.rename(parent_id, name, target_id, new_name, flags),
            lambda: model.rename(parent, name, target, new_name, flags),
        )
        if done and flags & model.WHITEOUT and node is not other:
            whiteout = Node(self.vault.lookup(parent_id, name).id, stat.S_IFCHR)
            model._attach(parent, name, whiteout)
            self.nodes.append(whiteout)
            self.remember(whiteout)
            self.check(whiteout)
        self.check(node)
        self.check(parent)
        self.check(target)
        self.after_loss(other)

    @rule(number=PICK)
    def list_directory(self, number: int) -> None:
        node = self.pick(number, lambda node: node.is_dir)
        assert node is not None
        listed = dict(self.vault.list_directory(self.id_of(node)))
        assert listed == {name: child.id for name, child in node.children.items()}

    # Content

    @rule(number=PICK, offset=OFFSETS, size=SIZES)
    def write(self, number: int, offset: int, size: int) -> None:
        node = self.pick(number, lambda node: node.is_file)
        if node is None:
            return
        self.seed += 1
        data = pattern(self.seed, size)
        assert self.vault.write(self.id_of(node), offset, data) == size
        model.write(node, offset, data)
        self.check(node)
        self.compare(node, max(offset - 700, 0), size + 1500)

    @rule(number=PICK, sizes=st.lists(SIZES, min_size=2, max_size=6))
    def append(self, number: int, sizes: list[int]) -> None:
        for size in sizes:
            node = self.pick(number, lambda node: node.is_file)
            if node is not None:
                self.write(number, len(node.data), size)

    @rule(number=PICK, step=st.integers(1, 6), size=st.sampled_from([3, 600, CHUNK]))
    def scatter(self, number: int, step: int, size: int) -> None:
        for place in range(6):
            self.write(number, place * step * CHUNK, size)

    @rule(number=PICK, size=st.one_of(OFFSETS, st.sampled_from([0, 1, CHUNK, 4 * CHUNK, 8 * CHUNK])))
    def truncate(self, number: int, size: int) -> None:
        node = self.pick(number, lambda node: node.is_file)
        if node is None:
            return
        self.vault.setattr(self.id_of(node), SetAttr(size=size))
        model.truncate(node, size)
        self.check(node)
        self.compare(node, max(size - 2 * CHUNK, 0), 3 * CHUNK)

    @rule(number=PICK, offset=OFFSETS, size=SIZES)
    def read(self, number: int, offset: int, size: int) -> None:
        node = self.pick(number, lambda node: node.is_file)
        if node is not None:
            self.compare(node, offset, size)

    def compare(self, node: Node, offset: int, size: int) -> None:
        seen = self.vault.read(self.id_of(node), offset, size)
        assert seen == bytes(node.data[offset : offset + size]), f"file {node.id} at {offset}"

    @rule(number=PICK, everything=st.booleans())
    def fsync(self, number: int, everything: bool) -> None:
        node = self.pick(number)
        assert node is not None
        self.vault.fsync(None if everything else self.id_of(node))

    # Attributes

    @rule(number=PICK, mode=MODES, uid=st.none() | st.integers(0, 3), time=st.none() | st.integers(-(2**70), 2**70))
    def setattr(self, number: int, mode: int, uid: int | None, time: int | None) -> None:
        node = self.pick(number)
        assert node is not None
        inode = self.vault.setattr(self.id_of(node), SetAttr(mode=mode, uid=uid, mtime=time))
        node.mode = stat.S_IFMT(node.mode) | mode
        node.uid = node.uid if uid is None else uid
        if time is not None:
            assert inode.mtime == max(-(2**63) + 1, min(time, 2**63 - 1))
        self.check(node)

    @rule(number=PICK, name=XATTRS, size=st.sampled_from([0, 1, 30, 3000]), flags=st.sampled_from([0, 0, 0, 1, 2]))
    def setxattr(self, number: int, name: bytes, size: int, flags: int) -> None:
        node = self.pick(number)
        assert node is not None
        self.seed += 1
        value = pattern(self.seed, size)
        node_id = self.id_of(node)
        self.both(
            lambda: self.vault.setxattr(node_id, name, value, flags),
            lambda: model.setxattr(node, name, value, flags),
        )
        self.check(node)
        assert self.vault.listxattr(node_id) == sorted(node.xattrs)

    @rule(number=PICK, name=XATTRS)
    def removexattr(self, number: int, name: bytes) -> None:
        node = self.pick(number)
        assert node is not None
        node_id = self.id_of(node)
        self.both(lambda: self.vault.removexattr(node_id, name), lambda: model.removexattr(node, name))
        self.check(node)

    # Handles

    @rule(number=PICK)
    def open(self, number: int) -> None:
        node = self.pick(number)
        if node is not None and node.nlink:
            self.vault.open_inode(self.id_of(node))
            node.opens += 1

    @rule(number=PICK)
    def release(self, number: int) -> None:
        node = self.pick(number, lambda node: node.opens > 0)
        if node is not None:
            self.vault.release(node.id)
            node.opens -= 1
            self.after_loss(node)

    # Time passing

    @rule()
    def checkpoint(self) -> None:
        self.end_job()
        assert self.vault.vault.checkpoint()

    @rule(number=PICK)
    def settle(self, number: int) -> None:
        """Whatever comes next, even the end of a file that is gone, begins a session of changes anew."""
        self.end_job()
        while not self.vault.vault.settle():
            self.vault.vault.checkpoint()
        assert not self.store.names("journal")
        if number % 2:
            self.release(number)

    @rule()
    def begin(self) -> None:
        if self.job is None:
            self.job = self.vault.vault.begin_checkpoint()
            self.job_state = "begun"

    @rule()
    def go_on(self) -> None:
        """The next step of a checkpoint that is under way."""
        if self.job is None:
            return
        if self.job_state == "begun":
            self.job.run()
            self.job_state = "run"
        elif self.job_state == "run":
            assert self.job.finish()
            self.job_state = "finished"
        else:
            self.job.clean_up()
            self.job = None

    def end_job(self) -> None:
        while self.job is not None:
            self.go_on()

    @rule()
    def evict(self) -> None:
        self.vault.vault.evict()

    @rule(number=PICK)
    def forget(self, number: int) -> None:
        """The kernel forgets a node and all below it."""
        top = self.pick(number)
        assert top is not None
        for node in list(self.known):
            if node is not self.top and node.nlink and not node.opens and self.is_forgotten(node, top):
                self.known.discard(node)
                self.vault.vault.forget(node.id, 1)
        self.vault.vault.evict()

    def is_forgotten(self, node: Node, top: Node) -> bool:
        if node is top:
            return not any(child in self.known for child in node.children.values()) or True
        return any(directory is top or self.is_forgotten(directory, top) for directory, _ in node.places)

    @rule()
    def close(self) -> None:
        self.end_job()
        self.vault.vault.close()
        for node in self.nodes:
            node.opens = 0
        self.reached()
        # Orphans of this session wait for the next opening.
        self.reopen()
        self.vault.vault.close()
        assert_clean(self.store)
        self.reopen()

    @rule()
    def crash(self) -> None:
        """The process is gone, all it wrote is there: everything is recovered."""
        self.vault.vault.write_out()
        before = snapshot(self.vault)
        self.store = self.store.copy()
        self.job = None
        for node in self.nodes:
            node.opens = 0
        self.reached()
        self.reopen()
        found = differences(before, snapshot(self.vault))
        assert not found, found

    # Everything

    @invariant()
    def writable(self) -> None:
        if hasattr(self, "vault"):
            assert not self.vault.vault.read_only, self.vault.vault.read_only_reason
            files = self.vault.statfs()
            assert files.files - files.files_free == len(self.reached()) + self.hidden(), "inode count"
            active = self.vault.vault._state.active
            values = chain.from_iterable(content.active.chunks.values() for content in active.contents.values())
            held = sum(len(value) for value in values if isinstance(value, bytearray))
            assert active.overlay_bytes == held, "bytes held in memory"

    def hidden(self) -> int:
        """Shards count as inodes too."""
        state = self.vault.vault._state
        return state.inode_count - len(self.reached()) if self.shards_exist() else 0

    def shards_exist(self) -> bool:
        state = self.vault.vault._state
        shared = state.directories.get(2)
        return bool(state.inode(2).content) or (shared is not None and shared.count > 0)

    def compare_all(self) -> None:
        shot = snapshot(self.vault)
        by_id = {node.id: node for node in self.reached() if node.nlink}
        assert shot.stats.keys() == by_id.keys()
        for inode_id, names in shot.names.items():
            assert names == {name: child.id for name, child in by_id[inode_id].children.items()}
        for inode_id, data in shot.contents.items():
            assert data == bytes(by_id[inode_id].data), f"file {inode_id}"

    def teardown(self) -> None:
        if not hasattr(self, "vault") or self.vault.vault.read_only:
            return
        self.compare_all()
        self.crash()
        self.compare_all()
        self.close()
        self.compare_all()


@pytest.fixture(autouse=True)
def _small_limits(request: pytest.FixtureRequest) -> Iterator[None]:
    with nothing_loaded_late():
        if "real_limits" in request.node.name:
            yield
            return
        with small_limits():
            yield


def run_machine(examples: int, steps: int) -> None:
    """Run the machine on so many examples of so many steps."""
    run_state_machine_as_test(
        VaultMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_sequence_of_operations_matches_the_model() -> None:
    run_machine(examples=60, steps=60)


@pytest.mark.parametrize("threaded", [False, True], ids=["in turn", "with a worker"])
@pytest.mark.parametrize("files_only", [False, True], ids=["everything", "contents"])
def test_long_random_walks(files_only: bool, threaded: bool) -> None:
    from tests.vault.walking import Walker

    seed = 0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    until = time.monotonic() + 6
    try:
        while time.monotonic() < until:
            walker = Walker(seed, files_only=files_only, threaded=threaded)
            try:
                walker.walk(100)
            except BaseException as error:
                error.add_note(f"seed {seed}, after {walker.log[-12:]}")
                raise
            seed += 1
    finally:
        sys.setswitchinterval(interval)
    assert seed > 5


def test_a_file_of_many_segments_with_the_real_limits() -> None:
    """Twenty segments of 1,024 chunks of 32 KiB, with almost nothing in them."""
    chunk = 32768
    store = new_store(chunk)
    opening = options(chunk)
    vault = open_inline(store, opening)
    inode = vault.create_inode(1, b"sparse", stat.S_IFREG | 0o600)
    places = [number * 1024 * chunk + number for number in range(20)]
    for place in places:
        vault.write(inode.id, place, b"here %d" % place)
    for _ in range(2):
        vault.vault.close()
        vault = open_inline(store, opening)
        inode = vault.walk(b"sparse")
        for place in places:
            assert vault.read(inode.id, place - 3, 40).strip(b"\0") == b"here %d" % place
        vault.setattr(inode.id, SetAttr(size=places[-1] + 2**30))
        vault.write(inode.id, places[3] + 5 * chunk, bytes([7]) * 3 * chunk)
    assert vault.read(inode.id, places[3] + 5 * chunk, 3 * chunk) == bytes([7]) * 3 * chunk
    vault.setattr(inode.id, SetAttr(size=100))
    vault.vault.close()
    assert_clean(store, chunk)
