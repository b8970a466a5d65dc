"""`vaultfs check STORE`: verify a vault, mounted or not: its structure quickly, its data on request."""

import argparse
import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vaultfs.cli import opening, passwords
from vaultfs.cli.output import Output, counted, size_text
from vaultfs.cli.progress import ProgressLine, time_text
from vaultfs.cli.vaultpaths import add_journal_dir, committed
from vaultfs.errors import Damaged, OpenError, UsageError, VaultfsError

if TYPE_CHECKING:
    from vaultfs.check.checker import Checker, Progress
    from vaultfs.check.coverage import Coverage, Interrupted
    from vaultfs.check.cursor import Cursor
    from vaultfs.check.findings import Finding
    from vaultfs.check.structure import Counts
    from vaultfs.keys.header import Unlocked
    from vaultfs.keys.headerfile import LoadedHeader
    from vaultfs.vault.memory import Seen

SUMMARY = "Verify a vault, and mend what can be mended."

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMG]?)(?:i?B)?(?:/s)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_KEEP_SECONDS = 5.0
_NEXT = "`vaultfs check --repair --dry-run`"
# Each pass may bring to light what another directory hid.
_PASSES = 4


def parse_rate(text: str) -> int:
    """`50M` and the like as bytes a second. Raises UsageError."""
    match = _RATE.fullmatch(text)
    rate = int(float(match[1]) * _UNITS[match[2].upper()]) if match is not None else 0
    if not rate:
        raise UsageError(f"{text!r} is no rate: write a number and K, M or G, such as 50M.")
    return rate


