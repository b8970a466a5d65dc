"""An import of a directory that is in use, or that fails: no byte that never was, and no part that looks whole."""

import os
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD

LOG = b"a line of the log\n" * 20_000
AT_READ = """
import os, signal
pread, reads = os.pread, []
def reading(fd, size, offset):
    path = os.readlink(f"/proc/self/fd/{{fd}}")
    if path.endswith("/log"):
        reads.append(path)
        if {when}:
            {what}
    return pread(fd, size, offset)
os.pread = reading
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in use"
    folder.mkdir()
    (folder / "log").write_bytes(LOG)
    (folder / "quiet").write_bytes(b"quiet")
    return folder


def exported(vaultfs, vault: Path, out: Path) -> dict[str, bytes]:
    assert vaultfs("export", vault, out, stdin=PASSWORD).code == 0
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_what_was_written_to_once_is_copied_again(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    """The first copy would have the end of the new file, and the beginning of the old one."""
    (source / "log").write_bytes(LOG * 8)
    change = "open(path, 'r+b').write(b'NEW'); open(path, 'ab').write(b'NEW')"
    done = vaultfs(
        "import", source, vault, "--verify", stdin=PASSWORD, first=AT_READ.format(when="len(reads) == 2", what=change)
    )
    assert done.code == 0, done
    assert (source / "log").read_bytes() == b"NEW" + (LOG * 8)[3:] + b"NEW"
    assert exported(vaultfs, vault, tmp_path / "out")["log"] == (source / "log").read_bytes()


def test_what_a_file_grows_by_is_no_zeros(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    first = AT_READ.format(when="True", what="open(path, 'ab').write(b'one more\\n')")
    done = vaultfs("import", source, vault, stdin=PASSWORD, first=first)
    assert done.code == 26, done
    assert "log was written to while it was copied" in done.err
    found = exported(vaultfs, vault, tmp_path / "out")
    assert found.keys() == {"log", "quiet"}
    assert (source / "log").read_bytes().startswith(found["log"])
    assert len(found["log"]) > len(LOG)


@pytest.mark.parametrize("cut", [1000, 50_000])
def test_what_a_file_shrinks_by_is_no_zeros(vaultfs, vault: Path, source: Path, tmp_path: Path, cut: int) -> None:
    shrink = f"os.truncate(path, max(os.path.getsize(path) - {cut}, 0))"
    done = vaultfs("import", source, vault, stdin=PASSWORD, first=AT_READ.format(when="True", what=shrink))
    assert done.code == 26, done
    found = exported(vaultfs, vault, tmp_path / "out")["log"]
    assert LOG.startswith(found)


AT_STAT = """
import os
stat = os.stat
def looking(path, *args, **more):
    if path == b"lost":
        {what}
    return stat(path, *args, **more)
