"""The difficult part of a backup: names, links, modes, times and kinds that filesystems get wrong."""

import random
from collections.abc import Iterator

from _chatdata.layout import MEDIA
from _chatdata.tree import SECOND, Fifo, File, Folder, HardLink, Node, Symlink

DOCUMENTS = MEDIA + b"WhatsApp Documents/"
LONGEST_PATH = 3_900
"""Bytes; leaves room for the tree's own place before PATH_MAX (4,096) is reached."""

NAMES: tuple[bytes, ...] = (
    *(name.encode() for name in (
        "Семейные фото.txt",
        "صور العائلة.txt",
        "家族の写真.txt",
        "가족 사진.txt",
        "👨\u200d👩\u200d👧\u200d👦.txt",
        "caf\u00e9.txt",
        "cafe\u0301.txt",
        "A.jpg",
        "a.jpg",
        " leading blank.txt",
        "trailing blank.txt ",
        "trailing dot.",
        "...",
        "-rf",
        "# hash.txt",
        "what?.txt",
        "star*.txt",
        'quote".txt',
        "apostrophe'.txt",
        "back\\slash.txt",
        "new\nline.txt",
        "tab\tbell\a.txt",
        "con.txt",
        "percent%41.txt",
        "$HOME `id`.txt",
        "ß" * 100,
        "x" * 254,
        "y" * 255,
        "あ" * 85,
    )),
    b"latin-1 caf\xe9.txt",
    b"not utf-8 \xff\xfe\x80.txt",
    b"\xc3",
    b"\x01",
)


def oddities(rng: random.Random) -> Iterator[Node]:
    """Everything difficult, a few MB in all."""

    def time() -> int:
        return rng.randrange(1_451_865_600 * SECOND, 1_735_603_200 * SECOND)

    for number, name in enumerate(NAMES):
        extension = "jpg" if name.endswith(b".jpg") else "txt"
        yield File(DOCUMENTS + name, 0o644, time(), extension, 3_000 + number * 97, name)
    yield from _deep_and_long(time())
    yield from _links(time())
    yield from _attributes(time())
    for size in (0, 1, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537, 131_072, 1_048_577):
        yield File(DOCUMENTS + b"sizes/%d.bin" % size, 0o644, time(), "raw", size, b"size %d" % size)
    yield File(DOCUMENTS + b"sparse.img", 0o644, time(), "raw", 16 << 20, b"sparse", holes=True)
    yield Fifo(DOCUMENTS + b"fifo", 0o640, time())
    yield Folder(DOCUMENTS + b"empty folder", 0o711, time())


def _deep_and_long(time: int) -> Iterator[Node]:
    """300 folders in each other, and one path of `LONGEST_PATH` bytes."""
    deep = b"/".join(b"%d" % level for level in range(300))
    yield File(DOCUMENTS + b"deep/" + deep + b"/bottom.txt", 0o644, time, "txt", 500, b"bottom")
    long = DOCUMENTS + b"long"
    while LONGEST_PATH - len(long) > 2 * 256:
        long += b"/" + b"p" * 255
    rest = LONGEST_PATH - len(long) - 2
    long += b"/" + b"q" * (rest // 2) + b"/" + b"r" * (rest - rest // 2)
    yield File(long, 0o644, time, "txt", 500, b"long")


def _links(time: int) -> Iterator[Node]:
    targets = {
        b"to file": b"caf\xc3\xa9.txt",
        b"to folder": b"../WhatsApp Images",
        b"to nothing": b"/nonexistent/place",
        b"to itself": b"to itself",
        b"to bytes": b"not utf-8 \xff\xfe",
        b"to far": b"far/" * 1_000 + b"away",
    }
    for name, target in targets.items():
        yield Symlink(DOCUMENTS + b"links/" + name, 0o777, time, target)
    first = DOCUMENTS + b"links/one of three"
    yield File(first, 0o644, time, "txt", 20_000, b"hard link")
    yield HardLink(DOCUMENTS + b"links/two of three", 0o644, time, first)
    yield HardLink(MEDIA + b"three of three", 0o644, time, first)
    yield Fifo(DOCUMENTS + b"links/pipe", 0o600, time)
    yield HardLink(DOCUMENTS + b"links/same pipe", 0o600, time, DOCUMENTS + b"links/pipe")


def _attributes(time: int) -> Iterator[Node]:
    """Odd modes, owners and times, and extended attributes of several sizes."""
    place = DOCUMENTS + b"attributes/"
    for mode in (0o400, 0o444, 0o777, 0o4755, 0o2755, 0o6711, 0o1644):
        yield File(place + b"mode %o" % mode, mode, time, "txt", 64, b"%o" % mode)
    for mode in (0o700, 0o1777, 0o2775):
        yield Folder(place + b"folder %o" % mode, mode, time)
    yield File(place + b"someone else's", 0o640, time, "txt", 64, b"owner", owner=(12_345, 54_321))
    for name, moment in ((b"1965", -157_766_400), (b"1970", 0), (b"2038", 2_147_483_648), (b"2100", 4_102_444_800)):
        yield File(place + name, 0o644, moment * SECOND + 123_456_789, "txt", 64, name)
    yield File(
        place + b"xattrs",
        0o644,
        time,
        "txt",
        64,
        b"xattrs",
        {
            "user.xdg.origin.url": b"https://example.org/?q=1",
            "user.empty": b"",
            "user.binary": bytes(range(256)),
            "user.grüße": "é".encode(),
            "user.large": b"large " * 300,
        },
    )
