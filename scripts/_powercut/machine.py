"""A small computer whose power can be cut: a disk by `disk.py`, a loop device on it, and a file system on that."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).parents[1]
FILE_SYSTEMS = {
    "ext4": ["mkfs.ext4", "-q"],
    "xfs": ["mkfs.xfs", "-q"],
    "btrfs": ["mkfs.btrfs", "-q"],
}
"""The commands that make them; Debian has them in e2fsprogs, xfsprogs and btrfs-progs."""


class Cut(NamedTuple):
    """How many 4 KiB sectors no flush had covered when the power went, and how many of them were lost."""

    unflushed: int
    lost: int


def missing(file_system: str) -> str:
    """Why this machine cannot do it; empty if it can."""
    if os.geteuid() != 0:
        return "only root may mount images"
    if not os.access("/dev/loop-control", os.W_OK):
        return "there are no loop devices"
    if not os.access("/dev/fuse", os.W_OK):
        return "there is no /dev/fuse"
    maker = FILE_SYSTEMS[file_system][0]
    if shutil.which(maker) is None:
        return f"{maker} is not installed (apt install e2fsprogs xfsprogs btrfs-progs)"
    if file_system not in Path("/proc/filesystems").read_text().split():
        return f"the kernel has no {file_system}"
    return ""


def run(*command: str | Path) -> str:
    """A command's output; RuntimeError, with what it said, if it failed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


@contextmanager
def mounted_image(image: Path, mountpoint: Path, *losetup: str) -> Iterator[Path]:
    """Mount an image file by a loop device."""
    device = run("losetup", "--find", "--show", *losetup, image)
    try:
        mountpoint.mkdir(exist_ok=True)
        # A copy has the same UUID as the original, which is mounted too.
        options = ["-o", "nouuid"] if run("blkid", "-o", "value", "-s", "TYPE", device) == "xfs" else []
        run("mount", *options, device, mountpoint)
        try:
            yield mountpoint
        finally:
            run("umount", "--lazy", mountpoint)
    finally:
        run("losetup", "--detach", device)


def make_image(image: Path, file_system: str, size: int) -> None:
    """Make an empty file system in a sparse file."""
    with open(image, "wb") as file:
        file.truncate(size)
    run(*FILE_SYSTEMS[file_system], image)


class Machine:
    """`folder` is where its file system is mounted."""

    def __init__(self, disk: "subprocess.Popen[str]", folder: Path) -> None:
        self._disk = disk
        self.folder = folder

    def cut(self, image: Path, seed: object, survival: float) -> Cut:
        """The image as after a power cut now; each unflushed sector is in it with the probability `survival`."""
        assert self._disk.stdin is not None and self._disk.stdout is not None
        self._disk.stdin.write(f"cut {image} {seed} {survival}\n")
        self._disk.stdin.flush()
        answer = self._disk.stdout.readline().split()
        return Cut(int(answer[0]), int(answer[1]))


@contextmanager
def machine(folder: Path, file_system: str, size: int) -> Iterator[Machine]:
    """Run a machine with everything of it below `folder`; `size` of its disk in bytes."""
    disk_folder = folder / "disk"
    disk_folder.mkdir()
    command = [sys.executable, "-m", "_powercut.disk", str(disk_folder), str(size)]
    process = subprocess.Popen(command, cwd=SCRIPTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the disk did not start")
        image = disk_folder / "disk"
        device = run("losetup", "--find", "--show", "--direct-io=on", image)
        run(*FILE_SYSTEMS[file_system], device)
        run("losetup", "--detach", device)
        with mounted_image(image, folder / "filesystem", "--direct-io=on") as mountpoint:
            yield Machine(process, mountpoint)
    finally:
        subprocess.run(["umount", disk_folder], check=False, capture_output=True)
        with process:
            process.terminate()
