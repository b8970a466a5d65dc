"""`vaultfs export --salvage`: what is left of a ruined vault comes out, named as far as the objects tell."""

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.running import PASSWORD
from tests.cli.trees import facts_of


@pytest.fixture
def ruined(vaultfs, vault: Path, source: Path) -> Path:
    """A vault of which both roots are lost."""
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    for name in ("root.0", "root.1"):
        (vault / name).unlink()
    return vault


def test_everything_comes_out_without_roots(vaultfs, ruined: Path, source: Path, tmp_path: Path) -> None:
    assert vaultfs("export", ruined, tmp_path / "no", stdin=PASSWORD).code == 42
    done = vaultfs("export", "--salvage", ruined, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 0, done
    found = facts_of(tmp_path / "out")
    assert found.pop(b"/lost+found")
    assert found == facts_of(source)


def objects_of(vaultfs, vault: Path, plain: str) -> list[Path]:
    lines = vaultfs("where", f"{vault}:{plain}", stdin=PASSWORD).out.splitlines()[1:]
    return [vault / line.split()[0] for line in lines]


def test_content_comes_out_without_directories(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    # What is in a directory's own object, very small files among it, is lost with that.
    odd = bytes(range(256)) * 80
    (source / "docs/deep/deeper/larger").write_bytes(odd)
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    lost = objects_of(vaultfs, vault, "/") + objects_of(vaultfs, vault, "/docs/deep/deeper")
    for path in [*lost, vault / "root.0", vault / "root.1"]:
        path.unlink()
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 0, done
    # The directory that is left knows its own name and place; the files of the lost ones come by number.
    assert (tmp_path / "out/docs/exact").read_bytes() == (source / "docs/exact").read_bytes()
    contents = {path.read_bytes() for path in (tmp_path / "out/lost+found").iterdir() if path.stat().st_size < 1 << 20}
    assert {(source / "big").read_bytes(), odd} <= contents
    assert (tmp_path / "out/docs/hard").read_bytes() == b"hello\n"


def test_a_broken_chunk_costs_itself(vaultfs, vault: Path, source: Path, tmp_path: Path) -> None:
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    (stored,) = objects_of(vaultfs, vault, "/big")
    data = bytearray(stored.read_bytes())
    data[70_000] ^= 1
    stored.write_bytes(data)
    for name in ("root.0", "root.1"):
        os.truncate(vault / name, 10)
    done = vaultfs("export", "--salvage", vault, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert "/big: bytes 65536 to 131072 are lost" in done.err
    expected = bytearray((source / "big").read_bytes())
    expected[65536:131072] = bytes(65536)
    assert (tmp_path / "out/big").read_bytes() == expected


def test_strange_objects_are_named(vaultfs, ruined: Path, tmp_path: Path) -> None:
    one = next(path for path in (ruined / "objects").rglob("*") if path.is_file())
    shutil.copyfile(one, ruined / "objects/00" / ("0" * 30))
    done = vaultfs("export", "--salvage", ruined, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 0
    assert "none of this vault's objects" in done.err
