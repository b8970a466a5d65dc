"""A change of the master key takes no more memory for a large vault than for a small one."""

import subprocess
import sys
from pathlib import Path

from tests.cli.running import environment

CHILD = """
import resource, stat, sys, time
from dataclasses import replace
from pathlib import Path
from vaultfs.check.rekeying import rekey_inline
from vaultfs.crypto.kdf import OPEN_FLOOR, Scrypt
from vaultfs.keys.header import create, serialise, unlock
from vaultfs.keys.headerfile import load, save
from vaultfs.keys.rekey import begin, carry_over, finish
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import OpenOptions, Vault

path, count = Path(sys.argv[2]), int(sys.argv[3])
if sys.argv[1] == "build":
    path.mkdir()
    store = DirectoryStore(path, write=True)
    made = create(b"password", kdf=Scrypt(10, 8, 1), minimum=OPEN_FLOOR)
    Vault.create(store, made.keys)
    save(store, serialise(made.header, made.keys.header_mac_key))
    vault = Inline(Vault.open(store, made.keys))
    for number in range(count):
        if number % 100 == 0:
            folder = vault.create_inode(1, b"folder %d" % number, stat.S_IFDIR | 0o755).id
            vault.vault.evict()
        inode = vault.create_inode(folder, b"IMG_%08d.jpg" % number, stat.S_IFREG | 0o644)
        if number % 4 == 0:
            vault.write(inode.id, 0, b"content")
    vault.vault.close()
else:
    store = DirectoryStore(path, write=True)
    made = begin(unlock(load(store).raw, b"password"))
    slot = carry_over(made.slot, b"password", made, Scrypt(10, 8, 1), OPEN_FLOOR)
    header = replace(made.header, slots=(slot,))
    save(store, serialise(header, made.keys.header_mac_key))
    vault = Vault.open(store, made.keys, OpenOptions(header_epoch=header.epoch))
    rekey_inline(vault, lambda what, done, total: None)
    save(store, serialise(finish(header), made.keys.header_mac_key), roots_too=False)
    vault.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
MOST_MORE = 12
"""MiB that ten times the files may take more: what is kept of directories, up to a limit, and no more."""


def child(what: str, path: Path, count: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, what, str(path), str(count)],
        capture_output=True, text=True, env=environment(), check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_memory_does_not_grow_with_the_vault(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 20_000):
        child("build", tmp_path / f"{count}", count)
        peaks.append(int(child("rekey", tmp_path / f"{count}", count)))
    print(f"{peaks[0]} and {peaks[1]} MiB")
    assert peaks[1] <= peaks[0] + MOST_MORE
