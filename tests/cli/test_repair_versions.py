"""Repairs of vaults whose store says more than one thing of what is in them: the newest that can be read comes back."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.plain import Plain, base_of, break_frame, committed, flip, opened
from tests.cli.running import CHEAP, PASSWORD, Result
from vaultfs.check.committed import Place
from vaultfs.format.constants import JOURNAL_HEADER_SIZE, OBJECT_HEADER_SIZE, ROOT_ID, SHARED_ID
from vaultfs.format.layout import object_path
from vaultfs.sealing.entries import Entry, decode_entry, decode_head
from vaultfs.vault.inode import SetAttr

REPAIR = ("--repair", "--yes")
NEW = "another password by now"


def contents(vaultfs: Callable[..., Result], path: Path, code: int = 0, **env: str) -> dict[str, bytes]:
    """Every file by its path."""
    out = path.parent / f"out {len(list(path.parent.iterdir()))}"
    done = vaultfs("export", path, out, stdin=PASSWORD, **env)
    assert done.code == code, done
    return {str(found.relative_to(out)): found.read_bytes() for found in out.rglob("*") if found.is_file()}


def mended(vaultfs: Callable[..., Result], path: Path, *options: str, **env: str) -> dict[str, bytes]:
    done = vaultfs("check", path, *REPAIR, *options, stdin=PASSWORD, **env)
    assert done.code == 0, done
    assert vaultfs("check", path, "--data", stdin=PASSWORD, **env).code == 0
    return contents(vaultfs, path, 0, **env)


def test_a_folder_below_a_broken_one_comes_back_as_it_is_now(vaultfs, vault: Path) -> None:
    """What is left of the one above has its entry of before."""
    with opened(vault) as plain:
        plain.mkdir("a", "a/below")
        plain.put("a/below/old", b"old")
        plain.commit()
        plain.put("a/below/new", b"new")
        plain.put("a/below/large", bytes(300_000))
    break_frame(vault, "a", -1)
    kept = {"a/below/old": b"old", "a/below/new": b"new", "a/below/large": bytes(300_000)}
    assert mended(vaultfs, vault) == kept
    with opened(vault) as plain:
        plain.put("a/below/later", b"later")
    assert contents(vaultfs, vault) == kept | {"a/below/later": b"later"}


def test_a_lost_folder_comes_back_with_all_that_is_in_it(vaultfs, vault: Path) -> None:
    """Of those in another lost one, the names too, whichever has the lower number."""
    with opened(vault) as plain:
        plain.mkdir("first", "first/C", "x", "x/P", "a")
        plain.inline.setxattr(plain.id("x/P"), b"user.tag", b"family")
        plain.put("first/C/large", b"C" * 200_000)
        plain.put("first/C/small", b"small")
        plain.put("x/P/large", b"P" * 200_000)
        plain.commit()
        plain.move("first/C", "x/P/C")
        plain.commit()
        plain.move("x/P", "a/P")
        number = plain.id("a/P")
    break_frame(vault, "a", 0)
    found = mended(vaultfs, vault)
    assert found == {
        f"lost+found/{number}/large": b"P" * 200_000,
        f"lost+found/{number}/C/large": b"C" * 200_000,
        f"lost+found/{number}/C/small": b"small",
    }
    with opened(vault) as plain:
        assert plain.inline.getxattr(plain.id(f"lost+found/{number}"), b"user.tag") == b"family"


def test_what_a_broken_hard_link_stands_beside_is_not_lost(vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/a", b"F" * 50_000)
        plain.link("d/a", "other")
        plain.put("d/keep", b"precious")
        plain.commit()
        plain.put("d/z", b"z")
    with committed(vault) as tree:
        shards = [decode_entry(shard) for shard in tree.load(tree.top(SHARED_ID)).values()]
    break_frame(vault, "d", -1)
    for shard in shards:
        assert isinstance(shard, Entry)
        flip(vault / object_path(base_of(shard).object), OBJECT_HEADER_SIZE + 40)
    for _ in range(2):
        assert vaultfs("check", vault, *REPAIR, stdin=PASSWORD).code == 26
        assert contents(vaultfs, vault, code=26)["d/keep"] == b"precious"


_NO_ROOM = """
from itertools import count
from vaultfs.errors import NoSpace
from vaultfs.vault import mending
replace, calls = mending.replace_directory, count(1)
def replace_until(core, *args):
    if next(calls) == %d:
        raise NoSpace("the store has no room left")
    return replace(core, *args)
