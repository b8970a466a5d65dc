"""Random damage to random stored files, and what must hold whatever it was: right bytes or an error of ours."""

import random
import shutil
from pathlib import Path

from tests.support.samples import CHUNK, KEYS, OPTIONS, Content, Model, verify
from tests.tamper.world import World
from vaultfs.check.checker import Checker
from vaultfs.check.committed import CommittedTree
from vaultfs.check.salvage import Salvage
from vaultfs.check.scan import Scan
from vaultfs.errors import VaultfsError
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.vault import Vault


def mutate(store_path: Path, numbers: random.Random) -> str:
    """Damage one stored file; what was done, in words."""
    files = sorted(path for path in store_path.rglob("*") if path.is_file() and path.stat().st_size)
    path = numbers.choice(files)
    data = bytearray(path.read_bytes())
    start = numbers.randrange(len(data))
    if numbers.random() < 0.5:
        # Most that is not content stands near a file's beginning.
        start = min(int(numbers.expovariate(1 / 300)), start)
    size = min(numbers.choice((1, 1, 2, 16, 300, CHUNK)), len(data) - start)
    what = numbers.choice(("flip", "random", "zeros", "cut", "longer", "copy", "insert"))
    if what == "flip":
        data[start] ^= 1 << numbers.randrange(8)
    elif what in ("random", "zeros"):
        data[start : start + size] = numbers.randbytes(size) if what == "random" else bytes(size)
    elif what == "cut":
        del data[start:]
    elif what == "longer":
        data += numbers.randbytes(size)
    elif what == "copy":
        other = numbers.choice(files).read_bytes()
        data[start : start + size] = other[start : start + size].ljust(size, b"\0")
    else:
        data[start:start] = numbers.randbytes(size)
    path.write_bytes(data)
    return f"{path.relative_to(store_path)}: {what} of {size} at {start}"


def survive(store_path: Path, models: tuple[Model, ...]) -> None:
    """Open, read, check and salvage: nothing but errors of ours, and no content that never was. AssertionError."""
    _check(store_path)
    try:
        with DirectoryStore(store_path, write=True) as store:
            vault = Vault.open(store, KEYS, OPTIONS._replace(accept_damage=True))
            try:
                for path in {path for model in models for path in model}:
                    _read(Inline(vault), path, [model[path] for model in models if path in model])
            finally:
                vault.close()
    except VaultfsError:
        pass
    _salvage(store_path)


def _read(inline: Inline, path: bytes, states: list[Content]) -> None:
    wrong = 0
    for content in states:
        try:
            verify(inline, path, content)
        except VaultfsError:
            return
        except AssertionError:
            wrong += 1
    assert wrong < len(states), path


def _check(store_path: Path) -> None:
    with DirectoryStore(store_path, write=False) as store:
        tree = CommittedTree(store, KEYS, CHUNK)
        checker = Checker(tree, lambda finding: None)
        try:
            counts = checker.structure(None)
            checker.data(None, counts.stored, None, None, lambda cursor: None)
        except VaultfsError:
            pass
        finally:
            tree.close()


def _salvage(store_path: Path) -> None:
    with DirectoryStore(store_path, write=False) as store:
        tree = CommittedTree(store, KEYS, CHUNK)
        scan = Scan(tree.objects)
        scan.run(lambda done, total: None)
        salvage = Salvage(tree.objects, scan)
        for found in salvage.walk():
            for _ in salvage.pieces(found.inode, lambda start, end, cause: None):
                pass
        tree.close()


def one_round(world: World, folder: Path, seed: int) -> str:
    """One to three mutations of a copy of the unclean vault, and everything that must hold after them."""
    numbers = random.Random(seed)
    store_path = folder / "store"
    shutil.copytree(world.unclean, store_path)
    what = "; ".join(mutate(store_path, numbers) for _ in range(numbers.randint(1, 3)))
    try:
        survive(store_path, (world.unclean_model, world.new_model))
    except Exception as error:
        raise AssertionError(f"seed {seed}: {what}: {type(error).__name__}: {error}") from error
    finally:
        shutil.rmtree(store_path)
    return what
