"""Who checks permissions: the kernel, or nobody where root has mounted for itself alone and may do everything anyway.

With `default_permissions` the kernel goes by modes, owners and ACLs (mount.fuse3(8)). For that it asks for a folder's
attributes after each change in it: a sixth of the requests of new files. Without `allow_other` it lets nobody in but
the user who mounted; if that is root, only what `access` tells is left to know. A server that runs as root and acts
for another user (NFS: setfsuid(2)) would then be let in as root, so that its requests are refused here.
"""

import os
import stat
from pathlib import Path

from vaultfs.mount.options import MountOptions

_UID_MAP = Path("/proc/self/uid_map")


def is_for_root_alone(options: MountOptions) -> bool:
    """Whether nobody needs to check permissions: none but the machine's root can enter, and no check was asked for."""
    return not options.allow_other and not options.default_permissions and _is_root_of_the_machine()


def may_access(mode: int, wanted: int) -> bool:
    """What access(2) tells root: `wanted` are bits of R_OK, W_OK, X_OK, `mode` is st_mode (capabilities(7))."""
    return stat.S_ISDIR(mode) or not wanted & os.X_OK or bool(mode & 0o111)


def _is_root_of_the_machine() -> bool:
    """False for the root of a user namespace too: owners it does not know keep it out (user_namespaces(7))."""
    return os.geteuid() == 0 and _UID_MAP.read_text().split() == ["0", "0", str(2**32 - 1)]