mending.replace_directory = replace_until
"""


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_step_that_fails_leaves_nothing_half_done(vaultfs, vault: Path, fails: int) -> None:
    with opened(vault) as plain:
        plain.mkdir("a", "a/b", "a/b/c")
        plain.put("a/b/c/deep", b"deep")
        plain.put("a/b/name", b"name")
    break_frame(vault, "a", 0)
    done = vaultfs("check", vault, *REPAIR, stdin=PASSWORD, first=_NO_ROOM % fails)
    assert done.code != 0 or fails == 3, done
    assert mended(vaultfs, vault) == {"a/b/c/deep": b"deep", "a/b/name": b"name"}


def test_roots_that_are_still_to_come_are_waited_for(vaultfs, vault: Path, tmp_path: Path) -> None:
    """A sync client has brought the objects first, on a machine that has never seen newer roots."""
    other = {"XDG_STATE_HOME": str(tmp_path / "other machine")}
    roots = [vault / "root.0", vault / "root.1"]
    with opened(vault) as plain:
        plain.put("first", b"1" * 100_000)
    older = [root.read_bytes() for root in roots]
    with opened(vault) as plain:
        plain.mkdir("new")
        plain.put("new/large", b"B" * 300_000)
    newer = [root.read_bytes() for root in roots]
    for root, data in zip(roots, older, strict=True):
        root.write_bytes(data)
    done = vaultfs("check", vault, *REPAIR, stdin=PASSWORD, **other)
    assert done.code == 42, done
    assert "let it finish syncing" in done.err
    for root, data in zip(roots, newer, strict=True):
        root.write_bytes(data)
    assert vaultfs("check", vault, "--data", stdin=PASSWORD, **other).code == 0
    assert contents(vaultfs, vault, 0, **other)["new/large"] == b"B" * 300_000


def test_no_new_file_gets_the_number_of_one_that_came_back(vaultfs, vault: Path, tmp_path: Path) -> None:
    other = {"XDG_STATE_HOME": str(tmp_path / "other machine")}
    roots = [vault / "root.0", vault / "root.1"]
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/first", b"1" * 10_000)
    older = [root.read_bytes() for root in roots]
    with opened(vault) as plain:
        for number in range(12):
            plain.put(f"d/{number}", b"file %d " % number * 1500)
            plain.commit()
    for root, data in zip(roots, older, strict=True):
        root.write_bytes(data)
    found = mended(vaultfs, vault, "--missing-too", **other)
    assert {name: data for name, data in found.items() if name.startswith("d/")} == {
        "d/first": b"1" * 10_000, **{f"d/{number}": b"file %d " % number * 1500 for number in range(12)}
    }  # fmt: skip
    with opened(vault) as plain:
        plain.put("mine", b"mine")
        plain.put("mine too", os.urandom(90_000))
        assert plain.id("mine") > max(plain.id(f"d/{number}") for number in range(12))
    assert found.items() <= contents(vaultfs, vault, 0, **other).items()


def test_a_name_that_became_a_hard_link_stays_one(vaultfs, vault: Path) -> None:
    """Where the frame that says so is broken, an older one has the file as if it were its only name."""
    with opened(vault) as plain:
        plain.mkdir("d", "e")
        plain.put("d/f", b"F" * 50_000)
        plain.put("d/only", b"O" * 50_000)
        plain.commit()
        plain.link("d/f", "e/g")
        plain.link("d/only", "d/second")
    break_frame(vault, "d", -1)
    assert mended(vaultfs, vault) == {"d/f": b"F" * 50_000, "e/g": b"F" * 50_000, "d/only": b"O" * 50_000}
    with opened(vault) as plain:
        assert plain.id("d/f") == plain.id("e/g")
        plain.inline.unlink(*plain.place("d/f"))
    assert contents(vaultfs, vault)["e/g"] == b"F" * 50_000
    assert vaultfs("check", vault, "--data", stdin=PASSWORD).code == 0


def test_of_two_broken_folders_the_one_that_had_a_file_last_has_it(vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("d1", "d2")
        plain.put("d1/f", b"old")
        plain.put("d1/keep", b"k")
        plain.put("d2/keep", b"k")
        plain.commit()
        plain.move("d1/f", "d2/f")
        plain.inline.write(plain.id("d2/f"), 0, b"NEW")
        plain.commit()
        plain.put("d2/last", b"l")
    for name in ("d1", "d2"):
        break_frame(vault, name, -1)
    assert mended(vaultfs, vault) == {"d1/keep": b"k", "d2/keep": b"k", "d2/f": b"NEW"}


def test_an_older_folder_is_not_given_up_lightly(vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/one", b"1")
    with committed(vault) as tree:
        stored = vault / object_path(base_of(tree.find(Place(ROOT_ID, (b"d",)))).object)
    older = stored.read_bytes()
    with opened(vault) as plain:
        plain.put("d/two", b"2")
        plain.put("d/large", b"L" * 100_000)
    newer = stored.read_bytes()
    stored.write_bytes(older)
    done = vaultfs("check", vault, *REPAIR, stdin=PASSWORD)
    assert done.code == 26
    assert "left as it is: error: older than expected: /d" in done.out
    stored.write_bytes(newer)
    assert contents(vaultfs, vault) == {"d/one": b"1", "d/two": b"2", "d/large": b"L" * 100_000}
    assert vaultfs("check", vault, "--data", stdin=PASSWORD).code == 0


def test_what_waits_in_the_journal_counts(vaultfs, vault: Path) -> None:
    """A new folder stands where the broken one was, and a new file where bytes of the old one are lost."""
    with opened(vault) as plain:
        plain.mkdir("docs")
        plain.put("docs/old", b"old")
        plain.put("file", b"A" * 400_000)
        plain.commit()
        plain.put("docs/last", b"last")
    largest = max((vault / "objects").rglob("*"), key=lambda found: found.stat().st_size)
    flip(largest, 5000)
    break_frame(vault, "docs", -1)
    with opened(vault, killed=True) as plain:
        plain.put("file.new", b"NEW" * 100_000)
        plain.move("file.new", "file")
        plain.move("docs", "papers")
        plain.mkdir("docs")
        plain.put("docs/precious", b"precious")
    assert mended(vaultfs, vault, "--data", "--zeros") == {
        "file": b"NEW" * 100_000, "docs/precious": b"precious", "papers/old": b"old"
    }  # fmt: skip


@pytest.mark.parametrize("broken", ["missing", "map"])
def test_bytes_that_no_zeros_can_stand_for_do_not_stop_the_rest(vaultfs, vault: Path, broken: str) -> None:
    with opened(vault) as plain:
        plain.put("file", b"F" * 1_900_000)
        plain.mkdir("d")
        plain.put("d/one", b"1")
        plain.commit()
        plain.put("d/two", b"2")
    largest = max((vault / "objects").rglob("*"), key=lambda found: found.stat().st_size)
    if broken == "missing":
        largest.unlink()
    else:
        flip(largest, largest.stat().st_size - 30)
    break_frame(vault, "d", -1)
    done = vaultfs("check", vault, *REPAIR, "--zeros", stdin=PASSWORD)
    assert done.code == 26
    assert "left as it is: error" in done.out
    assert contents(vaultfs, vault, 26)["d/one"] == b"1"


@pytest.mark.expects_log("a change is left out")
def test_what_changes_that_were_given_up_had_written_comes_back(vaultfs, vault: Path, tmp_path: Path) -> None:
    """The folder they were made in is broken. `export --salvage` has them too, behind a repair's lost+found."""
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/one", b"1")
        plain.commit()
        plain.put("d/two", b"2")
    with opened(vault, killed=True) as plain:
        plain.put("d/large", b"L" * 300_000)
        plain.put("elsewhere", b"E" * 100_000)
    break_frame(vault, "d", -1)
    assert vaultfs("check", vault, *REPAIR, stdin=PASSWORD).code == 45
    assert vaultfs("ls", vault, "--accept-damage", stdin=PASSWORD).code == 0
    with opened(vault, accept_damage=True):
        pass
    found = mended(vaultfs, vault)
    assert (found["d/one"], found["elsewhere"]) == (b"1", b"E" * 100_000)
    assert [data for name, data in found.items() if name.startswith("lost+found/")] == [b"L" * 300_000]
    done = vaultfs("export", vault, tmp_path / "salvaged", "--salvage", stdin=PASSWORD)
    assert (tmp_path / "salvaged" / "lost+found-2").is_dir(), done


