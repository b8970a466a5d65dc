"""The app's real SQLite databases: `msgstore.db` with a rollback journal, `wa.db` left with its WAL.

Byte for byte the same for one seed and one SQLite version (SQLite writes its version into the header).
WAL format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import os
import random
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from _chatdata.formats import sentence

PAGE = 4096
FIRST_MESSAGE = 1_451_865_600_000
"""In ms since the epoch, as the app stores times."""

_SCHEMA = """
    CREATE TABLE props (_id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, value TEXT);
    CREATE TABLE jid (_id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, server TEXT NOT NULL, raw_string TEXT);
    CREATE TABLE chat (_id INTEGER PRIMARY KEY AUTOINCREMENT, jid_row_id INTEGER UNIQUE, subject TEXT,
        created_timestamp INTEGER, sort_timestamp INTEGER, archived INTEGER, unseen_message_count INTEGER);
    CREATE TABLE message (_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER NOT NULL, from_me INTEGER NOT NULL,
        key_id TEXT NOT NULL, sender_jid_row_id INTEGER, status INTEGER, timestamp INTEGER, received_timestamp INTEGER,
        message_type INTEGER, text_data TEXT, starred INTEGER, sort_id INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE message_media (message_row_id INTEGER PRIMARY KEY, chat_row_id INTEGER, file_path TEXT,
        file_size INTEGER, mime_type TEXT, media_key BLOB, file_hash TEXT);
    CREATE UNIQUE INDEX message_key_index ON message (chat_row_id, from_me, key_id, sender_jid_row_id);
    CREATE INDEX message_chat_id_index ON message (chat_row_id, sort_id);
    CREATE INDEX message_timestamp_index ON message (timestamp);
"""
_INSERT_MESSAGE = "INSERT INTO message VALUES (NULL, ?, ?, ?, ?, 13, ?, ?, ?, ?, 0, ?)"
_INSERT_MEDIA = "INSERT INTO message_media VALUES (?, ?, ?, ?, 'image/jpeg', ?, ?)"


def make_databases(folder: Path, size: int, rng: random.Random) -> None:
    """`msgstore.db` of about `size` bytes, and `wa.db`, `wa.db-wal` and `wa.db-shm`, in an existing folder."""
    _make_msgstore(folder / "msgstore.db", size, rng)
    _make_wa(folder, rng)


def _make_msgstore(path: Path, size: int, rng: random.Random) -> None:
    with closing(sqlite3.connect(path)) as database:
        # Not made to be safe from a power cut, only to be the same every time.
        database.executescript(f"PRAGMA page_size={PAGE}; PRAGMA journal_mode=delete; PRAGMA synchronous=off;")
        database.executescript(_SCHEMA)
        chats = 40
        database.execute("INSERT INTO props VALUES (NULL, 'version', '1')")
        for chat in range(1, chats + 1):
            user = f"49151{rng.randrange(10**8):08}"
            database.execute("INSERT INTO jid VALUES (NULL, ?, 's.whatsapp.net', ?)", (user, f"{user}@s.whatsapp.net"))
            row = (chat, f"Chat {chat}", FIRST_MESSAGE, FIRST_MESSAGE + chat)
            database.execute("INSERT INTO chat VALUES (NULL, ?, ?, ?, ?, 0, 0)", row)
        number = 0
        batch = max(50, min(5_000, size // 40_000))
        while database.execute("PRAGMA page_count").fetchone()[0] * PAGE < size:
            messages = list(_messages(number, batch, chats, rng))
            database.executemany(_INSERT_MESSAGE, messages)
            media = (_media(number + place + 1, row[0], rng) for place, row in enumerate(messages) if row[6] == 1)
            database.executemany(_INSERT_MEDIA, media)
            number += batch
        database.commit()


def _messages(first: int, count: int, chats: int, rng: random.Random) -> Iterator[tuple[int | str | None, ...]]:
    for number in range(first, first + count):
        chat = 1 + int(chats * rng.random() ** 2)
        time = FIRST_MESSAGE + number * 250_000 + rng.randrange(250_000)
        is_media = int(rng.random() < 0.1)
        words = None if is_media else sentence(rng.randbytes(1 + int(150 * rng.random() ** 2)))
        key = rng.randbytes(16).hex().upper()
        yield chat, rng.randrange(2), key, chat, time, time + 300, is_media, words, number


def _media(row: int, chat: int | str | None, rng: random.Random) -> tuple[int | str | bytes | None, ...]:
    path = f"Media/WhatsApp Images/IMG-20200101-WA{row:06}.jpg"
    return row, chat, path, rng.randrange(15_000, 2_000_000), rng.randbytes(32), rng.randbytes(32).hex()


def _make_wa(folder: Path, rng: random.Random) -> None:
    """A WAL database as a running app leaves it: its last changes are in `wa.db-wal` only."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "wa.db"
        with closing(sqlite3.connect(path)) as database:
            database.executescript(f"PRAGMA page_size={PAGE}; PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0;")
            database.execute("CREATE TABLE wa_contacts (_id INTEGER PRIMARY KEY, jid TEXT, display_name TEXT)")
            for number in range(2_000):
                if number == 1_500:
                    database.commit()
                    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                row = (f"49151{rng.randrange(10**8):08}@s.whatsapp.net", sentence(rng.randbytes(3)))
                database.execute("INSERT INTO wa_contacts VALUES (NULL, ?, ?)", row)
            database.commit()
            # Copied while open: the last connection to close would fold the WAL into the database.
            for name in ("wa.db", "wa.db-wal"):
                shutil.copyfile(path.with_name(name), folder / name)
        _reseal_wal(folder / "wa.db-wal", rng.randbytes(8))
        _copy_shared_memory(folder, Path(scratch) / "again")


def _reseal_wal(path: Path, salt: bytes) -> None:
    """Put a salt of ours for SQLite's random one, and recompute the running checksums over it."""
    data = bytearray(path.read_bytes())
    data[16:24] = salt
    checksum = _checksum(data[:24], (0, 0))
    data[24:32] = struct.pack(">II", *checksum)
    for frame in range(32, len(data), 24 + PAGE):
        data[frame + 8 : frame + 16] = salt
        checksum = _checksum(data[frame : frame + 8], checksum)
        checksum = _checksum(data[frame + 24 : frame + 24 + PAGE], checksum)
        data[frame + 16 : frame + 24] = struct.pack(">II", *checksum)
    path.write_bytes(data)


def _checksum(data: bytes | bytearray, start: tuple[int, int]) -> tuple[int, int]:
    """The WAL's checksum over little-endian words (its magic number, 0x377f0682, says little-endian)."""
    first, second = start
    words = struct.unpack(f"<{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _copy_shared_memory(folder: Path, scratch: Path) -> None:
    """Let SQLite rebuild the WAL's index for the salt it has now, and keep that."""
    scratch.mkdir()
    for name in ("wa.db", "wa.db-wal"):
        shutil.copyfile(folder / name, scratch / name)
    with closing(sqlite3.connect(scratch / "wa.db")) as database:
        rows = database.execute("SELECT count(*) FROM wa_contacts").fetchone()[0]
        if rows != 2_000:
            raise AssertionError(f"the WAL was not accepted: {rows} rows")
        shutil.copyfile(scratch / "wa.db-shm", folder / "wa.db-shm")


def set_times(folder: Path, time: int) -> None:
    """Give the databases a modification time, in ns, and their usual mode."""
    for path in sorted(folder.iterdir()):
        path.chmod(0o660)
        os.utime(path, ns=(time, time))
