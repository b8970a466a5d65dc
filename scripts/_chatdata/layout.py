"""Where a chat app keeps what: WhatsApp's and Signal's folders, and the names in them."""

import datetime
import hashlib
import random
from collections import Counter
from collections.abc import Iterator

from _chatdata.mixture import SIGNAL_MEAN, Media, Tier
from _chatdata.tree import SECOND, File, Folder, Node

WHATSAPP = b"Android/media/com.whatsapp/WhatsApp/"
MEDIA = WHATSAPP + b"Media/"
FIRST_DAY = datetime.date(2016, 1, 4)
DAYS = 3287
"""Nine years of chats."""

_FOLDERS = {
    "image": "WhatsApp Images",
    "image-hd": "WhatsApp Images",
    "voice": "WhatsApp Voice Notes",
    "sticker": "WhatsApp Stickers",
    "video": "WhatsApp Video",
    "document": "WhatsApp Documents",
    "audio": "WhatsApp Audio",
    "tiny": "WhatsApp Documents",
}
_PREFIXES = {"image": "IMG-jpg", "image-hd": "IMG-jpg", "voice": "PTT-opus", "sticker": "STK-webp"}
_PREFIXES |= {"video": "VID-mp4", "clip": "VID-mp4", "audio": "AUD-m4a"}
_DOCUMENTS = ("Rechnung", "Invoice", "Счёт", "Договор", "فاتورة", "請求書", "会议记录", "Café menu", "report (final)")
_MODES = (0o644, 0o644, 0o660, 0o600)


def moment(day: datetime.date, rng: random.Random) -> int:
    """Some nanosecond of a day, since the epoch."""
    days = (day - datetime.date(1970, 1, 1)).days
    return (days * 86_400 + rng.randrange(86_400)) * SECOND + rng.randrange(SECOND)


def media_files(media: list[Media], tier: Tier, rng: random.Random) -> Iterator[Node]:
    """Every media file in its folder under its name, the folders' .nomedia files, and one deeper kind of folder."""
    numbers: Counter[str] = Counter()
    for item in media:
        day = FIRST_DAY + datetime.timedelta(rng.randrange(DAYS))
        folder = _folder(item, day, tier, rng)
        name, extension = _name(item, day, numbers, rng)
        label = b"media %d" % item.content
        path = MEDIA + f"{folder}/{name}.{extension}".encode()
        yield File(path, rng.choice(_MODES), moment(day, rng), extension, item.size, label)
    for hidden in ("WhatsApp Images/Sent", "WhatsApp Images/Private", "WhatsApp Video/Sent", "WhatsApp Documents/Sent"):
        yield File(MEDIA + f"{hidden}/.nomedia".encode(), 0o644, moment(FIRST_DAY, rng), "raw", 0, b"")
    for app_folder in (".Statuses", "WhatsApp Animated Gifs", "WhatsApp Video Notes"):
        yield Folder(MEDIA + app_folder.encode(), 0o770, moment(FIRST_DAY, rng))


def _folder(item: Media, day: datetime.date, tier: Tier, rng: random.Random) -> str:
    kind = item.kind.name
    if kind == "clip":
        return rng.choice(("WhatsApp Animated Gifs", "WhatsApp Video Notes"))
    folder = _FOLDERS[kind]
    if kind == "voice":
        year, week, _ = day.isocalendar()
        return f"{folder}/{year}{week:02}"
    if kind == "sticker" or (tier.one_folder and folder == "WhatsApp Images"):
        return folder
    chance = rng.random()
    if chance < 0.03 and folder in ("WhatsApp Images", "WhatsApp Video"):
        return ".Statuses"
    return f"{folder}/Sent" if chance < 0.25 else f"{folder}/Private" if chance < 0.28 else folder


def _name(item: Media, day: datetime.date, numbers: Counter[str], rng: random.Random) -> tuple[str, str]:
    """(name, extension), unlike any given before."""
    kind = item.kind.name
    if kind in _PREFIXES:
        prefix, extension = _PREFIXES[kind].split("-")
        dated = f"{prefix}-{day:%Y%m%d}"
        numbers[dated] += 1
        return f"{dated}-WA{numbers[dated] - 1:04}", extension
    # The format belongs to the content: a forward has the same.
    extensions = ("txt", "vcf") if kind == "tiny" else ("pdf", "pdf", "png")
    numbers["documents"] += 1
    return f"{rng.choice(_DOCUMENTS)} {numbers['documents']}", extensions[item.content % len(extensions)]


def encrypted_databases(tier: Tier, rng: random.Random) -> Iterator[Node]:
    """The app's own encrypted backups: today's, the rotated dailies, increments, and three small ones."""
    today = FIRST_DAY + datetime.timedelta(DAYS)

    def file(name: str, size: int, age: int = 0) -> File:
        day = today - datetime.timedelta(age)
        return File(WHATSAPP + name.encode(), 0o644, moment(day, rng), "raw", size, name.encode())

    yield file("Databases/msgstore.db.crypt15", tier.crypt)
    for age in range(1, tier.rotated + 1):
        day = today - datetime.timedelta(age)
        yield file(f"Databases/msgstore-{day:%Y-%m-%d}.1.db.crypt15", tier.crypt - age * tier.crypt // 200, age)
    for number in (1, 2):
        name = f"Databases/msgstore-increment-{number}-{today:%Y-%m-%d}.1.db.crypt15"
        yield file(name, tier.crypt // 20)
    yield file("Backups/wa.db.crypt15", tier.crypt // 10)
    yield file("Backups/chatsettingsbackup.db.crypt15", 12_345)
    yield file("Backups/stickers.db.crypt15", tier.crypt // 50)


def signal_backups(tier: Tier, rng: random.Random) -> Iterator[Node]:
    """Signal's folder: media by hash below 256 folders, and two snapshots that name them."""
    root = b"SignalBackups/"
    yield File(root + b".nomedia", 0o600, moment(FIRST_DAY, rng), "raw", 0, b"")
    for number in range(256):
        yield Folder(root + b"files/%02x" % number, 0o700, moment(FIRST_DAY, rng))
    for number in range(tier.signal_files):
        label = b"signal %d" % number
        name = hashlib.sha256(label).hexdigest().encode()
        day = FIRST_DAY + datetime.timedelta(rng.randrange(DAYS))
        size = rng.randrange(SIGNAL_MEAN * 2)
        yield File(root + b"files/%s/%s" % (name[:2], name), 0o600, moment(day, rng), "raw", size, label)
    for age in (1, 8):
        day = FIRST_DAY + datetime.timedelta(DAYS - age)
        snapshot = root + f"signal-backup-{day:%Y-%m-%d}-03-00-00/".encode()
        for name, size in ((b"metadata", 96), (b"main", tier.crypt // 10), (b"files", 40 * tier.signal_files)):
            yield File(snapshot + name, 0o600, moment(day, rng), "raw", size, snapshot + name)
