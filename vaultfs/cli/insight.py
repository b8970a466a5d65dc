"""What only the password shows of a vault: how much is in it, what that takes, when it was last verified."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vaultfs.cli.output import Output, counted, size_text
from vaultfs.cli.progress import ProgressLine
from vaultfs.cli.vaultpaths import committed

if TYPE_CHECKING:
    from vaultfs.check.structure import Counts
    from vaultfs.keys.header import Unlocked


class Insight(NamedTuple):
    """`taken` is the bytes of all objects, `damage` how many errors the quick check found, `time` ns of the root."""

    generation: int
    clean: bool
    time: int
    counts: "Counts"
    taken: int
    damage: int
    verified: str


def look(path: Path, unlocked: "Unlocked", out: Output) -> Insight:
    """Walk the vault as of its last checkpoint; mounted or not."""
    from vaultfs.check.checker import Checker
    from vaultfs.check.coverage import Coverage
    from vaultfs.check.findings import Finding, Severity
    from vaultfs.cli.check import covered_text

    found: list[Finding] = []
    with committed(path, unlocked) as tree, ProgressLine(out, "Looking", "files") as line:
        checker = Checker(tree, found.append)
        checker.progress = lambda progress: line.update(progress.done, progress.total)
        counts = checker.structure(None)
        assert tree.sealed is not None
        root = tree.sealed.root
    damage = sum(1 for finding in found if finding.severity == Severity.ERROR)
    verified = covered_text(Coverage.default(unlocked.header.vault_id))
    return Insight(root.generation, root.clean, root.time, counts, taken(path), damage, verified)


def taken(path: Path) -> int:
    """The bytes that all objects of the store in `path` have."""
    return sum(found.lstat().st_size for found in (path / "objects").glob("*/*"))


def facts(insight: Insight) -> list[tuple[str, str]]:
    """For people."""
    counts = insight.counts
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(insight.time // 10**9))
    overhead = f", {insight.taken / counts.stored - 1:+.1%}" if counts.stored else ""
    state = "" if insight.clean else "; in use, or not ended cleanly"
    directories = counted(counts.directories, "directory", "directories")
    return [
        ("Files", f"{counts.files}, and {directories}, {counted(counts.others, 'other')}"),
        ("Bytes in", f"{size_text(counts.size)}, {size_text(counts.stored)} without holes"),
        ("Bytes stored", f"{size_text(insight.taken)} in {counted(counts.objects, 'object')}{overhead}"),
        ("Last checkpoint", f"{when}, generation {insight.generation}{state}"),
        ("Verified", insight.verified),
        ("Damage known", f"{counted(insight.damage, 'error')}, see `vaultfs check`" if insight.damage else "none"),
    ]


def members(insight: Insight) -> dict[str, object]:
    """For programs."""
    return {
        "generation": insight.generation,
        "clean": insight.clean,
        "checkpoint_ns": insight.time,
        "counts": insight.counts._asdict(),
        "taken": insight.taken,
        "damage": insight.damage,
        "verified": insight.verified,
    }
