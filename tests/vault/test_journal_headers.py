"""A journal with a header that does not verify: what may be in it is kept, and nothing cries wolf after a power cut."""

from collections.abc import Callable

import pytest

from tests.support.memorystore import MemoryStore
from tests.vault.harness import KEYS, open_inline, options, put_file
from vaultfs.errors import JournalDamaged
from vaultfs.format.constants import JOURNAL_HEADER_SIZE
from vaultfs.format.layout import journal_path
from vaultfs.store.api import read_file, write_new_file
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault


@pytest.fixture(autouse=True)
def _limits(with_small_limits: None) -> None:
    pass


@pytest.fixture
def killed(store: MemoryStore) -> tuple[MemoryStore, int]:
    """A store whose process was killed beside a checkpoint, and the number of its later journal, synced as well."""
    vault = open_inline(store)
    vault.fsync(put_file(vault, b"early", b"before the checkpoint"))
    assert vault.vault.begin_checkpoint() is not None
    vault.fsync(put_file(vault, b"late", b"beside it"))
    return store.copy(), vault.vault._core.journal.active.header.number


def write(store: MemoryStore, number: int, data: bytes, offset: int = 0) -> None:
    file = store.open(journal_path(number), write=True)
    file.write([data], offset)
    file.close()


def flip(store: MemoryStore, number: int) -> None:
    stored = read_file(store, journal_path(number))
    write(store, number, bytes([stored[40] ^ 1]), 40)


def clear(store: MemoryStore, number: int) -> None:
    write(store, number, bytes(JOURNAL_HEADER_SIZE))


def clear_page(store: MemoryStore, number: int) -> None:
    write(store, number, bytes(JOURNAL_HEADER_SIZE + 64))


def names(vault: Inline) -> list[bytes]:
    return sorted(name for name, _ in vault.list_directory(1))


def quarantine(store: MemoryStore) -> list[str]:
    return store.names("quarantine") if "quarantine" in store.tree else []


def test_both_journals_are_recovered(killed: tuple[MemoryStore, int]) -> None:
    assert names(open_inline(killed[0])) == [b"early", b"late"]


@pytest.mark.parametrize("damage", [flip, clear, clear_page])
def test_what_a_later_journal_has_is_not_passed_over(
    killed: tuple[MemoryStore, int], damage: Callable[[MemoryStore, int], None], expect_log: Callable[[str], None]
) -> None:
    store, later = killed
    damage(store, later)
    broken = read_file(store, journal_path(later))
    with pytest.raises(JournalDamaged, match=f"the header of journal {later} does not verify"):
        Vault.open(store.copy(), KEYS, options())
    expect_log("changes are left out")
    reader = open_inline(store, options(read_only=True))
    assert names(reader) == [b"early"]
    assert reader.vault.lacks_changes
    again = open_inline(store, options(accept_damage=True))
    assert names(again) == [b"early"]
    again.vault.close()
    assert f"journal-{later:08x}" in quarantine(store)
    kept = read_file(store, f"quarantine/journal-{later:08x}")
    assert kept.startswith(broken.rstrip(b"\0"))


def test_a_header_that_was_on_its_way_is_no_damage(killed: tuple[MemoryStore, int]) -> None:
    """The power failed while the next journal was made: of nothing, or of an older one."""
    store, later = killed
    older = read_file(store, journal_path(later - 1))
    for number, stored in ((later + 1, bytes(4096)), (later + 2, older), (later + 3, b"")):
        write_new_file(store, journal_path(number), [stored])
    again = open_inline(store)
    assert names(again) == [b"early", b"late"]
    again.vault.close()
    assert quarantine(store) == []


def test_one_that_is_not_needed_any_more_is_kept_if_nobody_can_tell_what_is_in_it(
    killed: tuple[MemoryStore, int],
) -> None:
    store, later = killed
    broken = bytearray(read_file(store, journal_path(later)))
    broken[40] ^= 1
    open_inline(store).vault.close()
    write_new_file(store, journal_path(later), [bytes(broken)])
    again = open_inline(store)
    assert names(again) == [b"early", b"late"]
    again.vault.close()
    assert quarantine(store) == [f"journal-{later:08x}"]
