"""The layers: imports run downward only, and some things belong to one layer alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vaultfs"

LAYERS = ("crypto", "format", "store", "keys", "sealing", "vault", "check", "mount", "cli")
"""Lowest first. `vaultfs` itself and `vaultfs.errors` lie below them all, `vaultfs.__main__` is part of cli."""

OWNERS = {
    "pyfuse3": "mount",
    "trio": "mount",
    "Crypto": "crypto",
    "cryptography": "crypto",
    "argon2": "crypto",
    "hashlib": "crypto",
    "hmac": "crypto",
    "secrets": "crypto",
    "os.urandom": "crypto",
    "os.getrandom": "crypto",
    "print": "cli",
    "sys.stdout": "cli",
    "sys.stderr": "cli",
    "sys.__stdout__": "cli",
    "sys.__stderr__": "cli",
}
"""What only one layer may use."""

EXCEPTIONS = {
    "vaultfs.mount.daemon": ("sys.stdout", "sys.stderr"),  # flushes and redirects them on leaving the terminal
}
"""What one module may use all the same."""


def layer_of(module: str) -> str | None:
    """The layer a dotted name in vaultfs belongs to; None for the bottom, which all may import."""
    parts = module.split(".")
    if len(parts) < 2 or parts[1] in ("errors", "__version__", "*"):
        return None
    return "cli" if parts[1] == "__main__" else parts[1]


def rank(layer: str | None) -> int:
    """Height of a layer; -1 is the bottom. ValueError for a layer nobody has placed."""
    return -1 if layer is None else LAYERS.index(layer)


def imported(tree: ast.AST, package: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported anywhere in `tree`, in functions and TYPE_CHECKING blocks too."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parents = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*parents, *([module] if module else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of plain names and `module.attribute` pairs."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=attribute):
                yield node.lineno, f"{module}.{attribute}"
            case ast.Name(id=name, ctx=ast.Load()):
                yield node.lineno, name


def owner(name: str) -> str | None:
    """The one layer that may use a dotted name, if there is such a rule."""
    parts = name.split(".")
    return OWNERS.get(parts[0]) or OWNERS.get(".".join(parts[:2]))


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Each breach of the rules in one module's source, as `module:line: what`."""
    tree = ast.parse(source)
    own_layer = layer_of(module)
    imports = list(imported(tree, module if is_package else module.rpartition(".")[0]))
    found = [
        f"{module}:{line}: imports {name}, which lies above it"
        for line, name in imports
        if name.partition(".")[0] == "vaultfs" and rank(layer_of(name)) > rank(own_layer)
    ]
    for line, name in [*imports, *used(tree)]:
        if (only := owner(name)) not in (None, own_layer) and name not in EXCEPTIONS.get(module, ()):
            found.append(f"{module}:{line}: uses {name}, which belongs to {only}")
    return found


def modules() -> Iterator[tuple[str, Path]]:
    """(dotted name, path) of every module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def test_every_module_keeps_to_its_layer() -> None:
    found = [
        breach
        for module, path in modules()
        for breach in violations(module, path.read_text(), is_package=path.name == "__init__.py")
    ]
    assert found == []


def test_every_layer_is_placed_and_there() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(LAYERS)
    assert {module for module, _ in modules()} > {f"vaultfs.{layer}" for layer in LAYERS}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vaultfs.store.directory", "from vaultfs.vault.tree import Tree"),
        ("vaultfs.store.directory", "import vaultfs.mount"),
        ("vaultfs.store.directory", "from vaultfs import cli"),
        ("vaultfs.store.directory", "from ..keys import header"),
        ("vaultfs.store.directory", "from .. import keys"),
        ("vaultfs.store.directory", "def late():\n    from vaultfs.keys import header"),
        ("vaultfs.store.directory", "if TYPE_CHECKING:\n    from vaultfs.keys import header"),
        ("vaultfs.store.directory", "importlib.import_module('vaultfs.cli.main')"),
        ("vaultfs.errors", "from vaultfs.crypto import aead"),
        ("vaultfs", "from vaultfs.crypto import aead"),
        ("vaultfs.vault.tree", "import trio"),
        ("vaultfs.cli.main", "import pyfuse3"),
        ("vaultfs.keys.slots", "from Crypto.Protocol.KDF import scrypt"),
        ("vaultfs.keys.slots", "from cryptography.hazmat.primitives.ciphers import aead"),
        ("vaultfs.keys.slots", "def late():\n    import argon2.low_level"),
        ("vaultfs.vault.tree", "import hashlib"),
        ("vaultfs.vault.tree", "from secrets import token_bytes"),
        ("vaultfs.vault.tree", "import os\nos.urandom(12)"),
        ("vaultfs.vault.tree", "from os import urandom"),
        ("vaultfs.vault.tree", "print('hello')"),
        ("vaultfs.mount.session", "import sys\nsys.stderr.write('hello')"),
        ("vaultfs.mount.session", "from sys import stdout"),
        ("vaultfs.mount.daemon", "print('hello')"),
    ],
)
def test_a_breach_is_found(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vaultfs.vault.tree", "from vaultfs.errors import NotFound\nfrom vaultfs.store import api"),
        ("vaultfs.vault.tree", "from .inode import Inode\nfrom . import inode\nfrom ..crypto import aead"),
        ("vaultfs.store.directory", "from vaultfs import errors, __version__"),
        ("vaultfs.mount.session", "import trio, pyfuse3"),
        ("vaultfs.crypto.aead", "import hashlib, hmac, os\nos.urandom(12)"),
        ("vaultfs.cli.main", "import sys\nprint('hello', file=sys.stderr)"),
        ("vaultfs.__main__", "from vaultfs.cli.main import main\nprint('hello')"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_relative_imports_in_a_package_are_resolved_from_the_package() -> None:
    assert violations("vaultfs.store", "from .directory import DirectoryStore", is_package=True) == []
    assert len(violations("vaultfs.store", "from ..keys import header", is_package=True)) == 1
