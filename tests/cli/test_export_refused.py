"""What the target of an export does not take costs itself: it is named, and everything else is copied."""

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.cli.plain import flip, opened
from tests.cli.running import PASSWORD
from vaultfs.vault.inode import SetAttr


def refusing(call: str, condition: str, code: int) -> str:
    """Python for `first`: a function of `os` fails where its arguments `a` and `k` are such."""
    return f"""
import os
plain_{call} = os.{call}
def refusing_{call}(*a, **k):
    if {condition}:
        raise OSError({code}, os.strerror({code}))
    return plain_{call}(*a, **k)
os.{call} = refusing_{call}
"""


def contents(folder: Path) -> dict[str, bytes]:
    """What is in all files below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folders(vault: Path) -> Path:
    """A vault with three folders, each with a folder and a file in it."""
    with opened(vault) as plain:
        for name in "amz":
            plain.mkdir(name, f"{name}/{name}")
            plain.put(f"{name}/{name}/f", name.encode())
    return vault


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EEXIST, errno.ENAMETOOLONG])
def test_a_folder_costs_what_is_in_it(vaultfs, folders: Path, tmp_path: Path, code: int) -> None:
    """FAT has no folder 'Photos: 2020', and none 'a' beside 'A'."""
    first = refusing("mkdir", "a[0] == b'm'", code)
    done = vaultfs("export", folders, tmp_path / "out", stdin=PASSWORD, first=first)
    assert done.code == 26, done
    assert f"/m: it cannot be made in the target, nor can what is in it: {os.strerror(code)}" in done.err
    assert "1 thing could not be read or copied whole, as named above; everything else was." in done.err
    assert contents(tmp_path / "out") == {"a/a/f": b"a", "z/z/f": b"z"}


def test_a_full_disk_ends_the_export(vaultfs, refused, folders: Path, tmp_path: Path) -> None:
    for call in ("mkdir", "fchmod"):
        first = refusing(call, "True", errno.ENOSPC)
        refused(vaultfs("export", folders, tmp_path / call, stdin=PASSWORD, first=first), 11, "No space left")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.E2BIG, errno.ERANGE])
def test_a_large_attribute_costs_itself(vaultfs, vault: Path, tmp_path: Path, code: int) -> None:
    """Ext4 has no space for what does not fit into a block, on an empty disk."""
    with opened(vault) as plain:
        for name in "amz":
            plain.put(name, name.encode())
        for name, size in (("big", 5000), ("last", 5)):
            plain.inline.setxattr(plain.id("m"), b"user." + name.encode(), b"v" * size)
        plain.inline.setattr(plain.id("m"), SetAttr(mode=0o751, mtime=5_000_000_000))
    first = refusing("setxattr", "len(a[2]) > 4000", code)
    done = vaultfs("export", vault, tmp_path / "out", stdin=PASSWORD, first=first)
    assert done.code == 26, done
    assert f"/m: its attribute user.big cannot be set in the target: {os.strerror(code)}" in done.err
    assert contents(tmp_path / "out") == {"a": b"a", "m": b"m", "z": b"z"}
    status = (tmp_path / "out/m").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o751, 5_000_000_000)
    assert os.listxattr(tmp_path / "out/m") == ["user.last"]


@pytest.mark.parametrize(("call", "what"), [("fchmod", "mode"), ("utime", "time")])
def test_what_the_target_has_none_of_is_told_once(
    vaultfs, folders: Path, tmp_path: Path, call: str, what: str
) -> None:
    first = refusing(call, "True", errno.EPERM)
    done = vaultfs("export", folders, tmp_path / "out", stdin=PASSWORD, first=first)
    assert done.code == 0, done
    assert done.err == f"vaultfs: warning: The target does not take every {what}: Operation not permitted.\n"
    assert contents(tmp_path / "out") == {f"{name}/{name}/f": name.encode() for name in "amz"}


def test_attributes_of_a_folder_cost_themselves(vaultfs, folders: Path, tmp_path: Path) -> None:
    first = refusing("utime", "os.readlink(f'/proc/self/fd/{a[0]}').endswith('/m')", errno.EOVERFLOW)
    done = vaultfs("export", folders, tmp_path / "out", stdin=PASSWORD, first=first)
    assert done.code == 26, done
    assert "/m: its time cannot be set in the target" in done.err
    assert "/m/m: its time cannot be set in the target" in done.err
    assert contents(tmp_path / "out") == {f"{name}/{name}/f": name.encode() for name in "amz"}


@pytest.fixture
def linked(vault: Path) -> Path:
    """A vault with a file that has four names, the first of them in a folder."""
    with opened(vault) as plain:
        plain.mkdir("a")
        plain.put("a/f", b"data" * 50_000)
        for name in "bcd":
            plain.link("a/f", name)
    return vault


@pytest.mark.parametrize("refusal", [("mkdir", "a[0] == b'a'"), ("open", "a[0] == b'f'")])
def test_a_first_name_that_is_refused_costs_no_other(
    vaultfs, linked: Path, tmp_path: Path, refusal: tuple[str, str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    done = vaultfs("export", linked, out, stdin=PASSWORD, first=refusing(*refusal, errno.EINVAL))
    assert done.code == 26, done
    assert "/a" in done.err
    assert contents(out) == dict.fromkeys("bcd", b"data" * 50_000)
    assert os.path.samefile(out / "b", out / "d")


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_where_there_are_no_hard_links_each_name_gets_a_copy(vaultfs, linked: Path, tmp_path: Path, code: int) -> None:
    first = refusing("link", "True", code)
    done = vaultfs("export", linked, tmp_path / "out", stdin=PASSWORD, first=first)
    assert done.code == 0, done
    assert done.err == f"vaultfs: warning: The target does not take every hard link: {os.strerror(code)}.\n"
    assert contents(tmp_path / "out") == dict.fromkeys(("a/f", *"bcd"), b"data" * 50_000)


def test_what_is_lost_of_a_file_is_told_for_each_of_its_names(vaultfs, linked: Path, tmp_path: Path) -> None:
    stored = vaultfs("where", f"{linked}:/b", stdin=PASSWORD).out.splitlines()[-1].split()[0]
    flip(linked / stored, 96 + 70_000)
    into_tar = "import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1)", "--into", "tar"
    for first, *where in (("", tmp_path / "out"), into_tar):
        done = vaultfs("export", linked, *where, stdin=PASSWORD, first=first)
        assert done.code == 26, done
        for name in ("a/f", *"bcd"):
            assert f"/{name}: bytes 65536 to 131072 are lost" in done.err
        assert "4 things could not be read or copied whole" in done.err
