"""File managers on a vault: what a person sees and does there, with real clicks and keys."""

import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.desktop.session import Desktop, is_near
from tests.support.mounting import eventually

pytestmark = [pytest.mark.mount, pytest.mark.slow]

COLOURS = {
    "blue": "0000ff",
    "cyan": "00ffff",
    "green": "00c800",
    "magenta": "ff00ff",
    "orange": "ffa500",
    "purple": "800080",
    "red": "ff0000",
    "yellow": "ffff00",
}
TAKEN = 1_577_880_000  # seconds: 2020-01-01 12:00 UTC, when every picture was taken
THUMBNAIL = 64 * 48  # pixels of a 4:3 picture in Thunar's icon view
MOST_REQUESTS = 1502
"""What a pyfuse3 filesystem with all caches on was asked while Thunar opened a folder of pictures."""


def take_pictures(session: Desktop, folder: Path) -> None:
    """Eight pictures of one colour each, too large to be their own thumbnails."""
    session.run("mkdir", "-p", str(folder))
    for name, code in COLOURS.items():
        path = str(folder / f"{name}.jpg")
        session.run("convert", "-size", "1600x1200", f"xc:#{code}", "-quality", "95", path)
        session.run("touch", "-d", f"@{TAKEN}", path)


def shown(session: Desktop, picture: Path, least: int) -> set[str]:
    """Which of the colours are seen on so many pixels."""
    counts = session.colours(picture)
    pixels = {name: sum(count for found, count in counts if is_near(found, code)) for name, code in COLOURS.items()}
    return {name for name, count in pixels.items() if count >= least}


def thumbnails(session: Desktop) -> list[str]:
    """The finished ones in the cache."""
    found = session.run("find", str(session.home / ".cache/thumbnails"), "-name", "*.png", ok=False).split()
    return [path for path in found if re.fullmatch(r"[0-9a-f]{32}\.png", Path(path).name)]


def select(session: Desktop, name: str) -> None:
    """Click the picture of this colour."""
    session.click(*session.place(session.screenshot("before"), COLOURS[name]))


def modified(session: Desktop, path: Path) -> int:
    return int(session.run("stat", "-c", "%Y", str(path)))


