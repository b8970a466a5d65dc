"""The second reader, which knows only FORMAT.md, finds in the golden vaults what their manifest says."""

import ast
import os
import stat
from pathlib import Path

import pytest
from _golden.digest import digest

from tests.format.decoder import Decoded, DecodeError, decode
from tests.format.goldens import GOLDEN, NUMBERS, STATES, VERSIONS, Entries, described, manifest


def found_in(decoded: Decoded) -> Entries:
    """Everything the second reader found, in the manifest's form."""
    return {
        path.hex(): described(
            mode=node.mode,
            rdev=node.device,
            target=node.target,
            xattrs=node.xattrs,
            content=digest(decoded.blocks(node)) if stat.S_ISREG(node.mode) else None,
            **{name: getattr(node, name) for name in NUMBERS},
        )
        for path, node in decoded.paths.items()
    }


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("version", VERSIONS)
def test_it_finds_what_the_manifest_says(version: str, state: str):
    said = manifest(version)
    decoded = decode(GOLDEN / version / state, said["passwords"]["scrypt"])
    assert decoded.generation == said[state]["generation"]
    assert found_in(decoded) == said[state]["entries"]
    assert bool(decoded.applied) == (state != "clean")


@pytest.mark.parametrize("version", VERSIONS)
def test_it_needs_the_password(version: str):
    with pytest.raises(DecodeError, match="no scrypt slot"):
        decode(GOLDEN / version / "clean", "another password")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_clean_vault_has_one_of_every_kind(version: str):
    """Every form FORMAT.md describes is there, so that reading it proves something."""
    said = manifest(version)
    nodes = decode(GOLDEN / version / "clean", said["passwords"]["scrypt"]).paths.values()
    assert {stat.S_IFMT(node.mode) for node in nodes} == {
        stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK,
    }  # fmt: skip
    sections = [node.content for node in nodes if stat.S_ISREG(node.mode) and node.content]
    levels = {section[57] for section in sections if section[0] == 2}
    forms = {1, 2, 3} if version == "v1-inline-data" else {1, 2}
    assert {section[0] for section in sections} == forms and levels == {0, 1}
    heads = {len(node.content) for node in nodes if stat.S_ISDIR(node.mode)}
    assert heads == {0, 100, 140}
    assert any(node.nlink > 1 for node in nodes if stat.S_ISREG(node.mode))
    assert max(len(os.fsdecode(path)) for path in map(bytes.fromhex, said["clean"]["entries"])) > 255


def test_it_imports_nothing_of_vaultfs():
    for path in Path(__file__).parent.glob("decoder*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("vaultfs", "cryptography", "argon2") for name in names), path