def replace_from_a_broken_folder(plain: Plain) -> None:
    """A file goes to the broken folder R, and another one comes in its place."""
    plain.move("logs/app", "R/app")
    plain.move("logs/app.new", "logs/app")


def make_anew_after_a_move(plain: Plain) -> None:
    plain.move("logs/app", "R/app")
    plain.put("logs/app", b"N" * 100_000)


def link_after_a_move(plain: Plain) -> None:
    plain.move("logs/app", "R/app")
    plain.link("logs/app.new", "logs/app")


def delete_after_a_move(plain: Plain) -> None:
    plain.link("logs/app", "R/app")
    plain.inline.unlink(*plain.place("logs/app"))


def remove_the_folder_after_a_move(plain: Plain) -> None:
    plain.move("logs/app", "R/app")
    plain.move("logs/app.new", "app.new")
    plain.inline.rmdir(*plain.place("logs"))


def remove_the_broken_folder(plain: Plain) -> None:
    plain.move("R/one", "one")
    plain.move("logs/app", "R/app")
    plain.move("R", "logs/app")
    plain.move("logs/app/app", "app")
    for name in ("two", "last"):
        plain.inline.unlink(*plain.place(f"logs/app/{name}"))
    plain.inline.rmdir(*plain.place("logs/app"))


