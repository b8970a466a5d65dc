"""Runs every parser of stored bytes under a coverage-guided fuzzer, each in a process of its own, and reports."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.format.parsers import PARSERS

_ROOT = Path(__file__).resolve().parents[2]
# A parser that takes so long for a few KiB hangs, even on a busy machine; one that wants half a GiB blows up.
_LIMITS = ("-timeout=30", "-rss_limit_mb=512", "-max_len=4096")
_EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
_COVERED = re.compile(r"cov: (\d+)")


class Outcome(NamedTuple):
    """What one parser's run came to: inputs tried, places of the code reached, and what it said if it failed."""

    executed: int
    covered: int
    failure: str


def is_installed() -> bool:
    """Whether the fuzzer is there."""
    return importlib.util.find_spec("atheris") is not None


def run(name: str, seconds: float, folder: Path) -> Outcome:
    """Fuzz one parser; inputs worth keeping, and those that failed, stay in `folder`."""
    corpus = folder / name.replace(" ", "-")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(PARSERS[name].samples):
        (corpus / f"sample-{number}").write_bytes(sample)
    command = [
        sys.executable, "-m", "_fuzz.target", name, str(corpus), f"-max_total_time={max(1, round(seconds))}",
        f"-artifact_prefix={folder}/{corpus.name}.", "-print_final_stats=1", *_LIMITS,
    ]  # fmt: skip
    path = {"PYTHONPATH": f"{_ROOT}:{_ROOT / 'scripts'}"}
    done = subprocess.run(command, cwd=_ROOT, env=path, capture_output=True, text=True, errors="replace", check=False)
    covered = [int(number) for number in _COVERED.findall(done.stderr)]
    executed = _EXECUTED.search(done.stderr)
    failure = "" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-4000:]
    return Outcome(int(executed[1]) if executed else 0, max(covered, default=0), failure)


def run_all(names: Sequence[str], seconds: float, folder: Path) -> int:
    """Fuzz one after the other, print a line for each, and all of a failure; how many parsers failed."""
    failed = total = 0
    for name in names:
        outcome = run(name, seconds, folder)
        total += outcome.executed
        failed += bool(outcome.failure)
        verdict = "FAILED" if outcome.failure else "ok"
        print(f"{name:<22} {outcome.executed:>10} inputs {outcome.covered:>5} places reached  {verdict}", flush=True)
        if outcome.failure:
            print(outcome.failure, flush=True)
    print(f"{len(names)} parsers, {total} inputs, {failed} parsers failed; corpora in {folder}.")
    return failed
