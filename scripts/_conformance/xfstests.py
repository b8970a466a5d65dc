"""Runs xfstests' own check script, which mounts and unmounts two filesystems again and again."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _conformance.targets import ROOT, Target, make, vaultfs_command

_RESULT = re.compile(r"^(generic/\d+)\s*(.*)$", re.MULTILINE)
_IMAGE_SIZE = 12 << 30  # bytes, of which only what is written takes room
_LOG = "said.log"


def run(suite: Path, tests: list[str], kind: str, work: Path, results: Path) -> list[str]:
    """Run tests by name or group (`-g generic/quick`) and print the totals; the names of those that failed.

    What the suite says, and what each failed test printed, stays in `results`.
    """
    results.mkdir(parents=True, exist_ok=True)
    with _images(work) if kind == "plain" else _mounts(kind, work) as places:
        environment = {**os.environ, "HOST_OPTIONS": "/dev/null", "RESULT_BASE": str(results), **places}
        with (results / _LOG).open("w") as log:
            code = subprocess.run(["./check", *tests], cwd=suite, env=environment, stdout=log, check=False).returncode
    said = (results / _LOG).read_text(errors="replace")
    outcomes = dict(_RESULT.findall(said[: said.rfind("\nRan: ")]))
    if not outcomes:
        return [f"the suite ran nothing and ended with {code}: {said}"]
    skipped = sum(text.startswith(("[not run]", "[expunged]")) for text in outcomes.values())
    failed = [name for name, text in outcomes.items() if text.startswith(("[failed", "- output mismatch"))]
    passed = len(outcomes) - len(failed) - skipped
    print(f"{kind}: {len(outcomes)} tests, {passed} passed, {len(failed)} failed, {skipped} not run", flush=True)
    return failed


@contextmanager
def _mounts(kind: str, work: Path) -> Iterator[dict[str, str]]:
    """Two filesystems for the suite to mount through mount(8); what it has to be told about them."""
    # The source of a mount: another run, at the same time, must not find ours under its own.
    test, scratch = (make(kind, work / f"{name}-{os.getpid()}") for name in ("TEST", "SCRATCH"))
    programs = work / "programs"
    programs.mkdir()
    _put_mount_program(programs / kind, kind, test)
    _put(programs / "df", f'exec {shutil.which("df")} "$@" | sed "s/fuse[.]{kind}/fuse/"')
    try:
        # Devices are mere names for FUSE, and umount(8) takes them for sources only when they are no paths.
        yield {
            "FSTYP": "fuse",
            "FUSE_SUBTYP": f".{programs / kind}",
            "PATH": f"{programs}:{os.environ['PATH']}",
            "MOUNT_OPTIONS": "-oallow_other,dev,suid",
            "TEST_FS_MOUNT_OPTS": "-oallow_other,dev,suid",
            "XDG_STATE_HOME": str(work),
            "XDG_RUNTIME_DIR": str(work),
            **_names(test.folder.name, test.path, scratch.folder.name, scratch.path),
        }
    finally:
        for place in (test, scratch):
            place.clean_up()


@contextmanager
def _images(work: Path) -> Iterator[dict[str, str]]:
    """Two ext4 filesystems in files: the suite needs something to mount, and a plain folder is nothing like that."""
    devices = []
    try:
        for name in ("TEST", "SCRATCH"):
            (work / name).mkdir()
            image = work / f"{name}.image"
            with image.open("wb") as stream:
                stream.truncate(_IMAGE_SIZE)
            subprocess.run(["mkfs.ext4", "-q", image], check=True)
            made = subprocess.run(
                ["losetup", "--find", "--show", image], check=True, stdout=subprocess.PIPE, text=True
            )
            devices.append(made.stdout.strip())
        yield {"FSTYP": "ext4", **_names(devices[0], work / "TEST", devices[1], work / "SCRATCH")}
    finally:
        for device, name in zip(devices, ("TEST", "SCRATCH"), strict=False):
            subprocess.run(["umount", "--quiet", "--lazy", work / name], check=False)
            subprocess.run(["losetup", "--detach", device], check=True)


def _names(test_device: str, test: Path, scratch_device: str, scratch: Path) -> dict[str, str]:
    """The suite's variables for its two devices and where they are mounted."""
    return {
        "TEST_DEV": test_device, "TEST_DIR": str(test), "SCRATCH_DEV": scratch_device, "SCRATCH_MNT": str(scratch),
    }  # fmt: skip


def _put(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _put_mount_program(path: Path, kind: str, place: Target) -> None:
    """What mount(8) runs for `-t fuse.PROGRAM`; both filesystems have the same password.

    umount(8) returns while the process behind the mount still closes the store: a vault is locked (40) until then.
    """
    if kind == "vaultfs":
        command = [*vaultfs_command(), "mount", "--quiet", "--passfile", str(place.password)]
    else:
        command = ["/usr/bin/gocryptfs", "-quiet", "-nosyslog", "-passfile", str(place.password)]
    _put(
        path,
        f"export PYTHONPATH={shlex.quote(str(ROOT))}\n"
        "name=$1; mountpoint=$2; shift 2\n"
        "for attempt in $(seq 100); do\n"
        f'{shlex.join(command)} "$@" -o "fsname=$name" "{place.folder.parent}/$name/store" "$mountpoint" 2>"$0.log"\n'
        "code=$?; [ $code = 40 ] || break; sleep 0.1\n"
        'done\ncat "$0.log" >&2; exit $code',
    )
