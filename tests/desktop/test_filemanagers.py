"""File managers on a vault: what a person sees and does there, with real clicks and keys."""

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.desktop.session import PATIENCE, Desktop, eventually, is_near

pytestmark = [pytest.mark.mount, pytest.mark.slow, pytest.mark.timeout(900)]

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
USERS = "import sys; from vaultfs.mount.holders import users_of; print(*users_of(sys.argv[1]), end='')"


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


def until(condition: Callable[[], bool], act: Callable[[], None], tries: int = 3) -> bool:
    """Whether a condition comes true once this was done; a program that was still busy may have missed a key or two."""
    for _ in range(tries):
        act()
        if eventually(condition, PATIENCE / tries):
            return True
    return False


def shows_all(session: Desktop, name: str) -> bool:
    """Whether Thunar comes to show the thumbnails of all pictures, in the right colours."""

    def are_shown() -> bool:
        return shown(session, session.screenshot(name), THUMBNAIL * 9 // 10) == set(COLOURS)

    def reload() -> None:
        session.window("Photos")
        session.keys("F5")

    # Now and then it does not see that a thumbnail is ready, nor after it was told to look again.
    return eventually(are_shown, PATIENCE / 10) or until(are_shown, reload, 10)


def press(session: Desktop, window: str, name: str, key: str) -> None:
    """Click the picture of this colour in a window, then press a key."""
    session.window(window)
    session.click(*session.find(COLOURS[name]))
    session.keys(key)


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
    assert shows_all(session, "thunar")

    # Trash and restore
    trash = backup / f".Trash-{session.run('id', '-u').strip()}"
    is_trashed = lambda: session.names(trash / "files") == ["red.jpg"]  # noqa: E731
    assert until(is_trashed, lambda: press(session, "Photos", "red", "Delete"))
    assert session.names(trash / "info") == ["red.jpg.trashinfo"]
    assert not session.exists(photos / "red.jpg")
    assert eventually(lambda: "red.jpg" in session.run("gio", "trash", "--list"))
    session.run("gio", "trash", "--restore", session.run("gio", "trash", "--list").split()[0])
    assert eventually(lambda: session.exists(photos / "red.jpg"))
    assert session.names(trash / "files") == []
    assert modified(session, photos / "red.jpg") == TAKEN
    assert eventually(lambda: "red" in shown(session, session.screenshot("restored"), THUMBNAIL * 9 // 10))

    # Rename
    assert until(lambda: "Rename" in session.run("wmctrl", "-l"), lambda: press(session, "Photos", "green", "F2"))
    session.window("Rename")
    session.type("grass")
    session.keys("Return")
    assert eventually(lambda: session.exists(photos / "grass.jpg"))
    assert not session.exists(photos / "green.jpg")

    # Properties
    is_open = lambda: "Properties" in session.run("wmctrl", "-l")  # noqa: E731
    assert until(is_open, lambda: press(session, "Photos", "blue", "alt+Return"))
    session.window("Properties")
    session.screenshot("properties")
    assert until(lambda: not is_open(), lambda: session.keys("Escape"))

    # Copy to another folder, the times with it
    session.start("thunar", str(copies))
    session.window("Copies")

    def copy() -> None:
        press(session, "Photos", "cyan", "ctrl+c")
        session.window("Copies")
        session.keys("ctrl+v")

    assert until(lambda: session.exists(copies / "cyan.jpg"), copy)
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
    # Whoever still reads the new picture, for its thumbnail, would keep the vault open.
    uri = f"file://{backup}/Copies/cyan.jpg"
    made = hashlib.md5(uri.encode(), usedforsecurity=False).hexdigest() + ".png"
    assert eventually(lambda: made in [Path(path).name for path in thumbnails(session)])
    assert eventually(lambda: session.python(USERS, str(backup)) == "")
    session.screenshot("thunar-eject")

    def click() -> None:
        # Thunar itself may still have been reading a folder: it says that the vault is busy, and shows the home.
        if "Error" in session.run("wmctrl", "-l"):
            session.window("Error")
            session.keys("Escape")
        x, y = position(session, session.window(" - Thunar"))
        session.click(*session.find_dark(f"14x300+{x + 153}+{y + 90}"))

    is_closed = lambda: not session.names(backup)  # noqa: E731
    assert until(is_closed, click), session.screenshot("not-ejected")
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
            session.start(session.interpreter, "-m", "tests.support.serving", *arguments, stderr=file)
        kind = ("findmnt", "-no", "FSTYPE", str(mountpoint))
        assert eventually(lambda: "vaultfs" in session.run(*kind, ok=False)), log.read_text()

    mount()
    take_pictures(session, mountpoint / "Photos")
    session.run("fusermount3", "-u", str(mountpoint))
    assert eventually(lambda: "serving" not in session.run("ps", "-ef"))
    mount()
    began = time.monotonic()
    session.start("thunar", str(mountpoint / "Photos"))
    assert eventually(lambda: len(thumbnails(session)) >= len(COLOURS))
    assert shows_all(session, "counted")
    seconds = time.monotonic() - began
    asked = Counter(re.findall(r"opcode: (\w+)", log.read_text()))
    print(f"\n{asked.total()} requests in {seconds:.1f} s: {dict(asked.most_common())}")
    session.run("fusermount3", "-uz", str(mountpoint))
    assert asked["LOOKUP"] > 0
    assert asked["ACCESS"] == 0
    assert asked.total() <= MOST_REQUESTS
