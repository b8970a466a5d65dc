"""A directory tree with every kind of file in it, and a way to compare two."""

import os
import stat
from pathlib import Path

ODD_NAME = b"\xff\xfe not utf-8\n\x1b[31m"


def make_tree(path: Path) -> None:
    """One of everything; run as root for the owners and the device."""
    (path / "docs/deep/deeper").mkdir(parents=True)
    (path / "big").write_bytes(os.urandom(300_000))
    (path / "small").write_bytes(b"hello\n")
    (path / "empty").touch()
    (path / "docs/exact").write_bytes(os.urandom(2 * 65536))
    os.link(path / "small", path / "docs/hard")
    (path / "docs/link").symlink_to("../small")
    os.mkfifo(path / "pipe", 0o640)
    os.mknod(path / "socket", stat.S_IFSOCK | 0o600)
    with (path / "sparse").open("wb") as file:
        file.truncate(500 << 20)
        file.seek(300 << 20)
        file.write(b"in the middle")
    with open(os.fsencode(path / "docs/deep/deeper") + b"/" + ODD_NAME, "wb") as odd:
        odd.write(b"odd")
    os.setxattr(path / "small", "user.colour", b"\x00\xffblue")
    os.chmod(path / "docs/deep", 0o2750)
    if os.geteuid() == 0:
        os.chown(path / "big", 12, 34)
        os.mknod(path / "device", stat.S_IFCHR | 0o620, os.makedev(1, 5))
    os.chmod(path / "big", 0o4751)
    for name in ("big", "docs/deep", "docs"):
        os.utime(path / name, ns=(981_173_106_123_456_789, 981_173_107_987_654_321))
    os.utime(path / "docs/link", ns=(5, 7), follow_symlinks=False)


def facts_of(path: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything below a directory that a copy must have too; hard links show as the same number."""
    found: dict[bytes, tuple[object, ...]] = {}
    linked: dict[int, bytes] = {}
    top = os.fsencode(path)
    for folder, directories, files in os.walk(top):
        for name in sorted(directories + files):
            full = os.path.join(folder, name)
            status = os.lstat(full)
            kind = stat.S_IFMT(status.st_mode)
            content: object = None
            if kind == stat.S_IFREG and status.st_size < 1 << 20:
                content = Path(os.fsdecode(full)).read_bytes()
            elif kind == stat.S_IFLNK:
                content = os.readlink(full)
            names = os.listxattr(full, follow_symlinks=False)
            xattrs = {name: os.getxattr(full, name, follow_symlinks=False) for name in names}
            relative = full[len(top) :]
            size = status.st_size if kind != stat.S_IFDIR else 0
            same = linked.setdefault(status.st_ino, relative) if status.st_nlink > 1 else relative
            found[relative] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, size, status.st_rdev, same,
                content, xattrs,
            )  # fmt: skip
    return found