def test_thunar_shows_a_vault_and_works_in_it(session: Desktop, backup: Path) -> None:
    photos, copies = backup / "Photos", backup / "Copies"
    take_pictures(session, photos)
    session.run("mkdir", str(copies))
    session.start("thunar", str(photos))
    session.window("Photos")

    # Thumbnails, all of them and in the right colours
    assert eventually(lambda: len(thumbnails(session)) >= len(COLOURS))
    assert eventually(lambda: shown(session, session.screenshot("thunar"), THUMBNAIL * 9 // 10) == set(COLOURS))

    # Trash and restore
    select(session, "red")
    session.keys("Delete")
    trash = backup / f".Trash-{session.run('id', '-u').strip()}"
    assert eventually(lambda: session.names(trash / "files") == ["red.jpg"])
    assert session.names(trash / "info") == ["red.jpg.trashinfo"]
    assert not session.exists(photos / "red.jpg")
    listed = session.run("gio", "trash", "--list").split()
    assert len(listed) >= 1
    session.run("gio", "trash", "--restore", listed[0])
    assert eventually(lambda: session.exists(photos / "red.jpg"))
    assert session.names(trash / "files") == []
    assert modified(session, photos / "red.jpg") == TAKEN

    # Rename
    assert eventually(lambda: "red" in shown(session, session.screenshot("restored"), THUMBNAIL * 9 // 10))
    select(session, "green")
    session.keys("F2")
    session.window("Rename")
    session.type("grass")
    session.keys("Return")
    assert eventually(lambda: session.exists(photos / "grass.jpg"))
    assert not session.exists(photos / "green.jpg")

    # Properties
    session.window("Photos")
    select(session, "blue")
    session.keys("alt+Return")
    session.window("Properties")
    session.screenshot("properties")
    session.keys("Escape")

    # Copy to another folder, the times with it
    session.window("Photos")
    select(session, "cyan")
    session.keys("ctrl+c")
    session.start("thunar", str(copies))
    session.window("Copies")
    session.keys("ctrl+v")
    assert eventually(lambda: session.exists(copies / "cyan.jpg"))
    assert eventually(lambda: modified(session, copies / "cyan.jpg") == TAKEN)
    session.run("cmp", str(photos / "cyan.jpg"), str(copies / "cyan.jpg"))

    # Free space is the store's
    said = dict(re.findall(r"filesystem::(\w+): (\d+)", session.run("gio", "info", "-f", str(backup))))
    real = os.statvfs(session.home)
    assert int(said["size"]) == real.f_blocks * real.f_frsize
    assert abs(int(said["free"]) - real.f_bavail * real.f_frsize) < 1 << 30

    eject(session, backup)


def eject(session: Desktop, backup: Path) -> None:
    """Click the button beside the vault in the sidebar: the one thing at its right edge."""
    x, y = position(session, session.window("Copies"))
    column = f"14x300+{x + 153}+{y + 90}"
    session.click(*session.place(session.screenshot("thunar-eject"), "000000", column))
    assert eventually(lambda: not session.names(backup)), session.screenshot("not-ejected")
    assert eventually(lambda: "vaultfs mount" not in session.run("ps", "-ef"))
    assert session.run("cat", str(session.home / "store/lock")) == ""


def position(session: Desktop, window: str) -> tuple[int, int]:
    """Where a window's content begins on the screen."""
    said = session.run("xwininfo", "-id", window)
    x, y = re.search(r"Absolute upper-left X:\s+(\d+)", said), re.search(r"Absolute upper-left Y:\s+(\d+)", said)
    assert x is not None
    assert y is not None
    return int(x[1]), int(y[1])


def test_pcmanfm_shows_a_vault(session: Desktop, backup: Path) -> None:
    photos = backup / "Photos"
    take_pictures(session, photos)
    settings = session.home / ".config/libfm"
    session.run("mkdir", "-p", str(settings))
    session.run("tee", str(settings / "libfm.conf"), stdin="[ui]\nshow_thumbnail=1\nthumbnail_max=0\n")
    session.start("pcmanfm", str(photos))
    session.window("Photos")
    assert eventually(lambda: shown(session, session.screenshot("pcmanfm"), 1000) == set(COLOURS))
    session.vaultfs("umount", "--purge-thumbnails", str(backup))
    assert thumbnails(session) == []


def test_thunar_asks_little_of_a_folder(session: Desktop) -> None:
    store, mountpoint, log = (session.home / name for name in ("store", "Backup", "log"))
    session.run("mkdir", str(store), str(mountpoint))

    def mount() -> None:
        arguments = [str(store), str(mountpoint), json.dumps({"debug": True}), "{}"]
        with open(log, "wb") as file:
            session.start(sys.executable, "-m", "tests.support.serving", *arguments, stderr=file)
        assert eventually(lambda: "vaultfs" in session.run("findmnt", "-no", "FSTYPE", str(mountpoint), ok=False))

    mount()
    take_pictures(session, mountpoint / "Photos")
    session.run("fusermount3", "-u", str(mountpoint))
    assert eventually(lambda: "serving" not in session.run("ps", "-ef"))
    mount()
    began = time.monotonic()
    session.start("thunar", str(mountpoint / "Photos"))
    assert eventually(lambda: len(thumbnails(session)) >= len(COLOURS))
    assert eventually(lambda: shown(session, session.screenshot("counted"), THUMBNAIL * 9 // 10) == set(COLOURS))
    seconds = time.monotonic() - began
    asked = Counter(re.findall(r"opcode: (\w+)", log.read_text()))
    print(f"\n{asked.total()} requests in {seconds:.1f} s: {dict(asked.most_common())}")
    session.run("fusermount3", "-uz", str(mountpoint))
    assert asked["LOOKUP"] > 0
    assert asked["ACCESS"] == 0
    assert asked.total() <= MOST_REQUESTS
