"""Every single store operation fails once: the caller learns of it, and what was acknowledged before is there."""

import contextlib
import errno
import logging
import random
import stat
from collections.abc import Iterator

import pytest

from tests.support.crashstore import crash_states
from tests.support.faultystore import CHANGES, SYNCS, Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.support.recordingstore import RecordingStore
from tests.vault.crashing import CHUNK, Operation, Workload, judge, prepared_store, spelled
from tests.vault.harness import (
    KEYS,
    ROOT,
    differences,
    new_store,
    nothing_loaded_late,
    open_inline,
    options,
    put_file,
    small_limits,
    snapshot,
)
from tests.vault.walker import assert_clean
from vaultfs.errors import NoSpace, NotFound, ReadOnly, VaultfsError, WriteFailed
from vaultfs.vault.checkpoint import Checkpoint
from vaultfs.vault.inline import Inline
from vaultfs.vault.roots import RootSlots
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import Vault

OPERATIONS: list[Operation] = spelled(
    (
        "create", "write new", "fsync new", "patch", "fsync", "replace", "checkpoint", "big", "cut", "append", "link",
        "sync", "unlink", "checkpoint", "exchange", "empty", "behind end", "sync", "save", "sync",
    )
)  # fmt: skip


@pytest.fixture(autouse=True)
def _small_limits(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    # A vault that turns read-only says so; here that is the point.
    caplog.set_level(logging.CRITICAL, "vaultfs.vault")
    caplog.set_level(logging.CRITICAL, "vaultfs.recovery")
    with small_limits(), nothing_loaded_late():
        yield


@pytest.fixture(scope="module")
def template() -> MemoryStore:
    with small_limits():
        return prepared_store()


class Outcome:
    """What came of a workload with a fault: `workload` is None if the vault could not be opened."""

    def __init__(self, template: MemoryStore, fault: Fault, *, holding: bool = False) -> None:
        self.fault = fault
        self.recording = RecordingStore(template.copy())
        self.workload: Workload | None = None
        self.errors: list[Exception] = []
        self.closed = False
        try:
            self.workload = Workload(self.recording, over=FaultyStore(self.recording, fault))
            for operation in [("hold",), *OPERATIONS] if holding else OPERATIONS:
                self.workload.do(operation)
            self.errors += self.workload.refused
            self.read_only = self.workload.vault.vault.read_only
            self.shown = snapshot(self.workload.vault)
            self.workload.vault.vault.close()
            self.closed = not self.read_only
        except (VaultfsError, OSError) as error:
            if self.workload is not None and not isinstance(error, VaultfsError):
                raise
            self.errors.append(error)

    @property
    def what(self) -> str:
        kinds = "/".join(sorted(self.fault.kinds))
        return f"{kinds} {self.fault.at} below '{self.fault.below}' failing with {errno.errorcode[self.fault.errno]}"


def outcomes(template: MemoryStore, *, holding: bool = False, **fault: object) -> Iterator[Outcome]:
    """One outcome for each store operation of the workload, until none is left to fail."""
    at = 0
    while True:
        outcome = Outcome(template, Fault(at=at, **fault), holding=holding)  # type: ignore[arg-type]
        if not outcome.fault.fired:
            assert at > 10
            return
        yield outcome
        at += 1


def assert_nothing_acknowledged_is_lost(outcome: Outcome) -> None:
    """What the store holds now, and what a power cut now leaves of it, are states that the acknowledgements allow."""
    log = outcome.recording.log
    cut = outcome.fault.at % 6 == 0
    stores = list(crash_states(log, len(log), rng=random.Random(1), limit=8)) if cut else []
    for store in (outcome.recording._inner.copy(), *stores):
        vault = open_inline(store)
        shot = snapshot(vault)
        if outcome.workload is not None:
            try:
                judge(outcome.workload.history, len(log), shot)
            except AssertionError as lost:
                raise AssertionError(f"{outcome.what}, {store.description}: {lost}") from None


holding = pytest.mark.parametrize("holding", [False, True], ids=["", "holding"])


@holding
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("kinds", [{"write", "allocate", "truncate"}, {"create", "delete", "rename"}, SYNCS])
def test_an_io_error_is_told_and_loses_nothing(
    template: MemoryStore, kinds: set[str], lasting: bool, holding: bool
) -> None:
    for outcome in outcomes(template, errno=errno.EIO, kinds=frozenset(kinds), lasting=lasting, holding=holding):
        learned = outcome.errors or outcome.read_only
        assert learned or kinds & {"delete", "truncate"}, f"{outcome.what} went unnoticed"
        if outcome.workload is not None and any(isinstance(error, WriteFailed) for error in outcome.errors):
            assert outcome.workload.vault.vault.read_only, f"{outcome.what}: writing goes on"
        assert_nothing_acknowledged_is_lost(outcome)


@holding
def test_a_vault_turned_read_only_still_shows_everything(template: MemoryStore, holding: bool) -> None:
    seen = 0
    for outcome in outcomes(template, errno=errno.EIO, kinds=frozenset({"write"}), lasting=True, holding=holding):
        if outcome.workload is not None and outcome.workload.vault.vault.read_only:
            seen += 1
            assert not differences(outcome.workload.history.shots[-1], outcome.shown), outcome.what
    assert seen > 10


def test_a_full_disk_under_a_root_loses_nothing(template: MemoryStore) -> None:
    """Roots are overwritten in place; a file system that needs room for that leaves a vault that is read-only."""
    for outcome in outcomes(template, errno=errno.ENOSPC, below="root"):
        assert outcome.errors or outcome.read_only, f"{outcome.what} went unnoticed"
        assert_nothing_acknowledged_is_lost(outcome)


@holding
@pytest.mark.parametrize("below", ["objects", "journal"])
@pytest.mark.parametrize("written", [0, 40, 1 << 30], ids=["nothing", "some", "all"])
def test_a_full_disk_for_a_moment_changes_nothing(
    template: MemoryStore, written: int, below: str, holding: bool
) -> None:
    """NoSpace leaves the vault as it was; the rest of the workload, and the close, go on."""
    kinds = CHANGES - {"delete"}
    for outcome in outcomes(
        template, errno=errno.ENOSPC, kinds=kinds, written=written, below=below, holding=holding
    ):
        if outcome.workload is None:
            assert_nothing_acknowledged_is_lost(outcome)
            continue
        assert not outcome.read_only, f"{outcome.what}: {outcome.workload.vault.vault.read_only_reason}"
        # NotFound for what could not be made before; WriteFailed from a close that left it all to the journal.
        allowed = (NoSpace, NotFound, *([] if outcome.closed else [WriteFailed]))
        unexpected = [error for error in outcome.errors if not isinstance(error, allowed)]
        assert not unexpected, f"{outcome.what}: {unexpected}"
        expected = outcome.workload.history.shots[-1]
        assert not differences(expected, outcome.shown), outcome.what
        assert_nothing_acknowledged_is_lost(outcome)
        store = outcome.recording._inner.copy()
        vault = open_inline(store)
        found = differences(expected, snapshot(vault))
        assert not found, f"{outcome.what}: {found}"
        vault.vault.close()
        try:
            assert_clean(store)
        except AssertionError as leak:
            raise AssertionError(f"{outcome.what}: {leak}") from None


def test_a_failed_sync_is_never_made_good_by_a_later_one(template: MemoryStore) -> None:
    """ENOSPC from a sync (delayed allocation) means lost bytes, whatever the next sync says (fsync(2))."""
    for outcome in outcomes(template, errno=errno.ENOSPC, kinds=SYNCS):
        assert outcome.errors or outcome.read_only, f"{outcome.what} went unnoticed"
        assert_nothing_acknowledged_is_lost(outcome)


@pytest.mark.parametrize("where", ["journal", "objects", "root"])
def test_no_sync_succeeds_once_the_vault_has_turned_read_only(where: str) -> None:
    """Even where all that it asks for is durable: who syncs has to hear that something else is not."""
    store = new_store()
    fault = Fault(errno.EIO, at=1 << 30, kinds=frozenset({"write"}), below=where, lasting=True)
    vault = open_inline(FaultyStore(store, fault))
    files = [put_file(vault, name, b"accepted" * 1000) for name in (b"one", b"other")]
    vault.fsync()
    fault.at = fault.seen
    with contextlib.suppress(WriteFailed):
        vault.write(files[0], 0, b"refused?" * 1000)
        vault.vault.checkpoint()
    assert vault.vault.read_only
    fault.at = 1 << 30
    for inode in (*files, None):
        with pytest.raises(WriteFailed):
            vault.fsync(inode)
    vault.vault.close()
    again = open_inline(store)
    assert again.read(again.walk(b"other").id, 0, 8000) == b"accepted" * 1000


@pytest.mark.parametrize("late", [False, True])
def test_a_checkpoint_that_fails_as_nobody_foresaw_keeps_everything(
    monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """The vault turns read-only and says so; no checkpoint would ever run again, and in the end all writers wait."""
    store = new_store()
    vault = open_inline(store)
    inode = vault.create_inode(ROOT, b"a", stat.S_IFREG | 0o600).id
    vault.write(inode, 0, b"accepted" * 1000)

    def out_of_memory(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patches:
        patches.setattr(RootSlots if late else Checkpoint, "commit" if late else "write", out_of_memory)
        assert not vault.vault.checkpoint()
    assert vault.vault.read_only_reason
    with pytest.raises(ReadOnly):
        vault.write(inode, 0, b"refused")
    assert vault.read(inode, 0, 8000) == b"accepted" * 1000
    vault.vault.close()
    again = open_inline(store)
    assert again.read(again.walk(b"a").id, 0, 8000) == b"accepted" * 1000
    again.vault.close()
    assert_clean(store)


@pytest.mark.parametrize("kind", ["create", "write"])
def test_a_segment_that_got_nothing_takes_chunks_later(kind: str) -> None:
    """The write it was made for found no room; the next root names it all the same."""
    store = new_store()
    fault = Fault(errno.ENOSPC, at=1 << 30, kinds=frozenset({kind}), below="objects")
    vault = open_inline(FaultyStore(store, fault))
    inode = put_file(vault, b"a")
    vault.vault.checkpoint()
    fault.at = fault.seen
    with pytest.raises(NoSpace):
        vault.write(inode, 0, b"refused!" * (CHUNK // 8))
    assert vault.vault.checkpoint()
    vault.vault.close()
    assert_clean(store)
    again = open_inline(store)
    again.write(again.walk(b"a").id, 0, b"accepted" * (CHUNK // 8))
    again.vault.close()
    assert_clean(store)
    found = open_inline(store)
    assert found.read(found.walk(b"a").id, 0, 2 * CHUNK) == b"accepted" * (CHUNK // 8)


FILLING = Settings(
    checkpoint_age=1e9, journal_preallocation=0, ballast_size=1 << 16, direct_minimum=512, recovery_name_gap=32,
    journal_hard=1 << 18, overlay_hard=1 << 18, direct_hard=1 << 20,
)  # fmt: skip


@pytest.mark.parametrize("size", [CHUNK, 300])
def test_a_disk_that_fills_up(size: int) -> None:
    """Writes end with NoSpace, everything accepted stays, deleting works, and then there is room again."""
    store = new_store()
    store = MemoryStore(store.tree, capacity=3 << 20)
    vault = Inline(Vault.open(store, KEYS, options(settings=FILLING)))
    written: dict[bytes, bytes] = {}
    refused = 0
    for number in range(20000):
        name = b"%d" % number
        data = (name + b"-" * 9) * (size // 9)
        try:
            inode = vault.create_inode(ROOT, name, stat.S_IFREG | 0o600)
            written[name] = b""
            vault.write(inode.id, 0, data)
        except NoSpace:
            refused += 1
            if refused > 20:
                break
            continue
        written[name] = data
    assert refused > 20
    assert len(written) > 20
    vault.fsync()
    for name in list(written)[: len(written) // 2]:
        vault.unlink(ROOT, name)
        del written[name]
    vault.vault.checkpoint()
    vault.vault.checkpoint()
    inode = vault.create_inode(ROOT, b"after", stat.S_IFREG | 0o600)
    vault.write(inode.id, 0, b"there is room again" * 100)
    written[b"after"] = b"there is room again" * 100
    vault.vault.close()
    vault = Inline(Vault.open(store, KEYS, options(settings=FILLING)))
    assert {name: vault.read(inode, 0, 1 << 20) for name, inode in vault.list_directory(ROOT)
            if vault.lookup(ROOT, name)} == written
    vault.vault.close()
    assert_clean(store)
