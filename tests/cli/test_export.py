"""The way out and in without a mount: import, ls, tree, cat, export, as a directory and as a tar archive."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.cli.plain import opened
from tests.cli.running import MAIN, PASSWORD, environment
from tests.cli.trees import ODD_NAME, facts_of
from tests.support.faultystore import SYNCS, Fault, FaultyStore
from tests.support.memorystore import MemoryStore
from vaultfs.cli.importing import Importer
from vaultfs.cli.output import size_text
from vaultfs.errors import WriteFailed
from vaultfs.keys.hierarchy import VaultKeys
from vaultfs.vault.vault import Vault

WITHOUT_FUSE = """
import sys
sys.modules["pyfuse3"] = sys.modules["trio"] = None  # what the import system takes for not installed
from vaultfs.cli.main import main
sys.exit(main())
"""


@pytest.fixture
def filled(vaultfs, vault: Path, source: Path) -> Path:
    done = vaultfs("import", source, vault, "--verify", stdin=PASSWORD)
    assert done.code == 0, done
    assert "all the same" in done.out
    assert done.err == ""
    size = sum(path.stat().st_size for path in (vault / "objects").rglob("*") if path.is_file())
    assert f"the store grew by {size_text(size)}." in done.out
    return vault


def test_everything_comes_out_as_it_went_in(vaultfs, filled: Path, source: Path, tmp_path: Path) -> None:
    done = vaultfs("export", filled, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 0, done
    assert facts_of(tmp_path / "out") == facts_of(source)
    sparse = (tmp_path / "out/sparse").stat()
    assert sparse.st_blocks * 512 < 1 << 20
    with (tmp_path / "out/sparse").open("rb") as file:
        file.seek((300 << 20) - 5)
        assert file.read(30) == bytes(5) + b"in the middle" + bytes(12)


def test_a_part_comes_out(vaultfs, filled: Path, source: Path, tmp_path: Path) -> None:
    assert vaultfs("export", f"{filled}:docs/deep", tmp_path / "out", stdin=PASSWORD).code == 0
    assert facts_of(tmp_path / "out") == facts_of(source / "docs/deep")
    assert vaultfs("export", f"{filled}:big", tmp_path / "one", stdin=PASSWORD).code == 0
    assert (tmp_path / "one/big").read_bytes() == (source / "big").read_bytes()


def test_a_tar_archive(filled: Path, source: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vaultfs", "export", filled, "--into", "tar"],
        input=PASSWORD.encode(), capture_output=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 26
    assert b"cannot hold a socket" in done.stderr
    (tmp_path / "out").mkdir()
    with tarfile.open(fileobj=io.BytesIO(done.stdout), errors="surrogateescape") as tar:
        members = {os.fsencode(member.name): member for member in tar.getmembers()}
        # Python 3.11.2, Debian 12's, has no filters; where there are some, the default one would refuse devices.
        filters: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
        tar.extractall(tmp_path / "out", **filters)
    expected = {path: facts for path, facts in facts_of(source).items() if path != b"/socket"}
    extracted = facts_of(tmp_path / "out")
    # tarfile sets times to whole microseconds, and no attributes; the records are looked at instead.
    assert {path: facts[:3] + facts[4:8] for path, facts in extracted.items()} == {
        path: facts[:3] + facts[4:8] for path, facts in expected.items()
    }
    assert members[b"big"].pax_headers["mtime"] == "981173107.987654321"
    xattr = members[b"docs/hard"].pax_headers["SCHILY.xattr.user.colour"]
    assert xattr.encode("utf-8", "surrogateescape") == b"\x00\xffblue"
    assert len(done.stdout) < 2 << 20


def test_names_of_attributes_come_out_of_an_archive(vault: Path, tmp_path: Path) -> None:
    names = ["user.100%3D%25", "user.a=b", "user.plain"]
    with opened(vault) as plain:
        plain.put("file", b"")
        for name in names:
            plain.inline.setxattr(plain.id("file"), name.encode(), name.encode())
    archive = subprocess.run(
        [sys.executable, "-m", "vaultfs", "export", vault, "--into", "tar"],
        input=PASSWORD.encode(), stdout=subprocess.PIPE, env=environment(), check=True,
    )  # fmt: skip
    unpacking = ["tar", "-x", "--xattrs", "--xattrs-include=*", "-C", str(tmp_path), "file"]
    subprocess.run(unpacking, input=archive.stdout, check=True)
    assert {name: os.getxattr(tmp_path / "file", name) for name in os.listxattr(tmp_path / "file")} == {
        name: name.encode() for name in names
    }


def test_an_attribute_whose_name_is_no_utf8_costs_itself_in_an_archive(
    vaultfs, vault: Path, tmp_path: Path
) -> None:
    with opened(vault) as plain:
        for name in "ab":
            plain.put(name, name.encode())
        plain.inline.setxattr(plain.id("a"), b"user.\xff", b"value")
    archive = tmp_path / "archive.tar"
    first = f"import os; os.dup2(os.open({str(archive)!r}, os.O_WRONLY | os.O_CREAT), 1)"
    done = vaultfs("export", vault, "--into", "tar", stdin=PASSWORD, first=first)
    assert done.code == 26, done
    assert r"/a: a tar archive cannot hold its attribute user.\xff." in done.err
    with tarfile.open(archive) as tar:
        assert tar.getnames() == [".", "a", "b"]


def test_listings(vaultfs, filled: Path) -> None:
    done = vaultfs("ls", f"{filled}:docs", stdin=PASSWORD)
    assert done.out.split() == ["deep", "exact", "hard", "link"]
    assert "link -> ../small" in vaultfs("ls", "-l", f"{filled}:docs/link", stdin=PASSWORD).out
    (odd,) = json.loads(vaultfs("ls", "--json", f"{filled}:docs/deep/deeper", stdin=PASSWORD).out)
    assert os.fsencode(odd["name"]) == ODD_NAME
    done = vaultfs("tree", f"{filled}:docs", stdin=PASSWORD)
    assert done.out.splitlines()[:3] == ["deep/", "  deeper/", "    \\xff\\xfe not utf-8\\n\\x1b[31m"]


def test_a_reader_that_has_had_enough_is_no_failure(filled: Path) -> None:
    script = f'{sys.executable} -c "{MAIN}" cat --passfile <(echo "$1") "$2" | head -c 1 >/dev/null; echo "$PIPESTATUS"'
    done = subprocess.run(
        ["bash", "-c", script, "-", PASSWORD, f"{filled}:/big"], capture_output=True, text=True, env=environment(),
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{128 + signal.SIGPIPE}\n", "")


def test_cat(vaultfs, filled: Path) -> None:
    assert vaultfs("cat", f"{filled}:docs/hard", stdin=PASSWORD).out == "hello\n"


def test_what_is_not_there(vaultfs, refused, filled: Path, tmp_path: Path) -> None:
    refused(vaultfs("cat", f"{filled}:no/such", stdin=PASSWORD), 11, "There is no /no/such in the vault")
    refused(vaultfs("cat", f"{filled}:docs", stdin=PASSWORD), 11, "/docs is no regular file")
    refused(vaultfs("ls", f"{tmp_path}/nowhere:docs", stdin=PASSWORD), 6, "no folder")
    refused(vaultfs("export", filled, stdin=PASSWORD), 1, "either a directory or --into tar")
    refused(vaultfs("export", filled, filled, stdin=PASSWORD), 1, "is not empty")


def test_nothing_is_overwritten_by_an_import(vaultfs, refused, filled: Path, source: Path) -> None:
    (source / "docs" / "hard").write_bytes(b"other\n")
    (source / "zlast").write_bytes(b"new\n")
    done = vaultfs("import", source, filled, stdin=PASSWORD)
    assert done.code == 26, done
    assert "/docs/hard is in the vault already, and not the same" in done.err
    assert vaultfs("cat", f"{filled}:docs/hard", stdin=PASSWORD).out == "hello\n"
    assert vaultfs("cat", f"{filled}:zlast", stdin=PASSWORD).out == "new\n"
    assert vaultfs("import", source, f"{filled}:deep/in it", stdin=PASSWORD).code == 0
    (source / "zlast").write_bytes(b"newer\n")
    assert "/deep/in it/zlast is in the vault already" in vaultfs(
        "import", source, f"{filled}:deep/in it", stdin=PASSWORD
    ).err


def test_an_import_that_differs_is_told(vaultfs, vault: Path, tmp_path: Path) -> None:
    source = tmp_path / "busy"
    source.mkdir()
    (source / "log").write_bytes(b"x" * 1000)
    done = vaultfs("import", source, f"{vault}:a/b c", "--verify", stdin=PASSWORD)
    assert done.code == 0
    assert vaultfs("ls", f"{vault}:a/b c", stdin=PASSWORD).out == "log\n"


@pytest.mark.expects_log("checkpoint could not be written")
def test_an_import_that_could_not_be_committed_fails(source: Path) -> None:
    """It said how much it had copied, and ended with 0."""
    keys = VaultKeys.from_master(bytes(16), bytes(32))
    store = MemoryStore()
    Vault.create(store, keys)
    vault = Vault.open(FaultyStore(store, Fault(errno.EIO, kinds=SYNCS, below="objects")), keys)
    with pytest.raises(WriteFailed):
        Importer(vault, lambda done: None, lambda: None).run(str(source), vault.getattr(1))
    vault.close()


def test_damage_costs_one_chunk_and_is_named(vaultfs, filled: Path, source: Path, tmp_path: Path) -> None:
    stored = vaultfs("where", f"{filled}:big", stdin=PASSWORD).out.splitlines()[-1].split()[0]
    data = bytearray((filled / stored).read_bytes())
    data[96 + 70_000] ^= 1
    (filled / stored).write_bytes(data)
    done = vaultfs("export", filled, tmp_path / "out", stdin=PASSWORD)
    assert done.code == 26
    assert "/big: bytes 65536 to 131072 are lost" in done.err
    expected = bytearray((source / "big").read_bytes())
    expected[65536:131072] = bytes(65536)
    assert (tmp_path / "out/big").read_bytes() == expected
    assert (tmp_path / "out/small").read_bytes() == b"hello\n"
    done = vaultfs("cat", f"{filled}:big", stdin=PASSWORD)
    assert done.code == 26
    assert "/big, at byte 0 or behind" in done.err


def test_where_and_whose_are_each_others_opposite(vaultfs, filled: Path) -> None:
    for plain in ("/big", "/docs", "/sparse"):
        stored = vaultfs("where", f"{filled}:{plain}", stdin=PASSWORD).out.splitlines()[-1].split()[0]
        assert (filled / stored).is_file()
        done = vaultfs("whose", filled, filled / stored, stdin=PASSWORD)
        assert done.code == 0, done
        assert done.out.startswith(f"{plain}: ")


def test_log(vaultfs, filled: Path) -> None:
    said = json.loads(vaultfs("log", "--json", filled, stdin=PASSWORD).out)
    assert said["clean"]
    assert said["generations"][0] == said["seen"]
    assert "the newest this machine has seen" in vaultfs("log", filled, stdin=PASSWORD).out


def run_without_fuse(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_FUSE, *map(str, words)], input=PASSWORD, capture_output=True, text=True,
        errors="replace", env=environment(), check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["ls", "tree", "cat", "export", "import", "check", "log", "info", "drill"])
def test_neither_pyfuse3_nor_trio_is_needed(filled: Path, source: Path, tmp_path: Path, command: str) -> None:
    more: dict[str, list[str | Path]] = {
        "cat": [f"{filled}:/big"],
        "export": [filled, tmp_path / "out"],
        "import": [source, f"{filled}:/again"],
        "check": ["--data", filled],
    }
    done = run_without_fuse(command, *more.get(command, [filled]))
    assert done.returncode == 0, done


def test_a_mount_without_pyfuse3_says_what_to_do_before_it_asks(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    done = run_without_fuse("mount", filled, tmp_path / "plain", "--passfile", tmp_path / "no such file")
    assert done.returncode == 19
    assert "pip install 'vaultfs[mount]'" in done.stderr
