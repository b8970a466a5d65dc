"""Attacks on the header: no changed header opens the vault another way, and one whole copy is enough."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import CHEAP, PASSWORD, Result, run_piped

HEADER, BACKUP = "vaultfs.json", "vaultfs.json.backup"


@pytest.fixture(autouse=True)
def _nothing_kept_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        (tmp_path / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "store"
    done = run_piped("init", path, *CHEAP, stdin=PASSWORD)
    assert done.code == 0, done
    return path


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "store")


def opened(store: Path) -> Result:
    return run_piped("ls", store, stdin=PASSWORD)


@pytest.mark.parametrize("lost", [HEADER, BACKUP])
@pytest.mark.parametrize(
    "attack",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"a", b"b", 1)),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
    ],
    ids=["deleted", "emptied", "cut", "changed", "zeroed"],
)
def test_one_copy_is_enough_and_the_check_says_so(
    store: Path, lost: str, attack: Callable[[Path], object]
) -> None:
    attack(store / lost)
    assert opened(store).code == 0
    done = run_piped("check", store, stdin=PASSWORD)
    assert done.code == 26
    assert "vaultfs.json" in done.out


@pytest.mark.parametrize("member", ["version", "vault_id", "epoch", "chunk_size", "cipher", "features"])
def test_an_edited_header_is_refused_even_with_a_right_checksum(store: Path, member: str) -> None:
    from vaultfs.crypto.mac import sha256

    for name in (HEADER, BACKUP):
        text = (store / name).read_text()
        said = json.loads(text)
        old = json.dumps(said[member], indent=2).replace("\n", "\n  ")
        new = {"int": "7", "str": '"x"', "list": '["plaintext-names"]'}[type(said[member]).__name__]
        edited = text.replace(f'"{member}": {old}', f'"{member}": {new}', 1)
        assert edited != text
        body = edited[: edited.rindex('"checksum": "') + len('"checksum": "')]
        (store / name).write_text(body + sha256(body.encode()).hex() + '"\n}\n')
    done = opened(store)
    assert done.out == ""
    # What is no header at all is passed over for the whole copy in a root; what is one is refused.
    assert (done.code == 0) is ("the copy in root" in done.err)
    assert done.code in (0, 8, 43, 46)
    # What the sentence advises helps.
    assert ("move vaultfs.json and vaultfs.json.backup out" in done.err) is (done.code == 8)
    for name in (HEADER, BACKUP):
        (store / name).unlink()
    assert opened(store).code == 0
