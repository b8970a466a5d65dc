"""`vaultfs check --repair`: what can be mended is, nothing is destroyed, and a dry run changes nothing."""

import os
import signal
from pathlib import Path

import pytest

from tests.cli.plain import opened
from tests.cli.running import PASSWORD, digest, signals_itself
from tests.cli.trees import facts_of


@pytest.fixture
def filled(vaultfs, vault: Path, source: Path) -> Path:
    assert vaultfs("import", source, vault, stdin=PASSWORD).code == 0
    return vault


def objects_of(vaultfs, vault: Path, plain: str) -> list[Path]:
    lines = vaultfs("where", f"{vault}:{plain}", stdin=PASSWORD).out.splitlines()[1:]
    return [vault / line.split()[0] for line in lines]


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def repaired(vaultfs, vault: Path, *more: str, code: int = 0) -> str:
    before = {name: hashed for name, hashed in digest(vault).items() if name != "lock"}
    done = vaultfs("check", vault, "--data", "--repair", "--dry-run", *more, stdin=PASSWORD)
    assert done.code == 26
    assert "repair: " in done.out
    assert {name: hashed for name, hashed in digest(vault).items() if name != "lock"} == before
    done = vaultfs("check", vault, "--data", "--repair", "--yes", *more, stdin=PASSWORD)
    assert done.code == code, done
    return str(done.out)


def exported(vaultfs, vault: Path, target: Path) -> dict[bytes, tuple[object, ...]]:
    assert vaultfs("export", vault, target, stdin=PASSWORD).code == 0
    return facts_of(target)


def test_copies_and_headers_are_restored(vaultfs, filled: Path, source: Path, tmp_path: Path) -> None:
    (filled / "vaultfs.json.backup").unlink()
    flip(filled / "root.0", 40)
    for plain in ("/big", "/docs"):
        flip(objects_of(vaultfs, filled, plain)[0], 30)
    said = repaired(vaultfs, filled)
    assert said.count("write its header anew") == 2
    assert vaultfs("check", filled, "--data", stdin=PASSWORD).code == 0
    assert exported(vaultfs, filled, tmp_path / "out") == facts_of(source)
    assert len(list((filled / "quarantine").rglob("*.header"))) == 2


def test_objects_with_a_broken_beginning_are_mended(vaultfs, vault: Path, tmp_path: Path) -> None:
    """A block of the disk that is lost there has the header and some of the first chunk: two findings, one object."""
    with opened(vault) as plain:
        for number in range(3):
            plain.put(f"file {number}", os.urandom(150_000))
    broken = [path for path in (vault / "objects").rglob("*") if path.is_file() and path.stat().st_size > 150_000]
    assert len(broken) == 3
    for path in broken:
        path.write_bytes(bytes(4096) + path.read_bytes()[4096:])
    said = repaired(vaultfs, vault, "--zeros")
    assert said.count("write its header anew") == said.count("put zeros for bytes 0 to 65536") == 3
    assert vaultfs("check", vault, "--data", stdin=PASSWORD).code == 0
    assert len(list((vault / "quarantine").rglob("*.header"))) == 3


def test_a_directory_is_put_together_again(vaultfs, filled: Path, source: Path, tmp_path: Path) -> None:
    """Its first frame is broken, so all it had is lost but what the directories below say of themselves."""
    flip(objects_of(vaultfs, filled, "/docs")[0], 96 + 40)
    assert vaultfs("ls", f"{filled}:docs", stdin=PASSWORD).code == 26
    said = repaired(vaultfs, filled)
    assert "/docs: put the directory together from 1 entries" in said
    found = exported(vaultfs, filled, tmp_path / "out")
    expected = facts_of(source)
    deep = {path for path in expected if path.startswith(b"/docs/deep")}
    assert {path: found[path] for path in deep} == {path: expected[path] for path in deep}
    assert (tmp_path / "out/big").read_bytes() == (source / "big").read_bytes()
    lost = [path for path in (tmp_path / "out/lost+found").iterdir() if path.is_file()]
    assert (source / "docs/exact").read_bytes() in [path.read_bytes() for path in lost]
    assert vaultfs("check", filled, "--data", stdin=PASSWORD).code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill"])
