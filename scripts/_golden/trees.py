"""What is in the golden vaults: one of every kind of thing, and a journal with every kind of record."""

import os
import stat
import struct

from _golden.builder import Builder, filler
from vaultfs.vault.inode import SetAttr

CHUNK = 32768
SEGMENT = 1024 * CHUNK
SECOND = 1_000_000_000
RENAME_EXCHANGE, RENAME_WHITEOUT = 2, 4
ACL_ACCESS, ACL_DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"

NAMES = (
    b"n" * 255, b"\xff\xfe\x80 not UTF-8", b"new\nline", b" ", b"-rf", b"trailing dot.", b"trailing blank ", b"COM1",
    b"a:b?c*d|e<f>g\"h\\i", "é composed".encode(), "e\u0301 decomposed".encode(), "\U0001f4f7".encode(), b"\x01\x7f",
    b"CASE", b"case",
)  # fmt: skip


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An ACL's xattr value (linux/posix_acl_xattr.h) of (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 2**32 - 1
NAMED_USER_ACL = acl((1, 6, NOBODY), (2, 4, 1000), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))


def fill_clean(build: Builder) -> None:
    """The clean vault's tree, over several checkpoints."""
    _fill_contents(build)
    build.checkpoint()
    _fill_kinds(build)
    _fill_names(build)
    build.checkpoint()
    _change_contents(build)
    _fill_large(build)
    _leave_orphan(build)


def _fill_contents(build: Builder) -> None:
    build.folder(b"contents")
    build.file(b"contents/empty")
    build.file(b"contents/tiny", [(0, b"A vault that stays readable.\n")])
    build.file(b"contents/one chunk", [(0, filler("one chunk", CHUNK))])
    build.file(b"contents/two chunks", [(0, filler("two chunks", CHUNK + 1))])
    build.file(b"contents/tree", [(0, filler("tree", CHUNK)), (20 * CHUNK + 5, b"twenty-first chunk")])
    build.file(b"contents/two segments", [(7, b"first"), (SEGMENT + CHUNK - 3, b"across")])
    build.file(b"contents/many segments", [(number * SEGMENT + number, b"%d" % number) for number in range(17)])
    holes = build.file(b"contents/holes", [(3 * CHUNK + 100, b"between two holes")])
    build.truncate(holes, 9 * CHUNK + 1)
    build.file(b"contents/overwritten", [(0, filler("overwritten", CHUNK + 1000))])
    build.file(b"contents/cut", [(0, filler("cut", CHUNK + 1000))])
    build.file(b"contents/cut to nothing", [(0, filler("cut to nothing", 1000))])
    build.truncate(build.file(b"contents/only a hole"), 5 * SEGMENT)


def _change_contents(build: Builder) -> None:
    """Changes that a second map has to show, and the first one must not."""
    build.write(build.ids[b"contents/overwritten"], 1000, b"newer bytes in an older chunk")
    cut = build.ids[b"contents/cut"]
    build.truncate(cut, 500)
    build.truncate(cut, CHUNK + 2000)
    build.truncate(build.ids[b"contents/cut to nothing"], 0)
    build.write(build.ids[b"contents/many segments"], 3 * SEGMENT, b"changed")
    build.write(build.ids[b"contents/tree"], 19 * CHUNK, b"filled")


def _fill_kinds(build: Builder) -> None:
    build.folder(b"kinds", 0o1777)
    build.make(b"kinds/symlink", stat.S_IFLNK | 0o777, target=b"../contents/tiny")
    build.make(b"kinds/long symlink", stat.S_IFLNK | 0o777, target=b"\xff/" * 2047 + b"x")
    build.make(b"kinds/character device", stat.S_IFCHR | 0o666, rdev=os.makedev(1, 3))
    build.make(b"kinds/block device", stat.S_IFBLK | 0o660, rdev=os.makedev(259, 70000))
    build.make(b"kinds/fifo", stat.S_IFIFO | 0o600)
    build.make(b"kinds/socket", stat.S_IFSOCK | 0o755)
    owned = build.make(b"kinds/set-id", stat.S_IFREG | 0o755, owner=(NOBODY - 1, 2**31))
    build.fs.setattr(owned, SetAttr(mode=0o6755))
    old = build.file(b"kinds/old times")
    build.fs.setattr(old, SetAttr(atime=-1_500_000_001, mtime=-(2**62), ctime=1))
    new = build.file(b"kinds/new times")
    build.fs.setattr(new, SetAttr(atime=2**62, mtime=4_102_444_800 * SECOND + 999_999_999))
    attributes = build.file(b"kinds/xattrs", [(0, b"with attributes")])
    for name, value in ((b"user.comment", "größer".encode()), (b"user.empty", b""), (b"trusted.t", bytes(range(256)))):
        build.fs.setxattr(attributes, name, value)
    build.fs.setxattr(attributes, ACL_ACCESS, NAMED_USER_ACL)
    build.fs.setxattr(build.folder(b"kinds/default ACL", 0o2750), ACL_DEFAULT, NAMED_USER_ACL)
    build.file(b"kinds/default ACL/heir")
    build.folder(b"kinds/empty folder")
    path = b"kinds"
    for depth in range(12):
        path += b"/%d" % depth
        build.folder(path)
    build.file(path + b"/bottom", [(0, b"twelve down")])


