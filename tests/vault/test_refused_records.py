"""A record whose append is refused may reach the disk all the same: it is no part of what recovery finds."""

import errno
import logging
import random

import pytest

from tests.support.faultystore import Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from tests.vault.harness import ROOT, open_inline, put_file
from tests.vault.walker import assert_clean
from vaultfs.errors import NoSpace


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_what_was_refused_is_not_recovered_and_what_was_accepted_is(
    store: MemoryStore, caplog: pytest.LogCaptureFixture, seed: int, whole: bool
) -> None:
    caplog.set_level(logging.CRITICAL, "vaultfs")
    chances = random.Random(seed)
    faults = [
        Fault(errno.ENOSPC, at=at, kinds=frozenset({"write"}), below="journal", written=1 << 20 if whole else 20)
        for at in range(5, 150)
        if chances.random() < 0.1 * (seed % 8)
    ]
    faulty = FaultyStore(store, *faults)
    vault = open_inline(faulty)
    accepted = []
    for number in range(31):
        name = b"%d" % number
        if number == 30:
            faulty.faults.clear()  # a refused record may stay the last one, if nothing is accepted after it
        try:
            put_file(vault, name, name * 10)
        except NoSpace:
            continue
        accepted.append(name)
    vault.fsync()
    assert accepted
    again = open_inline(store.copy())
    found = {name: again.read(again.walk(name).id, 0, 100) for name, _ in again.list_directory(ROOT)}
    assert {name: data for name, data in found.items() if data} == {name: name * 10 for name in accepted}
    vault.vault.close()
    assert_clean(store)
