"""The golden vaults: where they are, what must be found in them, and copies of them to open."""

import json
import shutil
from pathlib import Path
from typing import Any, TypeAlias

Entries: TypeAlias = dict[str, dict[str, Any]]
"""Every path, as hex (the top directory is ""), with attributes and content as `manifest.json` has them."""

GOLDEN = Path(__file__).parent.parent / "golden"
VERSIONS = sorted(path.name for path in GOLDEN.glob("v*"))
STATES = ("clean", "unclean", "rekeying")


def manifest(version: str) -> dict[str, Any]:
    """What must be found in the vaults of a format version."""
    loaded: dict[str, Any] = {}
    for name in ("manifest.json", "rekeying.json"):
        loaded |= json.loads((GOLDEN / version / name).read_bytes())
    return loaded


def copy_store(version: str, state: str, target: Path) -> Path:
    """A copy of a golden store at `target`, with the empty folders that Git does not keep."""
    shutil.copytree(GOLDEN / version / state, target)
    for folder in ("journal", "objects", *(f"objects/{number:02x}" for number in range(256))):
        (target / folder).mkdir(exist_ok=True)
    return target


def store_bytes(store: Path) -> dict[str, bytes]:
    """Every file of a store with its bytes."""
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def described(
    *, mode: int, rdev: int, target: bytes, xattrs: dict[bytes, bytes], content: str | None, **numbers: int
) -> dict[str, Any]:
    """An inode in the manifest's form; `content` is the digest of a regular file's."""
    entry: dict[str, Any] = {"mode": f"{mode:06o}", **numbers}
    if rdev:
        entry["rdev"] = rdev
    if target:
        entry["target"] = target.hex()
    if xattrs:
        entry["xattrs"] = {name.hex(): value.hex() for name, value in sorted(xattrs.items())}
    if content is not None:
        entry["content"] = content
    return entry


NUMBERS = ("id", "uid", "gid", "nlink", "size", "atime", "mtime", "ctime", "birthtime")
