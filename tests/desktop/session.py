"""A desktop without a screen for an ordinary user: X server, session bus and window manager, all gone afterwards.

For root it all runs as `nobody`, in mount and process namespaces of its own: there /dev/fuse is usable by everybody,
this repository is in reach wherever it lies, and the end of the first process ends every daemon the session started,
and every mount (unshare(1), nsenter(1)). An ordinary user who may use /dev/fuse gets the same without namespaces.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.support import mounting

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = (
    *("Xvfb", "dbus-daemon", "openbox", "xdotool", "wmctrl", "xwininfo", "import", "convert"),
    *("gio", "thunar", "pcmanfm"),
)
PASSWORD = "correct horse battery"
PATIENCE = 150.0
"""Seconds a program may take for what takes one on an idle machine: others may have the processors and the disk."""
_USER = "nobody"
_SCREEN = "1280x900"
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# Other tests' mounts were copied into the namespace: held there, their processes would not end when they are unmounted.
# A node beside the home is of no use where /tmp is mounted `nodev`; most systems have theirs open to all anyhow.
_ENTER = """
umount --all --lazy --types fuse.vaultfs
set -e
mkdir {home}/../vaultfs
mount --bind {repository} {home}/../vaultfs
if [ $(stat -c %a /dev/fuse) != 666 ]; then
    mknod -m 0666 {home}/../fuse c 10 229
    mount --bind {home}/../fuse /dev/fuse
fi
echo
exec cat
"""


def eventually(condition: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Whether a condition comes true in time."""
    return mounting.eventually(condition, patience)


