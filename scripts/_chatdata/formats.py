"""Files that decode: each maker gives exactly `size` bytes of a valid file, padded where its format allows it.

A size too small for the format gives plain filler. JPEG: ITU-T T.81. PNG: RFC 2083. MP4: ISO/IEC 14496-12.
WebP: RFC 9649. Ogg Opus: RFC 7845 and RFC 3533. PDF: ISO 32000-1.
"""

import functools
import struct
import zlib
from collections.abc import Callable

from _chatdata.filler import Buffer, Filler

Maker = Callable[[Filler, int], list[Buffer]]

_PICTURES = 64
"""Different pictures drawn; what makes each file's bytes its own is the padding."""

_DC_CODES = ("00", "010", "011", "100", "101", "110", "1110", "11110", "111110")
_DC_TABLE = bytes((0, 1, 5, 1, 1, 1)) + bytes(10) + bytes(range(9))
_EOB_TABLE = bytes((1,)) + bytes(15) + bytes(1)
_COMMENT_MOST = 65_533
_TALK = """
ok thanks see you tomorrow the photo is from last weekend and we are late again can you call me back when you get
home please buy milk bread coffee happy birthday where are you now on my way great news ja nein gut danke morgen
да нет хорошо завтра спасибо sí no gracias mañana 好的 谢谢 明天 見る はい 😀 ❤️ 👍
"""
_WORDS = _TALK.split()


def raw(filler: Filler, size: int) -> list[Buffer]:
    """Nothing but filler: what an encrypted file looks like."""
    return filler.take(size)


def jpeg(filler: Filler, size: int) -> list[Buffer]:
    """A baseline JPEG of coloured bands; the padding is in COM segments before the scan."""
    width, height = (1600, 1200) if size >= 300_000 else (640, 480)
    picture = filler.take_bytes(1)[0] % _PICTURES
    scan = _jpeg_scan(width, height, picture)
    room = size - len(scan)
    if room < 0:
        return filler.take(size)
    parts: list[Buffer] = [scan[:2]]
    while room:
        payload = min(room - 4, _COMMENT_MOST)
        if 0 < room - 4 - payload < 4:
            payload -= 4  # leave enough for the last segment's own marker and length
        if payload < 0:
            return filler.take(size)
        parts += [struct.pack(">HH", 0xFFFE, payload + 2), *filler.take(payload)]
        room -= 4 + payload
    return [*parts, scan[2:]]


@functools.cache
def _jpeg_scan(width: int, height: int, picture: int) -> bytes:
    """A whole JPEG without padding: 4:2:0, flat 8×8 blocks, so each block is its DC difference and an EOB."""

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">HH", marker, len(body) + 2) + body

    components = bytes((1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0))
    bits = "".join(_jpeg_band(band, picture, width // 16, height // 16) for band in range(5))
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8)
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xFFE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            segment(0xFFDB, bytes(1) + bytes((8,)) * 64),
            segment(0xFFC0, struct.pack(">BHHB", 8, height, width, 3) + components),
            segment(0xFFC4, bytes((0x00,)) + _DC_TABLE + bytes((0x10,)) + _EOB_TABLE),
            segment(0xFFDA, bytes((3, 1, 0, 2, 0, 3, 0, 0, 63, 0))),
            coded.replace(b"\xff", b"\xff\0"),
            b"\xff\xd9",
        )
    )


def _band_colour(band: int, picture: int) -> tuple[int, int, int]:
    """Level-shifted (Y, Cb, Cr) of one of a picture's bands."""
    if band < 0:
        return 0, 0, 0
    return (picture * 37 + band * 53) % 200 - 100, (picture * 71 + band * 29) % 160 - 80, (picture * 13) % 160 - 80


