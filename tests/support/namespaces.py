"""Namespaces of a test's own (unshare(1)), where this machine lets it have some."""

import subprocess

import pytest


def _may_unshare(*options: str) -> bool:
    done = subprocess.run(["unshare", *options, "true"], capture_output=True, check=False)
    return done.returncode == 0


needs_mount_namespace = pytest.mark.skipif(
    not _may_unshare("--mount"), reason="no mount namespace can be had here (not root, or a chroot)"
)
needs_user_namespace = pytest.mark.skipif(
    not _may_unshare("--user"), reason="no user namespace can be had here (the kernel forbids it, or a chroot)"
)