def close_a_file_both_of_whose_names_are_gone(plain: Plain) -> None:
    plain.link("logs/app", "R/app")
    number = plain.id("logs/app")
    plain.vault.open_inode(number)
    plain.inline.unlink(*plain.place("logs/app"))
    plain.inline.unlink(*plain.place("R/app"))
    plain.inline.release(number)


def move_a_folder_below_its_own(plain: Plain) -> None:
    plain.mkdir("a", "a/b")
    plain.put("a/b/f", b"f")
    plain.move("a/b", "R/b")
    plain.move("a", "R/b/a")


def take_lost_and_found_away(plain: Plain) -> None:
    plain.mkdir("lost+found")
    replace_from_a_broken_folder(plain)
    plain.inline.rmdir(*plain.place("lost+found"))


def make_lost_and_found(plain: Plain) -> None:
    replace_from_a_broken_folder(plain)
    plain.mkdir("lost+found", "mine")
    plain.put("lost+found/x", b"N" * 100_000)
    plain.put("mine/f", b"mine")
    plain.move("mine", "mine too")


def move_something_to_lost_and_found(plain: Plain) -> None:
    plain.mkdir("mine")
    plain.put("mine/f", b"N" * 100_000)
    replace_from_a_broken_folder(plain)
    plain.move("mine", "lost+found")


def exchange_with_a_folder_above(plain: Plain) -> None:
    plain.mkdir("a", "a/b")
    plain.put("a/b/f", b"f")
    plain.commit()
    plain.inline.write(plain.id("a/b/f"), 0, b"F")
    plain.move("a/b", "R/b")
    plain.inline.rename(*plain.place("R/b/f"), *plain.place("a"), 2)


