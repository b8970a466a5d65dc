"""The systemd unit and the automount, run by real managers in namespaces of their own: readiness, a clean stop."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD, Result, environment
from tests.support.mounting import eventually, needs_fuse
from tests.system.conftest import Program, Vault

MANAGER = "/lib/systemd/systemd"
GROUP = f"vaultfs-test-{os.getpid()}"

# The manager wants to be on a machine that systemd has booted, and a group of processes of its own.
# Other tests' mounts, copied into the namespace, would keep their processes from ending.
PLACE = f"""
umount --all --lazy --types fuse.vaultfs || true
set -e
mount -t tmpfs none /run/systemd
mkdir -p /run/systemd/system
mount -t tmpfs none /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/{GROUP}
echo $$ >/sys/fs/cgroup/{GROUP}/cgroup.procs
"""
SESSION = f"""{PLACE}
SYSTEMD_LOG_TARGET=console {MANAGER} --user >"$HOME/manager.log" 2>&1 &
manager=$!
for try in $(seq 100); do systemctl --user is-active --quiet basic.target && break; sleep 0.1; done
"""
FAREWELL = """
kill $manager
wait $manager || true
"""

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    needs_fuse,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make the namespaces"),
    pytest.mark.skipif(
        not os.path.exists(MANAGER) or shutil.which("systemd-analyze") is None, reason="not installed: systemd"
    ),
]


def _group_is_removed() -> bool:
    """Remove the group of processes, once the last of them has ended."""
    mounted = Path("/sys/fs/cgroup")
    for group in [*mounted.glob(GROUP), *mounted.glob(f"*/{GROUP}")]:
        for folder in sorted((path for path in [group, *group.rglob("*")] if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        if group.exists():
            return False
    return True


def in_session(home: Path, commands: str) -> str:
    """What shell commands print that run beside a user manager whose user has `home`."""
    script = SESSION + commands + FAREWELL
    try:
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        assert eventually(_group_is_removed)
    log = (home / "manager.log").read_text() if (home / "manager.log").exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + log
    return done.stdout


def test_the_unit_opens_the_vault_and_closes_it(
    vault: Vault, home: Path, program: Program, vaultfs: Callable[..., Result]
) -> None:
    assert vaultfs("install-helpers", "--user", "--program", program).code == 0
    settings = home / ".config/vaultfs"
    settings.mkdir(parents=True)
    (settings / "pass word").write_text(PASSWORD)
    options = f"""'--idle=1h --extpass="cat \\"{settings}/pass word\\""'"""
    (settings / "backup.conf").write_text(f"STORE={vault.store}\nMOUNTPOINT={vault.mountpoint}\nOPTIONS={options}\n")
    shown = in_session(
        home,
        """
        systemctl --user start vaultfs@backup || { systemctl --user status vaultfs@backup; exit 1; }
        # It is ready when `start` comes back.
        echo content >"$HOME/Backup/note"
        echo "main=$(systemctl --user show --property=MainPID --value vaultfs@backup)"
        systemctl --user stop vaultfs@backup
        test ! -e "$HOME/Backup/note"
        echo "ended=$(systemctl --user show --property=Result --value vaultfs@backup)"
        """,
    )
    assert "main=0" not in shown
    assert "ended=success" in shown
    assert vault.journals() == []
    vault.mount()
    assert (vault.mountpoint / "note").read_text() == "content\n"
    vault.umount()


# A manager of the system that knows nothing but fstab, and somebody who looks into the folder of its one line.
SYSTEM = f"""{PLACE}
mount --bind "$SBIN" /usr/sbin
mount --bind "$TABLE" /etc/fstab
is_open() {{ grep -q " $PLAIN fuse.vaultfs " /proc/self/mounts; }}
(
    until grep -q " $PLAIN autofs " /proc/self/mounts; do sleep 0.1; done
    is_open && echo "open too early"
    echo content >"$PLAIN/note"
    is_open && echo "open at first sight"
    exec 3>"$PLAIN/held"
    sleep 5
    is_open && echo "open while in use"
    exec 3>&-
    while is_open; do sleep 0.2; done
    echo "closed when idle"
) >"$SAID" &
# What makes units of fstab is run here: newer managers run nothing of the sort once they are told where units are.
/lib/systemd/system-generators/systemd-fstab-generator "$UNITS" "$UNITS" "$UNITS"
export container=test SYSTEMD_UNIT_PATH="$UNITS" SYSTEMD_GENERATOR_PATH="$NOTHING"
exec {MANAGER} --system --unit=test.target --log-target=console
"""


def test_an_automount_opens_the_vault_at_first_sight_and_closes_it_when_idle(
    vault: Vault, home: Path, program: Program, vaultfs: Callable[..., Result], tmp_path: Path
) -> None:
    places = {name: tmp_path / name for name in ("SBIN", "TABLE", "UNITS", "NOTHING", "SAID")}
    for name in ("UNITS", "NOTHING"):
        places[name].mkdir()
    unit = str(vault.mountpoint).strip("/").replace("-", "\\x2d").replace("/", "-")
    (places["UNITS"] / "test.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={unit}.automount\n")
    shutil.copytree(
        "/usr/sbin", places["SBIN"], symlinks=True, ignore=lambda folder, names: [n for n in names if "mount" in n]
    )
    helper = program.with_name("mount.fuse.vaultfs")
    helper.write_text(helper.read_text().replace("import sys", f"import os, sys\nos.environ['HOME'] = {str(home)!r}", 1))
    (places["SBIN"] / helper.name).symlink_to(helper)
    (home / "password").write_text(PASSWORD)
    options = f"noauto,nofail,x-systemd.automount,x-systemd.idle-timeout=1s,passfile={home}/password"
    places["TABLE"].write_text(f"{vault.store} {vault.mountpoint} fuse.vaultfs {options} 0 0\n")

    with subprocess.Popen(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", SYSTEM],
        env=environment(PLAIN=str(vault.mountpoint), **{name: str(path) for name, path in places.items()}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as manager:
        eventually(lambda: "closed when idle" in _said(places["SAID"]), 40)
        manager.kill()
        log = manager.communicate()[0].decode(errors="replace")
    assert eventually(_group_is_removed)
    assert _said(places["SAID"]).splitlines() == ["open at first sight", "open while in use", "closed when idle"], log
    assert vault.journals() == []
    vault.mount()
    assert (vault.mountpoint / "note").read_text() == "content\n"
    vault.umount()


def _said(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_the_unit_is_one_systemd_understands(home: Path, program: Program, vaultfs: Callable[..., Result]) -> None:
    assert vaultfs("install-helpers", "--user", "--program", program).code == 0
    unit = home / ".config/systemd/user/vaultfs@.service"
    instance = unit.with_name("vaultfs@backup.service")
    instance.write_text(unit.read_text())
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", instance],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "vaultfs@" in line]
    assert (done.returncode, ours) == (0, [])
