"""scripts/chatdata --compare finds every kind of difference, and names the file."""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from _chatdata.compare import BLOCK, compare

SCRIPT = Path(__file__).parents[2] / "scripts" / "chatdata"
TIME = 1_600_000_000_123_456_789


def make(root: Path) -> Path:
    """A small tree with something of each kind; all times the same."""
    (root / "sub").mkdir(parents=True)
    (root / "file").write_bytes(bytes(3 * BLOCK + 5))
    (root / "other").write_bytes(b"other")
    os.link(root / "file", root / "sub" / "linked")
    (root / "link").symlink_to("file")
    os.mkfifo(root / "fifo")
    os.setxattr(root / "other", "user.a", b"1")
    return settle(root)


def settle(root: Path) -> Path:
    """Give everything the same time again."""
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(TIME, TIME), follow_symlinks=False)
    return root


def change_a_byte(root: Path) -> None:
    with (root / "file").open("r+b") as file:
        file.seek(2 * BLOCK + 7)
        file.write(b"x")


def replace(path: Path, how: Callable[[Path], object]) -> None:
    path.unlink()
    how(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


CHANGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "content": (change_a_byte, [f"content from byte {2 * BLOCK + 7}: 'file'", "content from byte"]),
    "size": (lambda root: os.truncate(root / "other", 9), ["size 5 != 9: 'other'"]),
    "mode": (lambda root: (root / "other").chmod(0o4711), ["mode 0644 != 4711: 'other'"]),
    "folder's mode": (lambda root: (root / "sub").chmod(0o700), ["mode 0755 != 0700: 'sub'"]),
    "root's mode": (lambda root: root.chmod(0o700), ["mode 0755 != 0700: '.'"]),
    "target": (lambda root: replace(root / "link", lambda path: path.symlink_to("gone")), ["target 'file' != 'gone'"]),
    "type": (lambda root: replace(root / "fifo", Path.touch), ["type fifo != file: 'fifo'"]),
    "socket": (lambda root: replace(root / "fifo", make_socket), ["type fifo != socket: 'fifo'"]),
    "missing": (lambda root: (root / "other").unlink(), ["only in A: 'other'"]),
    "extra": (lambda root: (root / "new\nline").touch(), [r"only in B: 'new\nline'"]),
    "not UTF-8": (lambda root: Path(os.fsdecode(os.fsencode(root) + b"/\xff")).touch(), [r"only in B: '\udcff'"]),
    "xattr value": (lambda root: os.setxattr(root / "other", "user.a", b"2"), ["xattr 'user.a' b'1' != b'2': 'other'"]),
    "xattr missing": (lambda root: os.removexattr(root / "other", "user.a"), ["xattr 'user.a' b'1' != missing"]),
    "xattr extra": (lambda root: os.setxattr(root / "sub", "user.b", b""), ["xattr 'user.b' missing != b'': 'sub'"]),
    "hard link": (
        lambda root: replace(root / "sub" / "linked", lambda path: path.write_bytes((root / "file").read_bytes())),
        ["hard links [\"'file'\", \"'sub/linked'\"] != [\"'file'\"]: 'file'"],
    ),
}


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    return make(tmp_path / "a"), make(tmp_path / "b")


def test_equal_trees_are_equal(trees: tuple[Path, Path]) -> None:
    found = compare(*trees)
    assert found.differences == []
    assert found.kinds == {"folder": 2, "fifo": 1, "file": 3, "symlink": 1}
    assert (found.hard_links, found.xattrs) == (1, 1)
    assert found.content == 2 * (3 * BLOCK + 5) + 5


@pytest.mark.parametrize("what", CHANGES)
def test_a_difference_is_one_line(trees: tuple[Path, Path], what: str) -> None:
    change, expected = CHANGES[what]
    change(trees[1])
    settle(trees[1])
    differences = compare(*trees).differences
    assert len(differences) == len(expected)
    for line, start in zip(differences, expected, strict=True):
        assert line.startswith(start)


def test_one_nanosecond_is_a_difference(trees: tuple[Path, Path]) -> None:
    for name in ("other", "link", "sub"):
        os.utime(trees[1] / name, ns=(TIME, TIME + 1), follow_symlinks=False)
    found = compare(*trees).differences
    assert found == [f"mtime {TIME} != {TIME + 1}: {name!r}" for name in ("link", "other", "sub")]


@pytest.mark.skipif(os.geteuid() != 0, reason="changing owners and making devices needs root")
def test_owners_and_device_numbers_are_compared(trees: tuple[Path, Path]) -> None:
    os.lchown(trees[1] / "link", 7, 8)
    for root, minor in zip(trees, (3, 5), strict=True):
        os.mknod(root / "device", 0o020600, os.makedev(1, minor))
        settle(root)
    assert compare(*trees).differences == ["device 1:3 != 1:5: 'device'", "owner 0:0 != 7:8: 'link'"]


def test_the_command_says_how_many_and_fails(trees: tuple[Path, Path]) -> None:
    (trees[1] / os.fsdecode(b"caf\xe9")).touch()
    settle(trees[1])
    done = subprocess.run([SCRIPT, "--compare", *trees], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == r"only in B: 'caf\udce9'"
    assert lines[1].startswith("1 difference: 2 folders, ")


def test_a_root_that_is_not_there_is_an_error_not_a_difference(trees: tuple[Path, Path]) -> None:
    done = subprocess.run([SCRIPT, "--compare", trees[0], trees[0] / "no"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such file" in done.stderr
