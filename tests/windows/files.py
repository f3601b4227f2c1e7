"""Test files in batches on the Windows Python, two at a time, each batch in a process of its own.

wine loses a process or a file handle now and then, under load more often ("wine client error",
error 1359). So what failed is tried once more, all of a batch whose process was lost, else only the
tests that failed; and that is told.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from tests.windows import wine

PYTEST = ("-m", "pytest", "-p", "no:xdist", "-m", "not soak")
FIRST, AGAIN = "--cache-clear", "--last-failed"
AT_A_TIME = 2
LIMIT = 420.0
"""Seconds for one batch."""
LAST_WORDS = 5.0
"""Seconds in which the output of a process that has ended may arrive."""
FAILED, NOTHING_COLLECTED = 1, 5
"""Exit codes of pytest."""
LONGEST = (
    "tests/launchers/test_manager_ends.py",
    "tests/test_devices.py",
    "tests/e2e/test_live_changes.py",
    "tests/e2e/test_requests.py",
    "tests/e2e/test_start_and_end.py",
    "tests/e2e/test_windows.py",
    "tests/test_launch_batch.py",
    "tests/test_watcher.py",
    "tests/e2e/test_faults.py",
)
"""Half a minute to some minutes each: they begin first, each a batch of its own."""
IN_A_BATCH = 8
"""Files of those that take some seconds each, most of them for the imports."""

_CLOSING = re.compile(r"^=*\s*(?:\d+ \w+(?:, )?)+ in [\d.]+s.*$", re.MULTILINE)
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?)")
_SKIPS = re.compile(r"^=+ skipped: .*?=+\n((?:[^=\n].*: .*\n)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of one batch brought."""

    batch: str
    code: int
    """The exit code."""
    counts: Counter[str]
    seconds: float
    output: str

    @property
    def good(self) -> bool:
        finished = self.code == 0 and self.counts["passed"] + self.counts["skipped"] > 0
        return finished or self.code == NOTHING_COLLECTED

    @property
    def skips(self) -> list[str]:
        """Name and reason of what was skipped, a line each."""
        return [line for part in _SKIPS.findall(self.output) for line in part.splitlines()]

    @property
    def line(self) -> str:
        counts = ", ".join(f"{number} {word}" for word, number in self.counts.items())
        return f"{self.batch}: {counts or 'no result'} in {self.seconds:.0f} s"


def run_all(files: Sequence[str], env: Mapping[str, str]) -> list[Outcome]:
    """The last outcome of every batch of these files; each is printed as soon as it is there."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(lambda batch: _run_twice(batch, env), batches(files)))


def batches(files: Sequence[str]) -> list[list[str]]:
    """The long ones alone, in their order, then the others."""
    alone = [[file] for file in LONGEST if file in files]
    short = [file for file in files if file not in LONGEST]
    return alone + [short[n : n + IN_A_BATCH] for n in range(0, len(short), IN_A_BATCH)]


def _run_twice(batch: Sequence[str], env: Mapping[str, str]) -> Outcome:
    outcome = _run(batch, FIRST, env)
    if not outcome.good:
        print(f"{outcome.output}\n{outcome.line}: tried once more", flush=True)
        again = _run(batch, AGAIN, env)
        if not again.good:
            print(again.output, flush=True)
        outcome = _together(outcome, again)
    print(outcome.line, flush=True)
    return outcome


def _run(batch: Sequence[str], which: str, env: Mapping[str, str]) -> Outcome:
    began = time.monotonic()
    cache = f"cache_dir={wine.CACHE.relative_to(wine.HOME).as_posix()}/pytest/{batch[0]}"
    code, output = _output_of([*PYTEST, "-o", cache, which, *batch], env)
    closing = _CLOSING.findall(output)
    counts = Counter({word: int(n) for n, word in _COUNT.findall(closing[-1] if closing else "")})
    counts = Counter({word: n for word, n in counts.items() if n})
    name = batch[0] if len(batch) == 1 else f"{batch[0]} to {batch[-1]}"
    return Outcome(name, code, counts, time.monotonic() - began, output)


def _together(first: Outcome, again: Outcome) -> Outcome:
    """The outcome of both; the second run was one of all tests unless some had failed."""
    if first.code != FAILED:
        return again
    kept = Counter({word: first.counts[word] for word in ("passed", "skipped")})
    return replace(
        again,
        counts=kept + again.counts,
        seconds=first.seconds + again.seconds,
        output=first.output + again.output,
    )


def _output_of(arguments: Sequence[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and output of the Windows Python; one that takes too long is ended."""
    pieces: list[bytes] = []
    process, output = wine.begin([str(wine.PYTHON / "python.exe"), *arguments], env)

    def read() -> None:
        with output:
            pieces.extend(output)

    # Not until the end of the pipe: what the program leaves behind may hold it.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        code = process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait() and wine.HUNG
        pieces.append(f"\nnot over after {LIMIT:.0f} s: ended\n".encode())
    reader.join(LAST_WORDS)
    text = b"".join(tuple(pieces)).decode("utf-8", "replace")
    return code, text.replace("\r\n", "\n")


def report(outcomes: Sequence[Outcome]) -> int:
    """Print what was skipped and the sums; 1 if a batch failed."""
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total += outcome.counts
        for skip in outcome.skips:
            print(f"  skipped: {skip}")
    bad = [outcome for outcome in outcomes if not outcome.good]
    for outcome in bad:
        print(f"failed: {outcome.line}")
    lost = sum(1 for outcome in bad if not outcome.counts["failed"])
    failed = total["failed"] + total["error"] + total["errors"] + lost
    print(f"Windows: {total['passed']} passed, {failed} failed, {total['skipped']} skipped")
    return 1 if bad else 0


def test_files(but: Mapping[str, str]) -> list[str]:
    """Every test file but those below `but`."""
    found = (wine.HOME / "tests").rglob("test_*.py")
    names = sorted(path.relative_to(wine.HOME).as_posix() for path in found)
    return [name for name in names if not name.startswith(tuple(but))]
