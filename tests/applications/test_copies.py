"""Programs that copy and pack trees: rsync, tar, unzip and cp, there and back."""

import os
import shutil
from pathlib import Path

import pytest
from _chatdata.compare import compare

from tests.applications.programs import make_tree, needs, run
from tests.support.mounting import needs_fuse

pytestmark = [pytest.mark.mount, needs_fuse]

MIB = 1 << 20
# Everything, and times to the nanosecond: rsync leaves a time alone that is right to the second.
RSYNC = ("rsync", "-aHAXS", "--modify-window=-1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with all that rsync -aHAX keeps."""
    tree = tmp_path / "tree"
    tree.mkdir()
    make_tree(tree)
    for number in range(3):
        os.link(tree / "json/decoder.py", tree / f"empty/hard {number}")
    os.setxattr(tree / "run.sh", "user.comment", bytes(range(256)))
    os.setxattr(tree / "empty", "user.of a folder", b"")
    if shutil.which("setfacl"):
        run("setfacl", "-m", "u:1234:rwx,g:4321:r", tree / "run.sh")
        run("setfacl", "-d", "-m", "u:1234:rwx", tree / "empty")
    with (tree / "sparse").open("wb") as stream:
        stream.seek(30 * MIB)
        stream.write(b"end")
    os.mkfifo(tree / "pipe")
    if os.geteuid() == 0:
        os.mknod(tree / "device", 0o20600, os.makedev(1, 3))
        os.chown(tree / "run.sh", 1234, 4321)
        (tree / "run.sh").chmod(0o4750)
    os.utime(tree / "latest", ns=(1, 2), follow_symlinks=False)
    os.utime(tree / "json", ns=(123456789, 987654321_123456789))
    return tree


@needs("rsync")
def test_rsync_there_and_back(folder: Path, tree: Path, tmp_path: Path) -> None:
    run(*RSYNC, f"{tree}/", f"{folder}/")
    assert run(*RSYNC, "--dry-run", "--itemize-changes", "--checksum", "--delete", f"{tree}/", f"{folder}/") == ""
    assert compare(tree, folder).differences == []
    run(*RSYNC, f"{folder}/", f"{tmp_path}/back/")
    assert compare(tree, tmp_path / "back").differences == []


@needs("rsync")
def test_rsync_sends_only_what_changed(folder: Path, tree: Path) -> None:
    run(*RSYNC, f"{tree}/", f"{folder}/")
    (tree / "json/encoder.py").write_text("changed\n")
    (tree / "run.sh").unlink()
    changes = run(*RSYNC, "--itemize-changes", "--delete", f"{tree}/", f"{folder}/").splitlines()
    assert [line.split(maxsplit=1)[1] for line in changes] == ["run.sh", "./", "json/encoder.py"]
    assert compare(tree, folder).differences == []
    with (tree / "json/encoder.py").open("a") as stream:
        stream.write("more\n" * 100000)
    run(*RSYNC, "--inplace", "--append-verify", f"{tree}/", f"{folder}/")
    assert compare(tree, folder).differences == []


@needs("tar")
def test_tar_there_and_back(folder: Path, tree: Path, tmp_path: Path) -> None:
    kept = ("--xattrs", "--acls", "--sparse", "--numeric-owner")
    run("tar", *kept, "-cf", tmp_path / "archive", "-C", tree, ".")
    run("tar", *kept, "-xpf", tmp_path / "archive", "-C", folder)
    assert compare(tree, folder).differences == []
    run("tar", *kept, "-cf", folder / "again", "-C", folder, "--exclude=./again", ".")
    (tmp_path / "back").mkdir()
    run("tar", *kept, "-xpf", folder / "again", "-C", tmp_path / "back")
    (folder / "again").unlink()
    os.utime(tmp_path / "back", ns=(folder.stat().st_atime_ns, folder.stat().st_mtime_ns))
    assert compare(folder, tmp_path / "back").differences == []


@needs("zip", "unzip", "diff")
def test_unzip(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    make_tree(source)
    run("zip", "-qry", tmp_path / "archive.zip", ".", cwd=source)
    run("unzip", "-q", tmp_path / "archive.zip", "-d", folder)
    run("diff", "-r", "--no-dereference", source, folder)
    run("zip", "-qry", folder / "archive.zip", ".", cwd=source)
    run("unzip", "-qt", folder / "archive.zip")


@needs("cp")
def test_sparse_copies_stay_sparse(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as stream:
        stream.write(b"begin")
        stream.seek(64 * MIB)
        stream.write(b"middle")
        stream.truncate(100 * MIB)
    run("cp", "--sparse=always", source, folder / "there")
    run("cp", "--sparse=always", folder / "there", folder / "within")
    run("cp", "--sparse=always", folder / "within", tmp_path / "back")
    for copy in (folder / "there", folder / "within", tmp_path / "back"):
        assert copy.stat().st_size == 100 * MIB
        assert copy.stat().st_blocks * 512 < MIB
        run("cmp", source, copy)


@needs("cp")
def test_cp_keeps_all_attributes(folder: Path, tree: Path) -> None:
    run("cp", "--archive", f"{tree}/.", folder)
    assert compare(tree, folder).differences == []


def test_copy_file_range(folder: Path) -> None:
    source, copy = folder / "source", folder / "copy"
    content = os.urandom(3 * MIB)
    source.write_bytes(content)
    with source.open("rb") as reading, copy.open("wb") as writing:
        left = len(content)
        while left:
            left -= os.copy_file_range(reading.fileno(), writing.fileno(), left)
    assert copy.read_bytes() == content
