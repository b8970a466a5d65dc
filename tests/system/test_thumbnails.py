"""Thumbnails in plain text: `umount --purge-thumbnails` deletes those of the vault, and no others."""

import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cli.running import Result
from tests.support.mounting import needs_fuse
from tests.system.conftest import Vault
from vaultfs.cli.thumbnails import purge


def png(uri: str) -> bytes:
    """One pixel that says what it is a thumbnail of, as thumbnailers write it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    texts = ("Software\0thumbnailer", f"Thumb::URI\0{uri}", "Thumb::MTime\x001577880000")
    body = chunk(b"IHDR", head) + b"".join(chunk(b"tEXt", text.encode("latin-1")) for text in texts)
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def uri_of(path: Path) -> str:
    return "file://" + quote(os.fsencode(path))


def keep(home: Path, path: Path, folder: str = "normal", suffix: str = "") -> Path:
    """Put a thumbnail of a file into the cache; the name is the one the standard asks for."""
    uri = uri_of(path)
    thumbnail = home / ".cache/thumbnails" / folder / f"{md5(uri.encode()).hexdigest()}{suffix}.png"
    thumbnail.parent.mkdir(parents=True, exist_ok=True)
    thumbnail.write_bytes(png(uri))
    return thumbnail


def test_only_thumbnails_of_files_below_the_mountpoint_go(home: Path) -> None:
    inside = home / "Backup"
    gone = [
        keep(home, inside / "photo.jpg"),
        keep(home, inside / "photo.jpg", "x-large"),
        keep(home, inside / "a folder/é #1?.jpg"),
        keep(home, inside / "unreadable.jpg", "fail/gnome-thumbnail-factory"),
        keep(home, inside / "photo.jpg", suffix="-1795360237"),
        keep(home, Path(os.fsdecode(bytes(inside) + b"/not \xff UTF-8"))),
        keep(home, inside),
    ]
    stay = [keep(home, home / "Backup 2/photo.jpg"), keep(home, home / "photo.jpg"), keep(home, Path("/photo.jpg"))]
    assert purge(str(inside)) == len(gone)
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in stay)


def test_a_mountpoint_reached_through_a_link_has_thumbnails_under_both_names(home: Path) -> None:
    (home / "Backup").mkdir()
    (home / "link").symlink_to("Backup")
    keep(home, home / "Backup/photo.jpg")
    keep(home, home / "link/photo.jpg")
    assert purge(str(home / "link")) == 2


@pytest.mark.parametrize("content", [b"", b"no PNG", png("file:///x")[:40], png("https://example.org/x"), png("file:///x")])
def test_what_is_no_thumbnail_of_the_vault_stays(home: Path, content: bytes) -> None:
    other = keep(home, home / "Backup/photo.jpg")
    other.write_bytes(content)
    assert purge(str(home / "Backup")) == 0
    assert other.read_bytes() == content


def test_no_cache_is_no_error(home: Path) -> None:
    assert purge(str(home / "Backup")) == 0


def test_a_real_thumbnail_is_found(home: Path) -> None:
    told = subprocess.run(["sh", "-c", "convert -version"], capture_output=True, text=True, check=False).stdout
    if "ImageMagick" not in told:
        pytest.skip("not installed: convert (ImageMagick)")
    folder = home / ".cache/thumbnails/normal"
    folder.mkdir(parents=True)
    uri = uri_of(home / "Backup/photo.jpg")
    subprocess.run(["convert", "-size", "128x96", "xc:red", "-set", "Thumb::URI", uri, folder / "one.png"], check=True)
    assert purge(str(home / "Backup")) == 1


@pytest.mark.mount
@needs_fuse
def test_umount_purges_when_asked(vault: Vault, home: Path, vaultfs: Callable[..., Result]) -> None:
    kept = keep(home, vault.mountpoint / "photo.jpg")
    vault.mount()
    assert "thumbnails" not in vault.umount().out
    assert kept.exists()
    vault.mount()
    assert "deleted: 1." in vault.umount("--purge-thumbnails").out
    assert not kept.exists()