def _fill_names(build: Builder) -> None:
    build.folder(b"names")
    for name in NAMES:
        build.file(b"names/" + name, [(0, name)])
    build.folder(b"links")
    build.file(b"links/a", [(0, b"one file, three names")])
    build.link(b"links/a", b"links/b")
    build.link(b"links/a", b"names/c")
    build.file(b"links/d", [(0, b"two names, one left")])
    build.link(b"links/d", b"links/e")
    build.unlink(b"links/d")


def _fill_large(build: Builder) -> None:
    """A directory with a base object and, by the time it is closed, a delta object."""
    build.folder(b"large")
    for number in range(160):
        build.file(b"large/IMG_%04d.jpg" % number, [(0, b"photo %d" % number)] if number < 5 else None)
    build.checkpoint()
    for number in (7, 70, 150):
        build.unlink(b"large/IMG_%04d.jpg" % number)
    build.checkpoint()
    build.fs.setattr(build.ids[b"large/IMG_0100.jpg"], SetAttr(mode=0o600))
    build.file(b"large/one more.jpg", [(0, b"in the delta")])


def _leave_orphan(build: Builder) -> None:
    """A file that is open and has no name when the vault is closed."""
    orphan = build.file(b"orphan", [(0, b"nobody should see this")])
    build.fs.open_inode(orphan)
    build.unlink(b"orphan")


def fill_committed(build: Builder) -> None:
    """What the unclean vault's root has; the journal changes nearly all of it."""
    build.folder(b"d")
    build.folder(b"d/sub")
    build.folder(b"e")
    for name in (b"keep", b"attributes", b"gone", b"moved", b"target", b"x", b"y", b"white", b"linked", b"purged"):
        build.file(b"d/" + name, [(0, b"committed " + name)])
    build.file(b"d/patched", [(0, filler("patched", CHUNK + 500))])
    build.file(b"d/lost chunk", [(0, filler("lost chunk", CHUNK))])
    build.file(b"d/lost growth", [(0, filler("lost growth", CHUNK))])
    build.file(b"d/pair 1", [(0, b"a pair")])
    build.link(b"d/pair 1", b"d/pair 2")
    build.fs.setxattr(build.ids[b"d/attributes"], b"user.old", b"goes")


def change_first(build: Builder) -> None:
    """Records for the first journal file: one of every kind."""
    build.file(b"d/new", [(0, filler("new", CHUNK + 300))])
    build.folder(b"d/new folder", 0o700)
    build.make(b"d/new link", stat.S_IFLNK | 0o777, target=b"nowhere")
    build.write(build.ids[b"d/patched"], CHUNK - 10, b"across two chunks")
    build.unlink(b"d/gone")
    build.rename(b"d/moved", b"e/moved")
    build.rename(b"d/sub", b"e/sub")
    build.rename(b"d/new", b"d/target")
    build.rename(b"d/x", b"d/y", RENAME_EXCHANGE)
    build.rename(b"d/white", b"e/black", RENAME_WHITEOUT)
    build.link(b"d/linked", b"e/linked")
    attributes = build.ids[b"d/attributes"]
    build.fs.setattr(attributes, SetAttr(mode=0o4711, uid=7, gid=8, atime=9, mtime=10))
    build.fs.setxattr(attributes, b"user.new", b"comes")
    build.fs.removexattr(attributes, b"user.old")
    purged = build.ids[b"d/purged"]
    build.fs.open_inode(purged)
    build.unlink(b"d/purged")
    build.write(purged, 0, b"still open")
    build.fs.fsync()
    build.fs.release(purged)


def change_second(build: Builder) -> None:
    """Records for the second journal file, all made durable."""
    build.truncate(build.ids[b"d/patched"], 100)
    build.truncate(build.ids[b"d/patched"], CHUNK + 100)
    build.write(build.ids[b"d/target"], 4 * CHUNK, filler("target", CHUNK))
    build.unlink(b"d/pair 1")
    build.write(build.ids[b"d/pair 2"], 0, b"now single")
    build.rmdir(b"d/new folder")
    build.fs.fsync()
