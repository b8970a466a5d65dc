"""Runs pjdfstest, and tells which of its assertions fail."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"(not )?ok (\d+)(.*)")
_PLAN = re.compile(r"1\.\.(\d+)")
_PATIENCE = 600.0  # seconds for one file; those that fill a filesystem take long


@dataclass(slots=True)
class Outcome:
    """What came of a suite: assertions run, and what each failed one says, by file and number."""

    files: int = 0
    run: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """The totals in one line."""
        passed = self.run - len(self.failed)
        return f"{self.files} files, {self.run} assertions, {passed} passed, {len(self.failed)} failed"


def run(suite: Path, mounted: Path, pattern: str, jobs: int) -> Outcome:
    """Run the tests whose path below `tests/` matches, each in a folder of its own."""
    files = sorted(path for path in (suite / "tests").rglob("*.t") if path.relative_to(suite / "tests").match(pattern))
    if not files:
        raise FileNotFoundError(f"no test in {suite}/tests matches {pattern}")
    outcome = Outcome(files=len(files))
    with ThreadPoolExecutor(jobs) as pool:
        for path, text in zip(files, pool.map(lambda path: _run_file(suite, path, mounted), files), strict=True):
            _count(outcome, str(path.relative_to(suite / "tests")), text)
    return outcome


def _run_file(suite: Path, path: Path, mounted: Path) -> str:
    folder = mounted / "-".join(path.relative_to(suite / "tests").with_suffix("").parts)
    folder.mkdir()
    try:
        done = subprocess.run(
            ["bash", str(path)], cwd=folder, capture_output=True, timeout=_PATIENCE, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return "1..1\nnot ok 1 - took too long"
    return done.stdout


def _count(outcome: Outcome, name: str, text: str) -> None:
    """Enter a file's TAP output; assertions that were planned and never ran have failed."""
    planned = re.search(_PLAN, text)
    seen = set()
    for negated, number, rest in _LINE.findall(text):
        seen.add(int(number))
        if negated and "TODO" not in rest:
            outcome.failed[f"{name}:{number}"] = rest.strip(" -")
    count = int(planned[1]) if planned else 1
    for number in set(range(1, count + 1)) - seen:
        outcome.failed[f"{name}:{number}"] = "never ran"
    outcome.run += max(count, len(seen))