def _jpeg_band(band: int, picture: int, columns: int, rows: int) -> str:
    """The bits of one of five horizontal bands: one MCU that changes the colour, then equal ones."""
    flat = "000"  # difference 0, end of block
    old, new = _band_colour(band - 1, picture), _band_colour(band, picture)
    luma, blue, red = (_dc_bits(after - before) + "0" for before, after in zip(old, new, strict=True))
    mcus = columns * (rows // 5 if band < 4 else rows - 4 * (rows // 5))
    return luma + flat * 3 + blue + red + flat * 6 * (mcus - 1)


def _dc_bits(difference: int) -> str:
    """Huffman code of the size category, then the value's bits (T.81 F.1.2.1)."""
    category = abs(difference).bit_length()
    if not category:
        return _DC_CODES[0]
    value = difference if difference > 0 else difference + (1 << category) - 1
    return _DC_CODES[category] + format(value, f"0{category}b")


def png(filler: Filler, size: int) -> list[Buffer]:
    """A 320×240 PNG; the padding is in a private ancillary chunk."""
    shade = filler.take_bytes(3)
    pixels = zlib.compress((b"\0" + shade * 320) * 240, 9)
    head = b"\x89PNG\r\n\x1a\n" + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 320, 240, 8, 2, 0, 0, 0))
    tail = _png_chunk(b"IDAT", pixels) + _png_chunk(b"IEND", b"")
    room = size - len(head) - len(tail) - 12
    if room < 0:
        return filler.take(size)
    padding = filler.take(room)
    crc = zlib.crc32(b"fiLr")
    for piece in padding:
        crc = zlib.crc32(piece, crc)
    return [head + struct.pack(">I4s", room, b"fiLr"), *padding, struct.pack(">I", crc) + tail]


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def mp4(filler: Filler, size: int) -> list[Buffer]:
    """An MP4 with its `moov` at the end, as phones write it; the padding is the media data."""
    start = struct.pack(">I4s4sI4s4s", 24, b"ftyp", b"mp42", 0, b"isom", b"mp42")
    unity = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    body = struct.pack(">IIIIIIH10x", 0, 0, 0, 1000, 5000, 0x10000, 0x100) + unity + bytes(24) + struct.pack(">I", 1)
    movie_header = struct.pack(">I4s", 8 + len(body), b"mvhd") + body
    end = struct.pack(">I4s", 8 + len(movie_header), b"moov") + movie_header
    room = size - len(start) - len(end) - 8
    if room < 0:
        return filler.take(size)
    return [start + struct.pack(">I4s", room + 8, b"mdat"), *filler.take(room), end]


def webp(filler: Filler, size: int) -> list[Buffer]:
    """A lossless 1×1 WebP; the padding is in a chunk readers skip. RIFF wants even sizes: one byte may trail."""
    image = b"VP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0"
    room = (size - 12 - len(image) - 8) & ~1
    if room < 0:
        return filler.take(size)
    head = struct.pack("<4sI4s", b"RIFF", 4 + len(image) + 8 + room, b"WEBP") + image
    return [head + struct.pack("<4sI", b"fiLl", room), *filler.take(room), bytes(size % 2)]


def opus(filler: Filler, size: int) -> list[Buffer]:
    """The two header pages of an Ogg Opus voice note, then filler for its sound."""
    serial = int.from_bytes(filler.take_bytes(4))
    head = _ogg_page(2, serial, 0, struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 312, 16000, 0, 0))
    tags = _ogg_page(0, serial, 1, struct.pack("<8sI8sI", b"OpusTags", 8, b"WhatsApp", 0))
    room = size - len(head) - len(tags)
    return [head + tags, *filler.take(room)] if room >= 0 else filler.take(size)


def _ogg_page(flags: int, serial: int, number: int, packet: bytes) -> bytes:
    def page(crc: int) -> bytes:
        header = struct.pack("<4sBBqIIIBB", b"OggS", 0, flags, 0, serial, number, crc, 1, len(packet))
        return header + packet

    crc = 0
    for byte in page(0):
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return page(crc)


def pdf(filler: Filler, size: int) -> list[Buffer]:
    """A PDF of one empty page; the padding is in a stream object."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
    ]
    head, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(head))
        head += b"%d 0 obj%s endobj\n" % (number, body)
    offsets.append(len(head))
    template = b"4 0 obj<</Length %010d>>stream\n"
    close = b"\nendstream endobj\n"
    table = b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer<</Size 5/Root 1 0 R>>\nstartxref\n%010d\n%%%%EOF\n"
    room = size - len(head) - len(template % 0) - len(close) - len(table) - len(trailer % 0)
    if room < 0:
        return filler.take(size)
    start = len(head) + len(template % 0) + room + len(close)
    return [head + template % room, *filler.take(room), close + table + trailer % start]


def text(filler: Filler, size: int) -> list[Buffer]:
    """Words in several scripts: UTF-8 but for a last character that may be cut."""
    picks = filler.take_bytes(size // 3 + 1)
    return [" ".join(_WORDS[pick % len(_WORDS)] for pick in picks).encode()[:size].ljust(size, b"\n")]


def sentence(picks: bytes) -> str:
    """A message of one word for each byte of `picks`."""
    return " ".join(_WORDS[pick % len(_WORDS)] for pick in picks)


MAKERS: dict[str, Maker] = {
    "jpg": jpeg,
    "png": png,
    "mp4": mp4,
    "m4a": mp4,
    "webp": webp,
    "opus": opus,
    "pdf": pdf,
    "txt": text,
    "vcf": text,
    "raw": raw,
}
"""By format, which is also the extension of the file's name."""