def parse_share(text: str) -> float:
    """`5%` as 0.05. Raises UsageError."""
    match = _SHARE.fullmatch(text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise UsageError(f"{text!r} is no share: write a percentage such as 5%.")
    return float(match[1]) / 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `check`."""
    parser.add_argument("store", metavar="STORE", help="the folder with the encrypted files")
    passwords.add_arguments(parser)
    add_journal_dir(parser)
    parser.add_argument("--data", action="store_true", help="read and verify every chunk, not only the structure")
    parser.add_argument(
        "--sample",
        metavar="SHARE",
        type=parse_share,
        help="verify the data of this share of the vault, such as 5%%: each time the parts that have waited longest",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the check of data that was interrupted")
    parser.add_argument("--rate", metavar="RATE", type=parse_rate, help="read no more than this a second, such as 50M")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repair", action="store_true", help="mend what can be mended; nothing is destroyed")
    parser.add_argument("--dry-run", action="store_true", help="with --repair: only show what would be done")
    parser.add_argument("--yes", action="store_true", help="with --repair: do not ask")
    parser.add_argument("--zeros", action="store_true", help="with --repair: let lost bytes read as zeros")
    parser.add_argument(
        "--missing-too",
        action="store_true",
        help="with --repair: give up directories whose objects are missing, although they may still be synced",
    )


def run(args: argparse.Namespace, out: Output) -> None:
    """Check, print what was found, mend it if asked, and raise Damaged if anything is wrong then."""
    if args.json and args.repair:
        raise UsageError("Give either --json or --repair, not both.")
    if not args.repair and (args.dry_run or args.zeros or args.missing_too):
        raise UsageError("The options --dry-run, --zeros and --missing-too go with --repair.")
    path = opening.store_path(args.store)
    loaded = opening.load_header(path, out)
    unlocked = opening.unlock(loaded, passwords.source(args), out)
    wrong = _check(args, path, loaded, unlocked, out)
    if args.repair:
        wrong = _repair(args, path, loaded, unlocked, wrong, out)
    if wrong:
        raise Damaged(_verdict(wrong))


def _check(
    args: argparse.Namespace, path: Path, loaded: "LoadedHeader", unlocked: "Unlocked", out: Output
) -> "list[Finding]":
    """One check; returns what is wrong."""
    from vaultfs.check.checker import Checker
    from vaultfs.check.coverage import Coverage
    from vaultfs.check.findings import Severity
    from vaultfs.vault.memory import GenerationMemory

    coverage = Coverage.default(unlocked.header.vault_id)
    found: list[Finding] = []
    run = _planned(args, coverage)
    begun = time.monotonic()
    with committed(path, unlocked, args.journal_dir) as tree:
        checker = Checker(tree, lambda finding: _tell(finding, found, args.json, out))
        _check_header(loaded, checker)
        counts = _structure(checker, GenerationMemory.default(unlocked.header.vault_id).load(), out)
        verified = _data(checker, counts, run, coverage, args.rate, out) if run is not None else 0
        generation = tree.sealed.root.generation if tree.sealed is not None else 0
    if found:
        _refuse_if_rekeyed(path, unlocked)
    _conclude(args, out, path, found, counts, run, verified, time.monotonic() - begun, coverage, generation)
    return [finding for finding in found if finding.severity != Severity.NOTE]


def _refuse_if_rekeyed(path: Path, unlocked: "Unlocked") -> None:
    """VaultfsError if the vault has another master key by now: what was found is no fault then."""
    from vaultfs.keys.headerfile import load, load_authentic
    from vaultfs.store.directory import DirectoryStore

    with DirectoryStore(path, write=False) as store, contextlib.suppress(OpenError):
        if load_authentic(store, unlocked.keys.header_mac_key) is None and not load(store).notes:
            raise VaultfsError("The vault got a new master key during the check, so what was found says nothing.")


def _repair(
    args: argparse.Namespace,
    path: Path,
    loaded: "LoadedHeader",
    unlocked: "Unlocked",
    wrong: "list[Finding]",
    out: Output,
) -> "list[Finding]":
    """Mend and check again, while there is something that can be mended; returns what is wrong then."""
    from vaultfs.cli.repairing import Place, carry_out, planned_repair, settle

    place = Place(path, unlocked, args.journal_dir)
    if wrong and not args.dry_run and settle(place, wrong, out, ask=not args.yes, missing_too=args.missing_too):
        out.say("What waited in the vault is committed, and it is checked again.")
        wrong = _check(args, path, loaded, unlocked, out)
    for _ in range(_PASSES):
        with planned_repair(place, loaded, wrong, out, zeros=args.zeros, missing_too=args.missing_too) as plan:
            if plan.is_empty or args.dry_run:
                break
            carry_out(place, plan, out, ask=not args.yes)
        out.say("The vault is checked again.")
        loaded = opening.load_header(path, out)
        wrong = _check(args, path, loaded, unlocked, out)
    return wrong


def _planned(args: argparse.Namespace, coverage: "Coverage") -> "Interrupted | None":
    """The check of data that was asked for; None if none was. Raises UsageError."""
    from vaultfs.check.coverage import FOLDERS, new_run

    if args.resume:
        if args.sample is not None:
            raise UsageError("Give either --resume or --sample, not both.")
        if coverage.interrupted is not None:
            return coverage.interrupted
    if args.sample is not None:
        return new_run(coverage.sample(args.sample))
    return new_run(frozenset(range(FOLDERS))) if args.data or args.resume else None


def _check_header(loaded: "LoadedHeader", checker: "Checker") -> None:
    from vaultfs.check.findings import Kind, warning

    for text in loaded.notes:
        checker.report(warning(Kind.CORRUPT, text.removesuffix("."), None, "vaultfs.json"))


def _structure(checker: "Checker", seen: "Seen | None", out: Output) -> "Counts":
    with ProgressLine(out, "Structure", "files") as line:
        checker.progress = _shown(line)
        return checker.structure(seen)


def _shown(line: ProgressLine) -> Callable[["Progress"], None]:
    return lambda progress: line.update(progress.done, progress.total)


def _data(
    checker: "Checker", counts: "Counts", run: "Interrupted", coverage: "Coverage", rate: int | None, out: Output
) -> int:
    """Verify the chunks; how far that came is kept every few seconds, and when it is interrupted."""
    from vaultfs.check.coverage import FOLDERS

    kept = time.monotonic()
    reached = run.cursor

    def advance(cursor: "Cursor | None") -> None:
        nonlocal kept, reached
        reached = cursor or reached
        if time.monotonic() - kept > _KEEP_SECONDS:
            kept = time.monotonic()
            coverage.keep(run._replace(cursor=reached))

    folders = run.folders if len(run.folders) < FOLDERS else None
    total = counts.stored * len(run.folders) // FOLDERS
    with ProgressLine(out, "Data") as line:
        checker.progress = _shown(line)
        try:
            verified = checker.data(folders, total, rate, run.cursor, advance)
        except BaseException:
            coverage.keep(run._replace(cursor=reached))
            out.note("How far the check has come is kept: `vaultfs check --resume` goes on from here.")
            raise
    coverage.finish(run)
    return verified


def _tell(finding: "Finding", found: "list[Finding]", json: bool, out: Output) -> None:
    found.append(finding)
    if not json:
        out.result(str(finding))


def _conclude(
    args: argparse.Namespace,
    out: Output,
    path: Path,
    found: "list[Finding]",
    counts: "Counts",
    run: "Interrupted | None",
    verified: int,
    seconds: float,
    coverage: "Coverage",
    generation: int,
) -> None:
    if args.json:
        out.json(
            {
                "store": str(path),
                "generation": generation,
                "findings": [finding.to_json() for finding in found],
                "counts": counts._asdict(),
                "verified": verified,
                "seconds": round(seconds, 3),
                "coverage": {"share": round(coverage.covered, 4), "oldest": coverage.oldest or None},
            }
        )
        return
    out.say(
        f"{counted(counts.files, 'file')}, {counted(counts.directories, 'directory', 'directories')}, "
        f"{counted(counts.others, 'other')}, {counted(counts.objects, 'object')}, "
        f"{size_text(counts.size)} in files, {size_text(counts.stored)} stored; generation {generation}."
    )
    if counts.journaled:
        out.say(
            f"{counted(counts.journaled, 'change')} since the last checkpoint are in the journal; they were checked as "
            "well, and these numbers are without them."
        )
    if run is not None:
        out.say(f"{_verified_text(run, verified, seconds)}; {covered_text(coverage)}.")
    if not found:
        out.say("Nothing is wrong.")


def _verified_text(run: "Interrupted", verified: int, seconds: float) -> str:
    """What one check of data covered, in words."""
    from vaultfs.check.coverage import FOLDERS

    parts = "" if len(run.folders) == FOLDERS else f" in {len(run.folders)} of the vault's {FOLDERS} parts"
    if not verified:
        return f"There is no data{parts or ' in the vault'} to verify"
    speed = size_text(int(verified / seconds)) if seconds else "0 bytes"
    return f"{size_text(verified)}{parts} verified in {time_text(seconds)} ({speed}/s)"


def covered_text(coverage: "Coverage") -> str:
    """How much of a vault's data was ever verified, and since when, in words."""
    if not coverage.covered:
        return "none of the data was ever verified here"
    share = "all" if coverage.covered == 1 else f"{coverage.covered:.0%}"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(min(when for when in coverage.verified if when)))
    return f"{share} of the data was verified on or after {since}"


def _verdict(wrong: "list[Finding]") -> str:
    """One sentence about what was found: above all, whether waiting for a sync client may mend it."""
    from vaultfs.check.findings import UNSYNCED, Severity

    errors = [finding for finding in wrong if finding.severity == Severity.ERROR]
    warnings = len(wrong) - len(errors)
    counts = (len(errors), "error"), (warnings, "warning")
    count = " and ".join(counted(number, what) for number, what in counts if number)
    if errors and all(finding.kind in UNSYNCED for finding in errors):
        return f"the vault is not whole ({count}); it looks partly synced: let the store finish syncing, then try again"
    if errors:
        return f"the vault is damaged ({count}, named above); {_NEXT} shows what can be mended"
    return f"everything can be read, but look at the warnings above ({len(wrong)}); {_NEXT} shows what can be mended"
