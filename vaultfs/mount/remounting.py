"""Changes how the kernel treats a vault that is mounted already, as `mount -o remount` asks."""

import os
import subprocess
from collections.abc import Sequence

from vaultfs.errors import MountpointUnusable
from vaultfs.mount.mounttable import mount_at
from vaultfs.mount.unmounting import absolute


def remount(mountpoint: str, options: Sequence[str]) -> None:
    """Give the mount these options of the kernel's (`ro`, `nosuid`, …); the process behind it goes on as it was.

    Raises MountpointUnusable if no vault is mounted there, or the kernel refuses.
    """
    path = absolute(mountpoint)
    mount = mount_at(path)
    if mount is None or not mount.is_vault:
        raise MountpointUnusable(f"no vault is mounted on {path}")
    # Not through the helper for this type, which is what mount(8) runs us as. And by mount(2): mount(8) repeats all
    # options that the mount has, and by fsconfig(2) the kernel takes none of a FUSE mount's once more.
    command = ["mount", "--internal-only", "-o", ",".join(["remount", *options]), path]
    environment = os.environ | {"LIBMOUNT_FORCE_MOUNT2": "always"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().partition("\n")[0].rstrip(".")
        raise MountpointUnusable(f"{path} could not be remounted: {reason}")