os.stat = looking
"""


AT_OPEN = AT_STAT.replace("stat", "open")


@pytest.mark.parametrize("is_listed", [False, True])
def test_what_is_deleted_meanwhile_ends_nothing(
    vaultfs, vault: Path, source: Path, tmp_path: Path, is_listed: bool
) -> None:
    (source / "lost").write_bytes(b"lost")
    delete = f"os.unlink({str(source / 'lost')!r})"
    first = AT_READ.format(when="True", what=delete) if is_listed else AT_STAT.format(what=delete)
    done = vaultfs("import", source, vault, stdin=PASSWORD, first=first)
    assert done.code == (26 if is_listed else 0), done
    assert ("lost was deleted before it was copied" in done.err) is is_listed
    assert exported(vaultfs, vault, tmp_path / "out") == {"log": LOG, "quiet": b"quiet"}


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_folder_that_is_deleted_meanwhile_ends_nothing(
    vaultfs, vault: Path, source: Path, tmp_path: Path, is_begun: bool
) -> None:
    (source / "lost").mkdir()
    delete = f"os.rmdir({str(source / 'lost')!r})"
    first = AT_READ.format(when="len(reads) == 1", what=delete) if is_begun else AT_OPEN.format(what=delete)
    done = vaultfs("import", source, vault, stdin=PASSWORD, first=first)
    assert done.code == (26 if is_begun else 0), done
    assert ("lost was deleted while what is in it was copied" in done.err) is is_begun
    assert (source / "lost").exists() is False
    assert vaultfs("cat", f"{vault}:/quiet", stdin=PASSWORD).out == "quiet"


def test_the_other_name_of_what_is_deleted_meanwhile_is_a_file(
    vaultfs, vault: Path, source: Path, tmp_path: Path
) -> None:
    (source / "lost").write_bytes(b"lost")
    os.link(source / "lost", source / "zother")
    first = AT_READ.format(when="True", what=f"os.unlink({str(source / 'lost')!r})")
    done = vaultfs("import", source, vault, stdin=PASSWORD, first=first)
    assert done.code == 26, done
    assert exported(vaultfs, vault, tmp_path / "out") == {"log": LOG, "quiet": b"quiet", "zother": b"lost"}


def test_holes_stay_wherever_they_are(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    with open(source / "sparse", "wb") as file:
        file.seek(1 << 20)
        file.write(b"data")
        file.truncate(3 << 20)
    (source / "hole").touch()
    os.truncate(source / "hole", 1 << 20)
    assert vaultfs("import", source, vault, "--verify", stdin=PASSWORD).code == 0
    found = exported(vaultfs, vault, tmp_path / "out")
    assert found["sparse"] == (source / "sparse").read_bytes()
    assert found["hole"] == bytes(1 << 20)


@pytest.mark.parametrize(
    ("what", "code"),
    [("raise OSError(5, 'Input/output error')", 11), ("os.kill(os.getpid(), signal.SIGINT)", 15)],
    ids=["a disk that fails", "Ctrl-C"],
)
def test_a_part_of_a_file_does_not_stay(
    vaultfs, vault: Path, source: Path, tmp_path: Path, what: str, code: int
) -> None:
    (source / "log").write_bytes(os.urandom(10 << 20))
    (source / "before").write_bytes(b"before")
    done = vaultfs("import", source, vault, stdin=PASSWORD, first=AT_READ.format(when="len(reads) == 5", what=what))
    assert done.code == code, done
    if code == 11:
        assert f"vaultfs: {source}/log: Input/output error" in done.err
    assert exported(vaultfs, vault, tmp_path / "out") == {"before": b"before"}


def test_a_number_that_is_used_again_makes_no_hard_link(vaultfs, vault: Path, tmp_path: Path) -> None:
    """Mail is delivered by linking and deleting: the next file of two names may get the number of the last one."""
    source = tmp_path / "mail"
    source.mkdir()
    for name in ("first", "second"):
        (source / name).write_bytes(f"the {name} letter".encode())
        os.link(source / name, tmp_path / name)
    first = """
import os, types
stat = os.stat
def same(path, **more):
    found = stat(path, **more)
    if path not in (b"first", b"second"):
        return found
    facts = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
    return types.SimpleNamespace(**facts | {"st_ino": 77})
os.stat = same
"""
    assert vaultfs("import", source, vault, stdin=PASSWORD, first=first).code == 0
    found = exported(vaultfs, vault, tmp_path / "out")
    assert found == {"first": b"the first letter", "second": b"the second letter"}


def test_a_store_is_not_copied_into_itself(vaultfs, refused, vault: Path) -> None:
    refused(vaultfs("import", vault.parent, vault, stdin=PASSWORD), 1, "would be copied into what it grows by")
    refused(vaultfs("import", vault, vault, stdin=PASSWORD), 1, "would be copied into what it grows by")


def test_nor_are_its_journals(vaultfs, refused, vault: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "journals").mkdir(parents=True)
    options = ("--journal-dir", tmp_path / "in" / "journals")
    done = vaultfs("import", tmp_path / "in", vault, *options, stdin=PASSWORD)
    refused(done, 1, "would be copied into what it grows by")
