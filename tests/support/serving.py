"""Serves a vault with a fixed key: the process behind `tests.support.mounting`.

Arguments: the store's folder (a vault is made in an empty one), the mountpoint, and as JSON fields of MountOptions
and of Settings.
"""

import json
import logging
import os
import sys
from pathlib import Path

from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.mount.options import MountOptions
from vaultfs.mount.session import serve
from vaultfs.store.directory import DirectoryStore
from vaultfs.store.handles import raise_descriptor_limit
from vaultfs.store.lock import VaultLock
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions, Vault

KEYS = VaultKeys.from_master(bytes(16), bytes(range(32)))


def main(store_path: Path, mountpoint: str, options: MountOptions, settings: Settings) -> None:
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.INFO)
    raise_descriptor_limit()
    is_new = not any(store_path.iterdir())
    with VaultLock.acquire(store_path, KEYS.vault_id, write=True), DirectoryStore(store_path, write=True) as store:
        if is_new:
            Vault.create(store, KEYS, uid=os.getuid(), gid=os.getgid())
        vault = Vault.open(store, KEYS, OpenOptions(read_only=options.read_only, settings=settings))
        serve(vault, mountpoint, options, lambda: print("ready", flush=True))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        sys.argv[2],
        MountOptions(store_description=sys.argv[1], **json.loads(sys.argv[3])),
        Settings(**json.loads(sys.argv[4])),
    )
