"""Opens the vault a power cut left, without a mount, and says whether all that was promised is in it.

Run as `autopsy.py STORE LOGS MARKS`, MARKS being the lengths of the acknowledged parts of the writers' logs, separated
by commas; prints the Verdict as JSON.
"""

import json
import os
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path

from _powercut.judge import Found, Tree, Verdict, fingerprint
from _powercut.machine import SCRIPTS
from _powercut.staff import judge_all
from _powercut.writer import ATTRIBUTE
from tests.support.serving import KEYS
from vaultfs.errors import NoAttribute
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode
from vaultfs.vault.vault import OpenOptions, Vault

_MOST = 1 << 30


def found_in_vault(vault: Inline) -> Tree:
    """Everything in an open vault."""
    tree: Tree = {}
    _walk(vault, 1, "", tree)
    return tree


def _walk(vault: Inline, folder: int, path: str, tree: Tree) -> None:
    for name, inode_id in vault.list_directory(folder):
        inode = vault.lookup(folder, name)
        place = path + name.decode()
        kind = stat.S_IFMT(inode.mode)
        tree[place] = Found(
            kind, inode.id, inode.nlink, stat.S_IMODE(inode.mode), inode.size,
            _value(vault, inode), partial(vault.read, inode.id, 0, _MOST),
        )  # fmt: skip
        if kind == stat.S_IFDIR:
            _walk(vault, inode_id, place + "/", tree)


def _value(vault: Inline, inode: Inode) -> str:
    if stat.S_ISLNK(inode.mode):
        return inode.target.decode()
    try:
        return vault.getxattr(inode.id, ATTRIBUTE.encode()).decode() if stat.S_ISREG(inode.mode) else ""
    except NoAttribute:
        return ""


def examine(store_path: Path, logs: Path, marks: list[int]) -> Verdict:
    """Judge a store after a crash, in a process of its own."""
    command = [sys.executable, "-m", "_powercut.autopsy", str(store_path), str(logs), ",".join(map(str, marks))]
    path = os.pathsep.join(map(str, (SCRIPTS, SCRIPTS.parent)))
    done = subprocess.run(command, check=False, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        return Verdict(0, 0, [f"opening the vault failed: {done.stderr.decode()[-1500:]}"])
    return Verdict(*json.loads(done.stdout))


def _examine(store_path: Path, logs: Path, marks: list[int]) -> Verdict:
    """By a read-only opening, by a recovering one, and by a clean one after that."""
    verdict, prints = Verdict(0, 0, []), set()
    for attempt in ("read-only", "recovering", "second"):
        with DirectoryStore(store_path, write=attempt != "read-only") as store:
            vault = Vault.open(store, KEYS, OpenOptions(read_only=attempt == "read-only"))
            tree = found_in_vault(Inline(vault))
            if attempt == "recovering":
                verdict = judge_all(tree, logs, len(marks), marks, closing_is_durable=False)
                _write_a_little(Inline(vault))
            prints.add(fingerprint(tree))
            vault.close()
    if len(prints) != 1:
        verdict.problems.append("two openings show different trees")
    return verdict


def _write_a_little(vault: Inline) -> None:
    """A recovered vault is as good as any other; what is made here is gone again at once."""
    inode = vault.create_inode(1, b"afterwards", stat.S_IFREG | 0o600)
    vault.write(inode.id, 0, bytes(100_000))
    vault.fsync(inode.id)
    vault.unlink(1, b"afterwards")


if __name__ == "__main__":
    print(json.dumps(_examine(Path(sys.argv[1]), Path(sys.argv[2]), [int(mark) for mark in sys.argv[3].split(",")])))