def fill_a_folder_that_was_moved(plain: Plain) -> None:
    plain.mkdir("d", "e")
    plain.move("d", "R/d")
    plain.move("e", "d")
    plain.mkdir("R/d/sub")


def put_a_file_where_a_folder_was(plain: Plain) -> None:
    plain.mkdir("logs/d")
    plain.move("logs/d", "R/d")
    plain.move("logs/app", "logs/d")
    plain.inline.setattr(plain.id("R/d"), SetAttr(mode=0o700))


def make_a_folder_anew_and_fill_both(plain: Plain) -> None:
    plain.mkdir("logs/d")
    plain.move("logs/d", "R/d")
    plain.mkdir("logs/d")
    plain.move("logs/app", "logs/d/app")
    plain.put("R/d/f", b"f" * 6000)


def make_both_names_of_a_link_anew(plain: Plain) -> None:
    plain.link("logs/app", "logs/app2")
    plain.move("logs/app", "R/app")
    plain.move("logs/app2", "R/app2")
    plain.put("logs/app", b"N" * 100_000)
    plain.link("logs/app.new", "logs/app2")


@pytest.mark.expects_log("a change is left out")
@pytest.mark.parametrize(
    "change",
    [
        replace_from_a_broken_folder, make_anew_after_a_move, link_after_a_move, delete_after_a_move,
        remove_the_folder_after_a_move, remove_the_broken_folder, close_a_file_both_of_whose_names_are_gone,
        move_a_folder_below_its_own, take_lost_and_found_away, make_lost_and_found, move_something_to_lost_and_found,
        exchange_with_a_folder_above, fill_a_folder_that_was_moved, put_a_file_where_a_folder_was,
        make_a_folder_anew_and_fill_both, make_both_names_of_a_link_anew,
    ],
)  # fmt: skip
def test_nothing_is_deleted_behind_a_change_that_is_left_out(
    vaultfs, vault: Path, change: Callable[[Plain], None]
) -> None:
    """What was moved to a broken folder is where it was, and something else may be to come there."""
    with opened(vault) as plain:
        plain.mkdir("R", "logs")
        plain.put("R/one", b"1" * 20_000)
        plain.put("R/two", b"two")
        plain.put("logs/app", b"A" * 100_000)
        plain.put("logs/app.new", b"N" * 100_000)
        plain.commit()
        plain.put("R/last", b"last")
    with opened(vault, killed=True) as plain:
        change(plain)
    break_frame(vault, "R", -1)
    expected = {b"A" * 100_000, b"N" * 100_000}
    assert expected <= set(contents(vaultfs, vault, code=26).values())  # read-only, in memory
    with opened(vault, accept_damage=True) as plain:
        pass
    assert {path.name[:8] for path in (vault / "quarantine").iterdir()} == {"journal-"}
    found = mended(vaultfs, vault)
    assert expected | {b"1" * 20_000, b"two"} <= set(found.values())


@pytest.mark.parametrize(("broken", "kind", "code"), [("flipped", "corrupt", 26), ("missing", "missing", 42)])
def test_only_a_table_of_hard_links_that_may_still_come_is_waited_for(
    vaultfs, vault: Path, broken: str, kind: str, code: int
) -> None:
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/one", b"one")
        plain.link("d/one", "d/two")
        plain.put("d/three", b"three")
    with committed(vault) as tree:
        shards = [decode_entry(shard) for shard in tree.load(tree.top(SHARED_ID)).values()]
    with opened(vault, killed=True) as plain:
        plain.put("d/four", b"four")
    (shard,) = shards
    assert isinstance(shard, Entry)
    table = vault / object_path(base_of(shard).object)
    whole = table.read_bytes()
    if broken == "missing":
        table.unlink()
    else:
        flip(table, OBJECT_HEADER_SIZE + 40)
    assert f"error: {kind}: /d/one: a hard-linked file: " in vaultfs("check", vault, stdin=PASSWORD).out
    assert vaultfs("check", vault, *REPAIR, stdin=PASSWORD).code == code
    table.write_bytes(whole)
    one, two = {"d/one": b"one", "d/two": b"one"}, {"d/three": b"three", "d/four": b"four"}
    assert contents(vaultfs, vault) == one | two