@pytest.mark.parametrize("after", [2, 4, 5, 7, 9])
def test_a_repair_may_end_anywhere(
    vaultfs, filled: Path, source: Path, tmp_path: Path, number: int, after: int
) -> None:
    """The same command does the rest, and names and contents come back as if nothing had been."""
    flip(objects_of(vaultfs, filled, "/docs")[0], 96 + 40)
    flip(objects_of(vaultfs, filled, "/big")[0], 30)
    repair = ("check", filled, "--data", "--repair", "--yes")
    done = vaultfs(*repair, stdin=PASSWORD, first=signals_itself(number, after))
    assert done.code in (0, 15, -signal.SIGKILL), done
    assert "only in the journal" not in done.err
    done = vaultfs(*repair, stdin=PASSWORD)
    assert done.code == 0, done
    found, expected = exported(vaultfs, filled, tmp_path / "out"), facts_of(source)
    deep = {path for path in expected if path.startswith(b"/docs/deep")}
    assert {path: found.get(path) for path in deep} == {path: expected[path] for path in deep}
    assert (tmp_path / "out/big").read_bytes() == (source / "big").read_bytes()
    lost = [path for path in (tmp_path / "out/lost+found").iterdir() if path.is_file()]
    assert (source / "docs/exact").read_bytes() in [path.read_bytes() for path in lost]


def test_the_later_frames_of_a_directory_cost_only_what_they_say(vaultfs, filled: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (more / "late").write_bytes(b"late")
    base = objects_of(vaultfs, filled, "/docs")[0]
    size = base.stat().st_size
    assert vaultfs("import", more, f"{filled}:docs", stdin=PASSWORD).code == 0
    assert objects_of(vaultfs, filled, "/docs")[0] == base
    flip(base, size + 40)
    said = repaired(vaultfs, filled)
    assert "put the directory together from 4 entries" in said
    assert vaultfs("ls", f"{filled}:docs", stdin=PASSWORD).out.split() == ["deep", "exact", "hard", "link"]
    found = exported(vaultfs, filled, tmp_path / "out")
    assert b"/docs/hard" in found


def test_lost_bytes_stay_errors_unless_zeros_are_asked_for(vaultfs, filled: Path, source: Path) -> None:
    flip(objects_of(vaultfs, filled, "/big")[0], 70_000)
    flip(objects_of(vaultfs, filled, "/docs/exact")[0], 70_000)
    done = vaultfs("check", filled, "--data", "--repair", "--yes", stdin=PASSWORD)
    assert done.code == 26
    assert "left as it is: error: corrupt: /big bytes 65536 to 131072" in done.out
    assert vaultfs("cat", f"{filled}:big", stdin=PASSWORD).code == 26
    repaired(vaultfs, filled, "--zeros")
    expected = bytearray((source / "big").read_bytes())
    expected[65536:131072] = bytes(65536)
    shown = vaultfs("export", f"{filled}:big", filled.parent / "one", stdin=PASSWORD)
    assert shown.code == 0
    assert (filled.parent / "one/big").read_bytes() == expected


def test_a_missing_directory_is_not_given_up_lightly(vaultfs, filled: Path) -> None:
    objects_of(vaultfs, filled, "/docs")[0].unlink()
    done = vaultfs("check", filled, "--repair", "--yes", stdin=PASSWORD)
    assert done.code == 26
    assert "partly synced" in done.err
    assert "left as it is" in done.out
    repaired(vaultfs, filled, "--missing-too")
    assert "deep" in vaultfs("ls", f"{filled}:docs", stdin=PASSWORD).out


def test_foreign_files_and_conflict_copies_are_left(vaultfs, filled: Path) -> None:
    stored = objects_of(vaultfs, filled, "/big")[0]
    copy = stored.with_name(f"{stored.name} (1)")
    copy.write_bytes(stored.read_bytes())
    done = vaultfs("check", filled, "--repair", "--yes", stdin=PASSWORD)
    assert done.code == 26
    assert "left as it is: warning: conflict copy" in done.out
    assert copy.exists()
    os.unlink(copy)
    assert vaultfs("check", filled, stdin=PASSWORD).code == 0
