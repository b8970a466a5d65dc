"""`vaultfs export --salvage`: what is left of a ruined vault comes out, named as far as the objects tell."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.cli.plain import break_frame, flip, opened
from tests.cli.running import PASSWORD
from tests.cli.trees import facts_of
from vaultfs.format.constants import JOURNAL_HEADER_SIZE
from vaultfs.vault.apply import RENAME_EXCHANGE
from vaultfs.vault.inode import SetAttr


@pytest.fixture
def ruined(vaultfs, vault: Path, source: Path) -> Path:
    """A vault of which both roots are lost."""
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    for name in ("root.0", "root.1"):
        (vault / name).unlink()
    return vault


def test_everything_comes_out_without_roots(vaultfs, ruined: Path, source: Path, tmp_path: Path) -> None:
    assert vaultfs("export", ruined, tmp_path / "no", stdin=PASSWORD).code == 42
    done = vaultfs("export", "--salvage", ruined, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 0, done
    found = facts_of(tmp_path / "out")
    assert found.pop(b"/lost+found")
    assert found == facts_of(source)


def objects_of(vaultfs, vault: Path, plain: str) -> list[Path]:
    lines = vaultfs("where", f"{vault}:{plain}", stdin=PASSWORD).out.splitlines()[1:]
    return [vault / line.split()[0] for line in lines]


def test_content_comes_out_without_directories(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    # What is in a directory's own object, very small files among it, is lost with that.
    odd = bytes(range(256)) * 80
    (source / "docs/deep/deeper/larger").write_bytes(odd)
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    lost = objects_of(vaultfs, vault, "/") + objects_of(vaultfs, vault, "/docs/deep/deeper")
    for path in [*lost, vault / "root.0", vault / "root.1"]:
        path.unlink()
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 0, done
    # The directory that is left knows its own name and place; the files of the lost ones come by number.
    assert (tmp_path / "out/docs/exact").read_bytes() == (source / "docs/exact").read_bytes()
    contents = {path.read_bytes() for path in (tmp_path / "out/lost+found").iterdir() if path.stat().st_size < 1 << 20}
    assert {(source / "big").read_bytes(), odd} <= contents
    assert (tmp_path / "out/docs/hard").read_bytes() == b"hello\n"


def lose(vaultfs, vault: Path, *folders: str) -> None:
    """Delete the objects of folders: their names, and the small files in them."""
    for path in [path for folder in folders for path in objects_of(vaultfs, vault, folder)]:
        path.unlink()


def contents(folder: Path) -> dict[str, bytes]:
    """What is in all files below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def salvaged(vaultfs, vault: Path, out: Path) -> dict[str, bytes]:
    """What comes out of a vault of which all that is left can be read."""
    done = vaultfs("export", "--salvage", vault, out, stdin=PASSWORD)
    assert done.code == 0, done
    return contents(out)


def test_folders_that_say_they_have_one_name_all_come_out(vaultfs, vault: Path, tmp_path: Path) -> None:
    """What a folder says of its name is not written anew when it gets another."""
    with opened(vault) as plain:
        plain.mkdir("p", "p/New Folder", "z")
        plain.put("p/New Folder/f", b"first")
        plain.put("z/f", b"z")
        plain.commit()
        plain.move("p/New Folder", "p/Holiday")
        plain.commit()
        plain.mkdir("p/New Folder")
        plain.put("p/New Folder/f", b"second")
    lose(vaultfs, vault, "/p")
    assert salvaged(vaultfs, vault, tmp_path / "out") == {
        "p/New Folder/f": b"second",
        "p/New Folder-2/f": b"first",
        "z/f": b"z",
    }


def test_a_folder_that_says_it_is_lost_and_found_has_its_place(vaultfs, vault: Path, tmp_path: Path) -> None:
    """A repair made it; what nothing names this time comes to another one."""
    with opened(vault) as plain:
        plain.mkdir("lost+found", "p", "p/below")
        plain.put("lost+found/f", b"of a repair")
        plain.put("p/below/f", b"below")
    lose(vaultfs, vault, "/p", "/")
    found = salvaged(vaultfs, vault, tmp_path / "out")
    assert found.pop("lost+found/f") == b"of a repair"
    ((path, data),) = found.items()
    assert (path.partition("/")[0], path.partition(" ")[2], data) == ("lost+found-2", "below/f", b"below")


