"""Serves a new vault with a fixed key, so that no password is in the way of what is measured.

Run as a process: `python serving.py STORE MOUNTPOINT [COUNTS]`. With COUNTS, the Python calls up to now are
written to that file on SIGUSR1.
"""

import signal
import sys
from pathlib import Path

from _bench.counting import Calls
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.mount.options import MountOptions
from vaultfs.mount.session import serve
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.vault import Vault

KEYS = VaultKeys.from_master(bytes(16), bytes(range(32)))


def main(store_path: str, mountpoint: str, counts: str | None = None) -> None:
    with DirectoryStore(store_path, write=True) as store:
        Vault.create(store, KEYS)
        vault = Vault.open(store, KEYS)
        if counts is not None:
            calls = Calls(Path(counts))
            signal.signal(signal.SIGUSR1, lambda *_: calls.publish())
            calls.install()
        serve(vault, mountpoint, MountOptions(store_description=store_path), lambda: print("ready", flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
