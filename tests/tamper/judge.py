"""Tries one attack and judges what it did: wrong bytes, vanished files, a bricked vault, damage without a name."""

import shutil
import stat
from pathlib import Path
from typing import NamedTuple

from tests.support.samples import CHUNK, KEYS, OPTIONS, Content, Model, verify
from tests.tamper.attacks import ALL, Attack
from tests.tamper.world import World, remembering
from vaultfs.check.checker import Checker
from vaultfs.check.committed import CommittedTree
from vaultfs.check.findings import Finding, Kind, Severity
from vaultfs.errors import Damaged, OpenError, PartlySynced
from vaultfs.store.directory import DirectoryStore
from vaultfs.vault.inline import Inline
from vaultfs.vault.memory import Seen
from vaultfs.vault.vault import OpenOptions, Vault


class Verdict(NamedTuple):
    """`wrong` are paths with wrong or missing content; `lost` those that gave an error; `stray` those of the latter
    the attack had no business with; `refused` why the vault did not open, `bricked` why nothing makes it open.
    """

    wrong: list[bytes]
    lost: list[bytes]
    stray: list[bytes]
    refused: str
    bricked: str
    findings: list[Finding]
    unnamed: list[bytes]


def judge(attack: Attack, world: World, folder: Path) -> Verdict:
    """Run an attack on a fresh copy below `folder`, and look at everything."""
    base: Path = getattr(world, attack.base)
    model: Model = getattr(world, f"{attack.base}_model")
    seen = world.unclean_seen if attack.base == "unclean" else world.seen
    store_path = shutil.copytree(base, folder / "store")
    attack.run(store_path, world)
    findings = _check(store_path, seen)
    memory = remembering(folder / "state", seen)
    options = OPTIONS._replace(memory=memory)
    refused, bricked = "", ""
    try:
        wrong, lost = _read_all(store_path, model, options)
        if attack.cuts_journal:
            wrong = _torn(store_path, (model, world.new_model))
    except OpenError as error:
        refused, wrong, lost = str(error) or type(error).__name__, [], []
        bricked = _insist(store_path, model, world, options, wrong)
    stray = [path for path in lost if not _may_hit(attack, path)]
    named = [finding.path for finding in findings if finding.path is not None]
    unnamed = [] if ALL in attack.hits else [path for path in lost if not any(_covers(name, path) for name in named)]
    return Verdict(wrong, lost, stray, refused, bricked, findings, unnamed)


def _insist(store_path: Path, model: Model, world: World, options: OpenOptions, wrong: list[bytes]) -> str:
    """Open with explicit consent, or read-only; why even that fails. What can be read must be a state there was."""
    reasons = []
    for consent in (
        options._replace(accept_rollback=True, accept_damage=True),
        options._replace(accept_rollback=True, accept_damage=True, read_only=True),
    ):
        try:
            with DirectoryStore(store_path, write=not consent.read_only) as store:
                inline = Inline(Vault.open(store, KEYS, consent))
                try:
                    wrong += _neither(inline, (model, world.new_model, world.old_model))
                finally:
                    inline.vault.close()
            return ""
        except OpenError as error:
            reasons.append(str(error))
    return "; ".join(reasons)


def _torn(store_path: Path, models: tuple[Model, ...]) -> list[bytes]:
    """Paths that are in none of these states."""
    with DirectoryStore(store_path, write=True) as store:
        inline = Inline(Vault.open(store, KEYS, OPTIONS))
        wrong = _neither(inline, models)
        inline.vault.close()
    return wrong


def _neither(inline: Inline, models: tuple[Model, ...]) -> list[bytes]:
    """Paths that are as in none of the states the vault was ever in."""
    paths = {path for model in models for path in model}
    found = []
    for path in paths:
        states = [model.get(path) for model in models]
        if not any(_is_as(inline, path, state) for state in states):
            found.append(path)
    return found


def _is_as(inline: Inline, path: bytes, content: Content | None) -> bool:
    try:
        if content is None:
            inline.walk(path)
            return False
        verify(inline, path, content)
    except Damaged:
        return True
    except Exception:
        return content is None
    except AssertionError:
        return False
    return True


def _read_all(store_path: Path, model: Model, options: OpenOptions) -> tuple[list[bytes], list[bytes]]:
    """(paths with wrong content, paths that gave an error); then the vault must still take a new file."""
    wrong: list[bytes] = []
    lost: list[bytes] = []
    with DirectoryStore(store_path, write=True) as store:
        inline = Inline(Vault.open(store, KEYS, options))
        for path, content in model.items():
            try:
                verify(inline, path, content)
            except Damaged:
                lost.append(path)
            except Exception:
                wrong.append(path)
            except AssertionError:
                wrong.append(path)
        try:
            made = inline.create_inode(1, b"written after the attack", stat.S_IFREG | 0o600)
            inline.write(made.id, 0, b"still alive")
            inline.fsync(made.id)
            inline.vault.checkpoint()
            assert inline.read(made.id, 0, 100) == b"still alive"
        except Damaged:
            lost.append(b"")
        inline.vault.close()
    return wrong, lost


def _check(store_path: Path, seen: Seen) -> list[Finding]:
    found: list[Finding] = []
    with DirectoryStore(store_path, write=False) as store:
        tree = CommittedTree(store, KEYS, CHUNK)
        checker = Checker(tree, found.append)
        try:
            counts = checker.structure(seen)
            checker.data(None, counts.stored, None, None, lambda cursor: None)
        except OpenError as error:
            found.append(Finding(Severity.ERROR, kind=_kind(error), cause=str(error)))
        finally:
            tree.close()
    return found


def _kind(error: OpenError) -> Kind:
    return Kind.PARTLY_SYNCED if isinstance(error, PartlySynced) else Kind.CORRUPT


def _may_hit(attack: Attack, path: bytes) -> bool:
    return any(hit in (ALL, path) or path.startswith(hit + b"/") for hit in attack.hits)


def _covers(name: bytes, path: bytes) -> bool:
    """Whether a finding's path names a lost one: itself, a directory above, or another name of the same file."""
    return name in (b"", path) or path.startswith(name + b"/") or {name, path} == {b"hard 1", b"docs/hard 2"}