_EIO = """
import errno, os
pread, bad = os.pread, %d
def pread_or_fail(fd, size, offset):
    if os.fstat(fd).st_ino == bad and offset <= 150 < offset + size:
        raise OSError(errno.EIO, "Input/output error")
    return pread(fd, size, offset)
os.pread = pread_or_fail
"""


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_a_disk_does_not_read_today_is_not_taken_for_lost(vaultfs, vault: Path, what: str) -> None:
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/small", b"small")
        plain.put("d/large", b"L" * 300_000)
    with committed(vault) as tree:
        folder = vault / object_path(base_of(tree.find(Place(ROOT_ID, (b"d",)))).object)
    bad = folder if what == "folder" else max((vault / "objects").rglob("*"), key=lambda found: found.stat().st_size)
    if what == "file":
        flip(folder, OBJECT_HEADER_SIZE + 30)
    failing = _EIO % bad.stat().st_ino
    done = vaultfs("check", vault, *REPAIR, stdin=PASSWORD, first=failing)
    assert done.code not in (0, 26), done
    assert "copy it to a sound disk first" in done.err
    found = mended(vaultfs, vault)
    assert sorted(found.values()) == ([b"L" * 300_000] if what == "file" else [b"L" * 300_000, b"small"])


_EIO_IN_CACHE = """
preadv = os.preadv
def preadv_or_fail(fd, buffers, offset, *flags):
    if os.fstat(fd).st_ino == bad and offset <= 150 < offset + sum(map(len, buffers)):
        raise OSError(errno.EIO, "Input/output error")
    return preadv(fd, buffers, offset, *flags)
os.preadv = preadv_or_fail
"""


@pytest.mark.parametrize("how", ["missing", "failing"])
def test_no_change_is_given_up_for_a_chunk_that_is_not_there_today(
    vaultfs, vault: Path, tmp_path: Path, how: str
) -> None:
    with opened(vault) as plain:
        plain.put("large", b"L" * 300_000)
    large = max((vault / "objects").rglob("*"), key=lambda found: found.stat().st_size)
    with opened(vault, killed=True) as plain:
        plain.inline.write(plain.id("large"), 100, b"synced")
    (tmp_path / "nothing").mkdir()
    if how == "missing":
        large.rename(tmp_path / "away")
    first = (_EIO + _EIO_IN_CACHE) % large.stat().st_ino if how == "failing" else ""
    done = vaultfs("import", tmp_path / "nothing", f"{vault}:/new", stdin=PASSWORD, first=first)
    assert done.code == 45, done
    if how == "missing":
        (tmp_path / "away").rename(large)
    assert contents(vaultfs, vault)["large"] == b"L" * 100 + b"synced" + b"L" * 299_894


def test_what_a_disk_does_not_read_a_second_time_is_not_given_up(vaultfs, vault: Path) -> None:
    """It read well for the plan, and fails when the lost file is copied."""
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/large", b"L" * 300_000)
    break_frame(vault, "d", 0)
    bad = max((vault / "objects").rglob("*"), key=lambda found: found.stat().st_size)
    later = _EIO % bad.stat().st_ino
    later = later.replace("import errno, os", "import errno, itertools, os; tries = itertools.count(1)")
    later = later.replace("offset + size:", "offset + size and next(tries) > 1:")
    done = vaultfs("check", vault, *REPAIR, stdin=PASSWORD, first=later)
    assert done.code not in (0, 26), done
    found = mended(vaultfs, vault)
    assert b"L" * 300_000 in found.values()