def missing() -> str:
    """Why there can be no session here, or nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    if os.geteuid() != 0 and not os.access("/dev/fuse", os.W_OK):
        return "/dev/fuse is not for this user"
    if os.geteuid() == 0 and subprocess.run([*_NAMESPACES, "true"], capture_output=True, check=False).returncode:
        return "no namespaces can be had here"
    return ""


def is_near(pixel: bytes, colour: str) -> bool:
    """Whether it looks the same: JPEG is off by a step or two."""
    return all(abs(one - other) < 6 for one, other in zip(pixel, bytes.fromhex(colour), strict=True))


class Desktop:
    """A running session. Everything in it is done by `run` and `start`, as its user; so is looking into a mount."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._started: list[subprocess.Popen[bytes]] = []
        self._display = ""
        self._bus = ""
        self._prefix: list[str] = []
        self._repository = REPOSITORY
        if os.geteuid() == 0:
            self._prefix = _as_nobody(home, self._started)
            self._repository = home.parent / "vaultfs"
        executable = Path(sys.executable)
        is_ours = executable.is_relative_to(REPOSITORY)
        self.interpreter = str(self._repository / executable.relative_to(REPOSITORY) if is_ours else executable)
        for name in (".runtime", ".cache"):
            self.run("mkdir", "-m", "0700", str(home / name))

    def open(self) -> None:
        """Start the X server, the bus and the window manager."""
        reader, writer = os.pipe()
        screen = ["-screen", "0", f"{_SCREEN}x24", "-nolisten", "tcp"]
        self.start("Xvfb", "-displayfd", str(writer), *screen, pass_fds=(writer,))
        os.close(writer)
        with open(reader) as answer:
            self._display = f":{answer.readline().strip()}"
        bus = self.start("dbus-daemon", "--session", "--nofork", "--print-address=1", stdout=subprocess.PIPE)
        assert bus.stdout is not None
        self._bus = bus.stdout.readline().decode().strip()
        bus.stdout.close()
        self.start("openbox")

    def close(self) -> None:
        """End everything; with namespaces, the first process takes all others along."""
        for process in reversed(self._started):
            process.terminate()
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, *command: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a program of the session."""
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [*self._prefix, *command], **{**quiet, **options}, env=self._environment(), cwd="/"
        )  # type: ignore[call-overload]
        self._started.append(process)
        return process

    def run(self, *command: str, stdin: str = "", ok: bool = True) -> str:
        """What a command prints, errors included; it must succeed if `ok`."""
        done = subprocess.run(
            [*self._prefix, *command],
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            cwd="/",
            timeout=120,
            check=False,
        )
        text = done.stdout.decode("utf-8", "replace")
        assert done.returncode == 0 or not ok, f"{shlex.join(command)}: {text}"
        return text

    def python(self, script: str, *arguments: str) -> str:
        """What a Python script prints that the session's user runs with this repository's code."""
        return self.run(self.interpreter, "-c", script, *arguments)

    def vaultfs(self, *arguments: str, stdin: str = "") -> str:
        """What the command line prints."""
        return self.run(self.interpreter, "-m", "vaultfs", *arguments, stdin=stdin)

    def exists(self, path: Path) -> bool:
        """Whether the user can see a file."""
        return self.run("sh", "-c", 'test -e "$1" && echo yes || true', "sh", str(path)) == "yes\n"

    def names(self, folder: Path) -> list[str]:
        """What is in a folder, hidden names included; nothing if it is not there."""
        listing = self.run("ls", "-A", "--", str(folder), ok=False)
        return [] if "cannot access" in listing else listing.splitlines()

    def window(self, title: str) -> str:
        """The id of the window with this in its title, once it is there and has the focus."""
        found: list[str] = []

        def look() -> bool:
            lines = self.run("wmctrl", "-l", ok=False).splitlines()
            found[:] = [line.split()[0] for line in lines if title in line]
            return bool(found)

        assert eventually(look), f"no window {title!r}: {self.run('wmctrl', '-l', ok=False)}"
        self.run("wmctrl", "-i", "-a", found[0])
        self.run("xdotool", "windowfocus", "--sync", str(int(found[0], 16)), ok=False)
        return found[0]

    def keys(self, *keys: str) -> None:
        """Press keys, in the window with the focus."""
        self.run("xdotool", "key", "--delay", "60", *keys)

    def type(self, text: str) -> None:
        """Type text."""
        self.run("xdotool", "type", "--delay", "15", text)

    def click(self, x: int, y: int, button: int = 1) -> None:
        """Click a place of the screen, and leave it: what lies under the pointer has other colours."""
        self.run("xdotool", "mousemove", str(x), str(y), "click", str(button), "mousemove", "0", "0")

    def screenshot(self, name: str) -> Path:
        """Take the whole screen as PNG; kept in $VAULTFS_SCREENSHOTS if that is set."""
        path = self.home / ".cache" / f"{name}.png"
        self.run("import", "-window", "root", str(path))
        keep = os.environ.get("VAULTFS_SCREENSHOTS")
        if keep:
            Path(keep, f"{name}.png").write_bytes(subprocess.check_output([*self._prefix, "cat", str(path)]))
        return path

    def colours(self, picture: Path) -> list[tuple[bytes, int]]:
        """The colours in a picture (red, green, blue) and on how many pixels each is."""
        plain = ["-alpha", "off", "-depth", "8"]
        histogram = self.run("convert", str(picture), *plain, "-format", "%c", "histogram:info:")
        lines = [line for line in histogram.splitlines() if "#" in line]
        return [(bytes.fromhex(line.partition("#")[2][:6]), int(line.partition(":")[0])) for line in lines]

    def find(self, colour: str, area: str = _SCREEN) -> tuple[int, int]:
        """The middle of most of what has this colour, or nearly, in an area `WxH+X+Y` of the screen; waits for it."""
        return self._find(lambda pixel: is_near(pixel, colour), f"has the colour {colour}", area)

    def find_dark(self, area: str) -> tuple[int, int]:
        """The same for what is drawn in black or grey on a light ground, as symbols of one colour are."""
        return self._find(lambda pixel: max(pixel) < 160, "is dark", area)

    def _find(self, is_it: Callable[[bytes], bool], what: str, area: str) -> tuple[int, int]:
        width, height, left, top = map(int, re.findall(r"\d+", area + "+0+0")[:4])
        crop = ["-crop", f"{width}x{height}+{left}+{top}", "+repage"]
        found: list[int] = []

        def look() -> bool:
            command = ["convert", str(self.screenshot("find")), "-alpha", "off", *crop, "-depth", "8", "rgb:-"]
            pixels = subprocess.check_output([*self._prefix, *command], env=self._environment(), cwd="/")
            found[:] = [at for at in range(width * height) if is_it(pixels[3 * at : 3 * at + 3])]
            return bool(found)

        assert eventually(look), f"nothing {what} in {area}"
        return left + int(median(at % width for at in found)), top + int(median(at // width for at in found))

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(self._repository),
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_RUNTIME_DIR": str(self.home / ".runtime"),
            "NO_AT_BRIDGE": "1",
            "GTK_THEME": "Adwaita",
        }
        return own | ({"DISPLAY": self._display} if self._display else {}) | (
            {"DBUS_SESSION_BUS_ADDRESS": self._bus} if self._bus else {}
        )


def _as_nobody(home: Path, started: list[subprocess.Popen[bytes]]) -> list[str]:
    """The words in front of a command that have nobody run it, in new namespaces, held by a process of ours."""
    shutil.chown(home, _USER)
    script = _ENTER.format(home=shlex.quote(str(home)), repository=shlex.quote(str(REPOSITORY)))
    holder = subprocess.Popen(
        [*_NAMESPACES, "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    started.append(holder)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"\n"
    holder.stdout.close()
    first = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0]
    user = ["setpriv", f"--reuid={_USER}", "--regid=nogroup", "--clear-groups"]
    spaces = [f"--mount=/proc/{first}/ns/mnt", f"--pid=/proc/{first}/ns/pid"]
    # In a chroot, the namespace's own root is another one.
    root = [f"--root=/proc/{first}/root", f"--wd=/proc/{first}/root"]
    return ["nsenter", *spaces, *root, *user]


@contextmanager
def desktop() -> Iterator[Desktop]:
    """A session with a home folder of its own."""
    with tempfile.TemporaryDirectory(prefix="vaultfs-desktop-") as folder:
        home = Path(folder, "home")
        home.mkdir(mode=0o755)
        os.chmod(folder, 0o755)  # the user of the session passes through it
        session = Desktop(home)
        try:
            session.open()
            yield session
        finally:
            session.close()
