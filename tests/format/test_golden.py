"""Golden vaults, one set per released format version: the library finds in them what their manifests say, for ever."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import pytest
from _golden.digest import BLOCK, digest

from tests.format.goldens import (
    GOLDEN,
    NUMBERS,
    STATES,
    VERSIONS,
    Entries,
    copy_store,
    described,
    manifest,
    store_bytes,
)
from vaultfs.errors import ReadOnly
from vaultfs.format.constants import FORMAT_VERSION
from vaultfs.keys.header import unlock
from vaultfs.keys.headerfile import load, load_from_roots
from vaultfs.keys.identity import Identity, open_identity
from vaultfs.keys.keyfile import read_keyfile
from vaultfs.keys.password import normalise
from vaultfs.keys.recovery import Share, join_shares, recovery_from_text
from vaultfs.keys.slots import KEYFILE, KEYFILE_PASSWORD, RECOVERY, SHARES
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.inode import Inode
from vaultfs.vault.settings import Settings
from vaultfs.vault.vault import OpenOptions, Vault

STEP = 64 * BLOCK


@contextmanager
def opened(path: Path, password: str, *, read_only: bool) -> Iterator[Inline]:
    """The vault in a store, by any of its passwords; closed at the end."""
    with DirectoryStore(path, write=not read_only) as store:
        unlocked = unlock(load(store).raw, normalise(password))
        header = unlocked.header
        options = OpenOptions(
            header.chunk_size, header.epoch, read_only, inline_data=header.inline_data,
            settings=Settings(ballast_size=0),
        )  # fmt: skip
        vault = Vault.open(store, unlocked.keys, options)
        try:
            yield Inline(vault)
        finally:
            vault.close()


def found_in(fs: Inline) -> Entries:
    """Everything in a vault, in the manifest's form."""
    entries: Entries = {}
    pending = [(b"", fs.getattr(1))]
    while pending:
        path, inode = pending.pop()
        content = digest(_blocks(fs, inode)) if stat.S_ISREG(inode.mode) else None
        assert sorted(inode.xattrs) == fs.listxattr(inode.id)
        entries[path.hex()] = described(
            mode=inode.mode, rdev=inode.rdev, target=inode.target, xattrs=inode.xattrs, content=content,
            **{name: getattr(inode, name) for name in NUMBERS},
        )  # fmt: skip
        if stat.S_ISDIR(inode.mode):
            for name, inode_id in fs.list_directory(inode.id):
                child = fs.lookup(inode.id, name)
                assert child.id == inode_id
                pending.append((path + b"/" + name if path else name, child))
    return entries


def _blocks(fs: Inline, inode: Inode) -> Iterator[tuple[int, bytes]]:
    for start in range(0, inode.size, STEP):
        data = fs.read(inode.id, start, STEP)
        assert len(data) == min(STEP, inode.size - start)
        if data.count(0) != len(data):
            yield from ((start + at, data[at : at + BLOCK]) for at in range(0, len(data), BLOCK))


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_this_format_version_has_golden_vaults():
    assert f"v{FORMAT_VERSION}" in VERSIONS


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kdf", ["argon2id", "scrypt"])
def test_reading_finds_what_the_manifest_says_and_changes_nothing(version: str, state: str, kdf: str, tmp_path: Path):
    said = manifest(version)
    path = copy_store(version, state, tmp_path / "store")
    before = store_bytes(path)
    with opened(path, said["passwords"][kdf], read_only=True) as fs:
        assert fs.vault.generation == said[state]["generation"]
        assert found_in(fs) == said[state]["entries"]
        with pytest.raises(ReadOnly):
            fs.create_inode(1, b"new", stat.S_IFREG)
    assert store_bytes(path) == before


@pytest.mark.parametrize("state", STATES)
def test_opening_for_writing_recovers_what_the_manifest_says(version: str, state: str, tmp_path: Path):
    said = manifest(version)
    path = copy_store(version, state, tmp_path / "store")
    for _ in range(2):
        with opened(path, said["passwords"]["argon2id"], read_only=False) as fs:
            assert found_in(fs) == said[state]["entries"]
    assert not list((path / "journal").iterdir())


@pytest.mark.parametrize("state", STATES)
def test_the_vault_can_be_changed_and_keeps_the_rest(version: str, state: str, tmp_path: Path):
    said = manifest(version)
    path = copy_store(version, state, tmp_path / "store")
    with opened(path, said["passwords"]["scrypt"], read_only=False) as fs:
        for name in (b"added", b"gone"):
            inode = fs.create_inode(1, name, stat.S_IFREG | 0o600)
            fs.write(inode.id, 0, name * 10_000)
        fs.unlink(1, b"gone")
    with opened(path, said["passwords"]["scrypt"], read_only=True) as fs:
        assert fs.read(fs.lookup(1, b"added").id, 0, 99_999) == b"added" * 10_000
        entries = found_in(fs)
    del entries[b"added".hex()], entries[""], said[state]["entries"][""]
    assert entries == said[state]["entries"]


def test_every_way_in_opens_it(version: str, tmp_path: Path):
    said = manifest(version)
    header = (GOLDEN / version / "clean" / "vaultfs.json").read_bytes()
    keyfile = tmp_path / "keyfile"
    keyfile.write_bytes(bytes.fromhex(said["keyfile"]))
    hashed, password = read_keyfile(str(keyfile)), normalise(said["passwords"]["argon2id"])
    master = unlock(header, password).master
    shares = [Share.from_text(text) for text in said["shares"]]
    for pair in combinations(shares, 2):
        assert unlock(header, join_shares(pair), SHARES).master == master
    opened = unlock(header, recovery_from_text(said["recovery"]), RECOVERY)
    assert unlock(header, hashed, KEYFILE).master == opened.master == master
    assert unlock(header, hashed + password, KEYFILE_PASSWORD).master == master
    assert open_identity(opened.keys, opened.header.identity) == Identity(**said["identity"])
    with DirectoryStore(GOLDEN / version / "clean", write=False) as store:
        assert load_from_roots(store).raw == header


def test_the_copies_come_from_untouched_originals(version: str):
    """Git keeps no empty folders and tests work on copies: a folder or a lock file here was left by a mistake."""
    for state in STATES:
        assert not (GOLDEN / version / state / "lock").exists()
        assert all(list(folder.iterdir()) for folder in (GOLDEN / version / state / "objects").iterdir())