def objects_of(path: Path, plain: str) -> list[Path]:
    """A directory's base, and its delta if it has one."""
    with committed(path) as tree:
        entry = tree.find(Place(ROOT_ID, (plain.encode(),)))
        assert entry is not None
        head = decode_head(entry.content)
    return [path / object_path(part.object) for part in (head.base, head.delta) if part is not None]


def test_the_journal_waits_for_objects_that_are_still_to_come(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault) as plain:
        plain.put("f", b"a" * 300_000)
    with opened(vault, killed=True) as plain:
        plain.inline.write(plain.id("f"), 70_000, b"a small change")
    stored = max((vault / "objects").rglob("*"), key=lambda found: found.stat().st_size)
    stored.rename(tmp_path / "not synced yet")
    for options in (REPAIR, ("--repair",)):
        done = vaultfs("check", vault, *options, stdin=PASSWORD)
        assert done.code == 42, done
        assert "let the store finish syncing" in done.err
    (tmp_path / "not synced yet").rename(stored)
    assert contents(vaultfs, vault)["f"][70_000:70_014] == b"a small change"


@pytest.mark.parametrize("slot", ["root.0", "root.1"])
def test_a_missing_root_of_a_vault_that_was_not_closed_is_made_again(
    vaultfs, vault: Path, tmp_path: Path, slot: str
) -> None:
    other = {"XDG_STATE_HOME": str(tmp_path / "other machine")}
    with opened(vault, killed=True) as plain:
        plain.put("f", b"f" * 100_000)
        plain.commit()
        plain.put("g", b"g")
    (vault / slot).unlink()
    assert mended(vaultfs, vault, **other) == {"f": b"f" * 100_000, "g": b"g"}


def test_what_the_next_opening_would_commit_is_no_change_of_the_vault(vaultfs, vault: Path) -> None:
    """After a change of the keys the roots take over the header's epoch."""
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/f", b"f")
        plain.commit()
        plain.put("d/g", b"g")
    assert vaultfs("passwd", vault, *CHEAP, stdin=f"{PASSWORD}\n{PASSWORD} 2\n{PASSWORD} 2\n").code == 0
    assert vaultfs("passwd", vault, *CHEAP, stdin=f"{PASSWORD} 2\n{PASSWORD}\n{PASSWORD}\n").code == 0
    break_frame(vault, "d", -1)
    assert mended(vaultfs, vault) == {"d/f": b"f"}


def test_a_newer_folder_below_a_broken_one_has_what_came_into_it(vaultfs, vault: Path) -> None:
    """Neither is met before the one above is mended, and the older one is broken as well."""
    with opened(vault) as plain:
        plain.mkdir("x", "x/P", "x/Q")
        plain.put("x/P/f", b"old" * 20_000)
        plain.put("x/P/other", b"o")
        plain.commit()
        plain.move("x/P/f", "x/Q/f")
        plain.commit()
        plain.inline.write(plain.id("x/Q/f"), 0, b"NEW" * 20_000)
        plain.commit()
        plain.put("x/last", b"z")
    break_frame(vault, "x/P", 1)
    break_frame(vault, "x", -1)
    assert mended(vaultfs, vault) == {"x/P/other": b"o", "x/Q/f": b"NEW" * 20_000}