def test_folders_that_say_they_are_in_one_another_come_out(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("a", "a/b", "p", "p/below")
        plain.put("a/b/f", b"in b")
        plain.put("p/below/f", b"below")
        plain.commit()
        plain.move("a/b", "b")
        plain.commit()
        plain.move("a", "b/a")
        plain.put("b/a/f", b"in a")
    break_frame(vault, "b", -1)
    lose(vaultfs, vault, "/p", "/")
    assert set(salvaged(vaultfs, vault, tmp_path / "out").values()) == {b"in a", b"in b", b"below"}


def test_a_long_name_in_lost_and_found_is_cut(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault) as plain:
        plain.mkdir("p", "p/" + "n" * 255, "z")
        plain.put("p/" + "n" * 255 + "/f", b"inside")
        plain.put("z/f", b"z")
    lose(vaultfs, vault, "/p", "/")
    found = salvaged(vaultfs, vault, tmp_path / "out")
    assert found.pop("z/f") == b"z"
    ((path, data),) = found.items()
    assert data == b"inside"
    assert (path.partition("/")[0], path.partition(" ")[2]) == ("lost+found", "n" * 234 + "/f")


def test_a_broken_chunk_costs_itself(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    (stored,) = objects_of(vaultfs, vault, "/big")
    data = bytearray(stored.read_bytes())
    data[70_000] ^= 1
    stored.write_bytes(data)
    for name in ("root.0", "root.1"):
        os.truncate(vault / name, 10)
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert "/big: bytes 65536 to 131072 are lost" in done.err
    expected = bytearray((source / "big").read_bytes())
    expected[65536:131072] = bytes(65536)
    assert (tmp_path / "out/big").read_bytes() == expected


def test_the_tree_tells_whose_an_object_with_a_broken_header_is(vaultfs, vault: Path, tmp_path: Path) -> None:
    """The files that are in a folder's own object have nothing else that could bring them out."""
    with opened(vault) as plain:
        plain.mkdir("folder")
        plain.put("folder/note", b"a message")
        plain.put("folder/photo", b"p" * 100_000)
    for plain_path in ("/folder", "/folder/photo"):
        flip(objects_of(vaultfs, vault, plain_path)[0], 40)
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26, done
    assert done.err.count("or its header is broken") == 2
    assert (tmp_path / "out/folder/note").read_bytes() == b"a message"
    assert (tmp_path / "out/folder/photo").read_bytes() == b"p" * 100_000


def test_strange_objects_are_named(vaultfs, ruined: Path, tmp_path: Path) -> None:
    one = next(path for path in (ruined / "objects").rglob("*") if path.is_file())
    shutil.copyfile(one, ruined / "objects/00" / ("0" * 30))
    done = vaultfs("export", "--salvage", ruined, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert "none of this vault's objects" in done.err
    assert "1 thing could not be read or copied whole, as named above; everything else was." in done.err


def from_journals(vaultfs, vault: Path, target: Path, code: int = 0) -> dict[str, bytes]:
    """What salvage finds in the journals, by name, without the numbers before it."""
    done = vaultfs("export", "--salvage", vault, target, stdin=PASSWORD)
    assert done.code == code, done
    found = (target / "lost+found/journal").iterdir()
    return {path.name.partition(" ")[2]: path.read_bytes() for path in found}


def synced_and_killed(vault: Path) -> dict[str, bytes]:
    """Make files and changes that only the journal has; what they are then, by name."""
    large = os.urandom(300_000)
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/old", large)
        plain.put("d/cut", large)
        plain.put("d/left alone", b"left")
    with opened(vault, killed=True) as plain:
        plain.put("d/note", b"a note")
        plain.put("new", large[::-1])
        plain.inline.write(plain.id("d/old"), 100, b"in the middle")
        plain.inline.setattr(plain.id("d/cut"), SetAttr(size=70_001))
        plain.inline.write(plain.id("d/cut"), 200_000, b"far behind")
        plain.inline.setattr(plain.id("d/note"), SetAttr(mode=0o640, mtime=5_000_000_000))
        plain.move("d/note", "renamed")
        plain.inline.setattr(plain.id("d/left alone"), SetAttr(mode=0o600))
    return {
        "renamed": b"a note",
        "new": large[::-1],
        "old": large[:100] + b"in the middle" + large[113:],
        "cut": large[:70_001] + bytes(129_999) + b"far behind",
    }


def test_what_only_a_journal_has_comes_out(vaultfs, vault: Path, tmp_path: Path) -> None:
    expected = synced_and_killed(vault)
    for name in ("root.0", "root.1"):
        (vault / name).unlink()
    assert from_journals(vaultfs, vault, tmp_path / "out") == expected
    (note,) = (tmp_path / "out/lost+found/journal").glob("* renamed")
    assert (stat.S_IMODE(note.stat().st_mode), note.stat().st_mtime_ns) == (0o640, 5_000_000_000)
    # The tree shows what was committed.
    assert (tmp_path / "out/d/left alone").read_bytes() == b"left"
    assert (tmp_path / "out/d/old").read_bytes() == expected["new"][::-1]


def test_a_broken_record_costs_itself(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault, killed=True) as plain:
        for number in range(9):
            plain.put(f"note {number}", b"%d" % number * 3000)
    (journal,) = (path for path in (vault / "journal").iterdir() if path.name != "ballast")
    stored = bytearray(journal.read_bytes())
    for place in range(JOURNAL_HEADER_SIZE + 10_000, JOURNAL_HEADER_SIZE + 14_000, 500):
        stored[place] ^= 1
    journal.write_bytes(stored)
    # Nothing behind the break says that it had been synced: to who opens the vault, the journal ends there.
    assert "note 8" not in vaultfs("ls", vault, stdin=PASSWORD).out
    found = from_journals(vaultfs, vault, tmp_path / "out")
    whole = {name for name, data in found.items() if data == name[-1:].encode() * 3000}
    assert {"note 0", "note 1", "note 7", "note 8"} <= whole
    assert len(whole) < 9


@pytest.mark.expects_log("a change is left out")
def test_small_files_that_were_given_up_come_out(vaultfs, vault: Path, tmp_path: Path) -> None:
    """The folder they were made in was broken. Their numbers may stand for other files by now."""
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.put("d/one", b"1")
        plain.commit()
        plain.put("d/two", b"2")
    with opened(vault, killed=True) as plain:
        plain.put("d/three", b"3" * 500)
    break_frame(vault, "d", -1)
    with opened(vault, accept_damage=True) as plain:
        plain.put("other", b"other")
    with opened(vault, killed=True) as plain:
        plain.put("last", b"last")
    assert from_journals(vaultfs, vault, tmp_path / "out") == {"three": b"3" * 500, "last": b"last"}
    (kept,) = (vault / "quarantine").iterdir()
    flip(kept, 0)
    done = vaultfs("export", "--salvage", vault, tmp_path / "again", stdin=PASSWORD)
    assert done.code == 26
    assert f"quarantine/{kept.name} is no journal that this vault's keys open" in done.err


def given_up(vault: Path) -> Path:
    """Let a journal have what cannot be made again, in a folder that is broken; its path."""
    with opened(vault) as plain:
        plain.mkdir("d")
        plain.commit()
        plain.put("d/one", b"1")
    with opened(vault, killed=True) as plain:
        plain.put("d/two", b"2" * 500)
    break_frame(vault, "d", -1)
    (journal,) = (path for path in (vault / "journal").iterdir() if path.name != "ballast")
    return journal


@pytest.mark.expects_log("a change is left out")
def test_a_journal_that_is_kept_takes_nobodys_place(vaultfs, vault: Path, tmp_path: Path) -> None:
    """An older root, where the newest is lost, has journals numbered again."""
    kept = vault / "quarantine" / f"journal-{given_up(vault).name}"
    kept.parent.mkdir()
    kept.write_bytes(b"another")
    with opened(vault, accept_damage=True):
        pass
    other = kept.parent / f"{kept.name}-2"
    assert other.read_bytes() == b"another"
    assert from_journals(vaultfs, vault, tmp_path / "out", code=26) == {"two": b"2" * 500}
    kept.replace(other)
    assert from_journals(vaultfs, vault, tmp_path / "again") == {"two": b"2" * 500}


@pytest.mark.mount
def test_a_journal_that_cannot_be_kept_is_not_deleted(vaultfs, vault: Path, tmp_path: Path) -> None:
    journal = given_up(vault)
    (vault / "quarantine").write_bytes(b"no folder")
    (tmp_path / "mount").mkdir()
    done = vaultfs("mount", vault, tmp_path / "mount", "--accept-damage", stdin=PASSWORD)
    assert done.code == 6
    assert "nothing but a folder may be called quarantine" in done.err
    assert journal.exists()


def test_a_change_to_a_file_that_is_lost_is_told(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault) as plain:
        plain.put("small", b"s" * 1000)
    with opened(vault, killed=True) as plain:
        plain.inline.write(plain.id("small"), 10, b"changed")
    for path in (vault / "objects").rglob("*"):
        if path.is_file():
            path.unlink()
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert "only changes to this file are left" in done.err
    (found,) = (tmp_path / "out/lost+found/journal").iterdir()
    assert found.read_bytes()[10:17] == b"changed"


@pytest.mark.expects_log("changes are left out")
def test_journals_that_were_given_up_one_after_the_other_are_not_mixed(vaultfs, vault: Path, tmp_path: Path) -> None:
    """The second goes on where the first was broken, with the same numbers for records and files."""
    for name in ("first", "second"):
        with opened(vault, killed=True) as plain:
            for number in range(6):
                plain.put(f"{name}{number}", f"{name}{number}".encode() * 20)
                plain.inline.fsync(plain.id(f"{name}{number}"))
        journal = max(path for path in (vault / "journal").iterdir() if path.name != "ballast")
        flip(journal, JOURNAL_HEADER_SIZE + 700)
        with opened(vault, accept_damage=True) as plain:
            pass
    found = from_journals(vaultfs, vault, tmp_path / "out")
    for name in ("first", "second"):
        assert {f"{name}{number}".encode() * 20 for number in (3, 4, 5)} <= set(found.values())
    # One whose beginning is broken has no name; none has what belongs to another.
    for name, data in found.items():
        whose = name.partition("-")[0]  # one that both histories have comes twice
        assert not whose or data in (whose.encode() * 20, b""), name


@pytest.mark.expects_log("changes are left out")
def test_a_change_that_was_given_up_is_not_made_to_another_file(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault) as plain:
        plain.put("file", b"o" * 1000)
    with opened(vault, killed=True) as plain:
        plain.put("filler", b"f" * 3000)
        plain.inline.fsync(plain.id("filler"))
        plain.inline.write(plain.id("file"), 100, b"a part")
        plain.inline.fsync(plain.id("file"))
        plain.put("more", b"m")
    journal = max(path for path in (vault / "journal").iterdir() if path.name != "ballast")
    flip(journal, JOURNAL_HEADER_SIZE + 500)
    with opened(vault, accept_damage=True) as plain:
        plain.inline.write(plain.id("file"), 0, b"n" * 500)
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert "file: bytes 0 to 100 are lost: only changes to this file are left" in done.err
    assert "file: bytes 106 to 1000 are lost" in done.err
    (found,) = (tmp_path / "out/lost+found/journal").glob("* file")
    assert found.read_bytes() == bytes(100) + b"a part" + bytes(894)


def test_what_was_cut_off_or_written_over_is_not_missed(vaultfs, vault: Path, tmp_path: Path) -> None:
    """Nor is it written out: a file may have been much larger for a moment."""
    with opened(vault) as plain:
        plain.put("anew", b"a" * 200_000)
        plain.put("over", b"o" * 200_000)
    broken = [objects_of(vaultfs, vault, f"/{name}")[0] for name in ("anew", "over")]
    with opened(vault, killed=True) as plain:
        for name in ("anew", "over"):
            plain.inline.setattr(plain.id(name), SetAttr(size=0 if name == "anew" else 65536))
            plain.inline.write(plain.id(name), 0, b"N" * 65536)
        plain.put("huge", b"x")
        plain.inline.write(plain.id("huge"), 1 << 40, b"far away")
        plain.inline.setattr(plain.id("huge"), SetAttr(size=5))
    for path in broken:
        flip(path, 1000)
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert "lost+found/journal" not in done.err
    found = {path.name.partition(" ")[2]: path.read_bytes() for path in (tmp_path / "out/lost+found/journal").iterdir()}
    assert found == {"anew": b"N" * 65536, "over": b"N" * 65536, "huge": b"x\0\0\0\0"}


def test_files_in_a_journal_have_the_last_of_their_names(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault) as plain:
        plain.put("one", b"1")
        plain.link("one", "two")
    with opened(vault, killed=True) as plain:
        for name in ("a", "b", "gone"):
            plain.put(name, name.encode())
        plain.inline.rename(*plain.place("a"), *plain.place("b"), RENAME_EXCHANGE)
        plain.inline.unlink(*plain.place("gone"))
        plain.put("new", b"new")
        plain.move("new", "gone")
        plain.inline.write(plain.id("one"), 0, b"!")
        plain.put("ü" * 127, b"long")
    found = from_journals(vaultfs, vault, tmp_path / "out")
    assert found.pop("ü" * 117) == b"long"
    assert sorted((tmp_path / "out/lost+found/journal").glob("* gone"))[1].read_bytes() == b"new"
    del found["gone"]  # two of them: what was there first is deleted, but not known to be unwanted
    assert found == {"two": b"!", "b": b"a", "a": b"b"}


def test_a_journal_that_the_disk_does_not_give_is_no_success(vaultfs, vault: Path, tmp_path: Path) -> None:
    with opened(vault, killed=True) as plain:
        plain.put("note", b"note")
    env = tmp_path / "env"
    env.mkdir()
    (env / "sitecustomize.py").write_text(_NO_JOURNAL)
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD, PYTHONPATH=str(env))
    assert done.code == 26
    assert "journal/00000001: it cannot be read: Input/output error" in done.err


_NO_JOURNAL = """
import errno, os
pread = os.pread

def failing(fd, size, offset):
    if "/journal/0" in os.readlink(f"/proc/self/fd/{fd}"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return pread(fd, size, offset)

os.pread = failing
"""


def test_what_was_changed_on_two_machines_comes_out(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    """One was killed with changes in its journal; a sync client brought what the other wrote from the state before."""
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    other, large = tmp_path / "other", os.urandom(300_000)
    with opened(vault, killed=True) as plain:
        plain.put("both", b"both")
        shutil.copytree(vault, other)
        plain.put("note", b"ours")
        plain.put("large", large)
    with opened(other) as plain:
        for number in range(20):
            plain.put(f"theirs {number}", large[::-1])
    shutil.copytree(other, vault, dirs_exist_ok=True)
    done = vaultfs("import", source / "docs", vault, stdin=PASSWORD)
    assert done.code == 0, done
    assert "The store has a journal, as of a session on another machine, whose changes may be missing" in done.err, done
    assert "The store has a journal" not in vaultfs("ls", vault, stdin=PASSWORD).err
    assert from_journals(vaultfs, vault, tmp_path / "out") == {"both": b"both", "note": b"ours", "large": large}
    assert [(tmp_path / f"out/theirs {number}").read_bytes() for number in range(20)] == [large[::-1]] * 20
