"""Runs xfstests' own check script, which mounts and unmounts two filesystems again and again."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

from _conformance.targets import ROOT, Target, make, vaultfs_command

_TOTALS = re.compile(r"^(Ran|Not run|Failures|Failed \d+|Passed all).*$", re.MULTILINE)


def run(suite: Path, tests: list[str], kind: str, work: Path) -> list[str]:
    """Run tests by name or group (`-g generic/quick`) and print the totals; the names of those that failed."""
    if kind == "plain":
        raise ValueError("xfstests needs something to mount: vaultfs or gocryptfs")
    places = {name: make(kind, work / name) for name in ("TEST", "SCRATCH")}
    programs = work / "programs"
    programs.mkdir()
    _put_mount_program(programs / kind, kind, places["TEST"])
    _put(programs / "df", f'exec {shutil.which("df")} "$@" | sed "s/fuse[.]{kind}/fuse/"')
    environment = {
        **os.environ,
        "HOST_OPTIONS": "/dev/null",
        "FSTYP": "fuse",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FUSE_SUBTYP": f".{programs / kind}",
        "RESULT_BASE": str(work / "results"),
        "MOUNT_OPTIONS": "-oallow_other,dev,suid",
        "TEST_FS_MOUNT_OPTS": "-oallow_other,dev,suid",
        "XDG_STATE_HOME": str(work),
        "XDG_RUNTIME_DIR": str(work),
    }
    # Devices are mere names for FUSE, and umount(8) takes them for sources only when they are no paths.
    environment |= {"TEST_DEV": "TEST", "TEST_DIR": str(places["TEST"].path)}
    environment |= {"SCRATCH_DEV": "SCRATCH", "SCRATCH_MNT": str(places["SCRATCH"].path)}
    try:
        done = subprocess.run(
            ["./check", *tests], cwd=suite, env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
    finally:
        for place in places.values():
            place.clean_up()
    print(*(match[0] for match in _TOTALS.finditer(done.stdout)), sep="\n")
    failures = re.search(r"^Failures: (.*)$", done.stdout, re.MULTILINE)
    if failures is None and "Passed all" not in done.stdout:
        return [done.stdout]
    return failures[1].split() if failures is not None else []


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
        command = ["/usr/bin/gocryptfs", "-quiet", "-passfile", str(place.password)]
    _put(
        path,
        f"export PYTHONPATH={shlex.quote(str(ROOT))}\n"
        "name=$1; mountpoint=$2; shift 2\n"
        "for attempt in $(seq 100); do\n"
        f'{shlex.join(command)} "$@" -o "fsname=$name" "{place.folder.parent}/$name/store" "$mountpoint" 2>"$0.log"\n'
        "code=$?; [ $code = 40 ] || break; sleep 0.1\n"
        'done\ncat "$0.log" >&2; exit $code',
    )