def test_a_folder_whose_object_has_a_broken_header_is_found(vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("x")
        for number in range(11):
            plain.put(f"x/{number}", b"%d" % number * 7000)
        plain.commit()
        plain.put("x/delta", b"delta")
    base, delta = objects_of(vault, "x")
    flip(base, 30)
    flip(delta, delta.stat().st_size - 10)
    assert mended(vaultfs, vault) == {f"x/{number}": b"%d" % number * 7000 for number in range(11)}


def test_what_never_got_its_root_does_not_come_back(vaultfs, vault: Path) -> None:
    """The power went when a checkpoint had its frames on the disk, and the journal had nothing yet."""
    with opened(vault) as plain:
        plain.mkdir("x", "x/D")
        plain.put("x/D/f", b"committed")
        plain.put("x/D/keep", b"keep me")
        plain.put("x/pad", b"p" * 9000)
        plain.commit()
        plain.put("x/b", b"b")
    with opened(vault, killed=True) as plain:
        plain.inline.unlink(*plain.place("x/D/keep"))
        plain.put("x/D/never", b"n" * 90_000)
        job = plain.vault.begin_checkpoint()
        assert job is not None
        job._checkpoint.write(plain.vault._core.now())  # all of it but the root
    for journal in (vault / "journal").iterdir():
        size = journal.stat().st_size
        os.truncate(journal, min(size, JOURNAL_HEADER_SIZE))
        os.truncate(journal, size)
    with opened(vault) as plain:
        for number in range(5):
            plain.put(f"after {number}", b"a")
            plain.commit()
    assert contents(vaultfs, vault)["x/D/keep"] == b"keep me"
    break_frame(vault, "x", 0)
    found = mended(vaultfs, vault)
    assert (found["x/D/keep"], found["x/D/f"]) == (b"keep me", b"committed")
    assert "x/D/never" not in found


def test_a_deep_tree_below_a_broken_folder_has_the_modes_it_had(vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("x", "x/secret")
        plain.commit()
        secret = plain.id("x/secret")
        plain.inline.setattr(secret, SetAttr(mode=0o700, uid=1000, gid=1001))
        above = secret
        for _ in range(600):
            above = plain.inline.create_inode(above, b"d", stat.S_IFDIR | 0o755).id
        plain.inline.write(plain.inline.create_inode(above, b"f", stat.S_IFREG | 0o644).id, 0, b"deep")
    break_frame(vault, "x", -1)
    done = vaultfs("check", vault, *REPAIR, stdin=PASSWORD)
    assert done.code == 0, done
    with opened(vault) as plain:
        found = plain.inline.walk(b"x/secret")
        assert (found.mode, found.uid, found.gid) == (stat.S_IFDIR | 0o700, 1000, 1001)
        assert plain.inline.read(plain.id("x/secret" + "/d" * 600 + "/f"), 0, 10) == b"deep"


def test_a_plan_is_good_for_what_was_checked_only(terminal, vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/a", b"a")
        plain.commit()
        plain.put("d/b", b"b")
    break_frame(vault, "d", -1)

    def meanwhile(_shown: str) -> str:
        with opened(vault) as plain:
            plain.move("d", "broken")
            plain.mkdir("d")
            plain.put("d/precious", b"precious")
        return "yes\n"

    done = terminal("check", vault, "--repair", dialogue=[("Password:", f"{PASSWORD}\n"), ("Type yes", meanwhile)])
    assert done.code == 40, done
    assert "was changed after it was checked" in done.out
    assert mended(vaultfs, vault) == {"broken/a": b"a", "d/precious": b"precious"}


def test_an_older_header_is_not_put_in_the_place_of_a_newer_one(vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.put("f", b"f")
    old = (vault / "vaultfs.json").read_bytes()
    assert vaultfs("passwd", vault, *CHEAP, stdin=f"{PASSWORD}\n{NEW}\n{NEW}\n").code == 0
    (vault / "vaultfs.json").write_bytes(old)
    (vault / "vaultfs.json.backup").unlink()
    done = vaultfs("check", vault, *REPAIR, stdin=PASSWORD)
    assert done.code == 26
    assert "left as it is: another copy of the header is newer" in done.out
    assert vaultfs("key", "rebuild", vault, stdin=NEW).code == 0
    assert vaultfs("cat", f"{vault}:f", stdin=NEW).out == "f"


def test_a_file_called_lost_and_found_is_left_alone(vaultfs, vault: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/large", b"L" * 100_000)
        plain.put("lost+found", b"mine")
    break_frame(vault, "d", 0)
    found = mended(vaultfs, vault)
    assert found.pop("lost+found") == b"mine"
    assert [(Path(name).parent.name, data) for name, data in found.items()] == [("lost+found-2", b"L" * 100_000)]
