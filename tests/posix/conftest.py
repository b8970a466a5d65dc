"""The mounts of the mount tests."""

from tests.mount.conftest import folder, mount_vault, mounted_vault, shared_vault

__all__ = ["folder", "mount_vault", "mounted_vault", "shared_vault"]
