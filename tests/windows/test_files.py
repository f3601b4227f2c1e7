"""Files of tests in batches: what counts as good, the second try, the sums."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import IO

import pytest

from tests.windows import files
from tests.windows.run import ELSEWHERE
from tests.windows.wine import HOME

GOOD = """
...s                                            [100%]
============ skipped: it has no meaning here ============
tests/test_a.py::test_x: POSIX only: signals
tests/test_a.py (2 tests): wine cannot show it
3 passed, 3 skipped in 1.25s
"""
BAD = (
    "F\nfailed: tests/test_a.py::test_x: it did not happen\n1 failed, 2 passed, 1 error in 9.00s\n"
)
LOST = "..\nwine client error:3a0: sendmsg: Bad file descriptor\n"


def outcomes(
    monkeypatch: pytest.MonkeyPatch, *runs: tuple[int, str], paths: Sequence[str] = ("a",)
) -> list[files.Outcome]:
    left, ways = list(runs), []

    def run(arguments: Sequence[str], env: object) -> tuple[int, str]:
        ways.append(arguments[-2])
        return left.pop(0)

    monkeypatch.setattr(files, "AT_A_TIME", 1)
    monkeypatch.setattr(files, "IN_A_BATCH", 1)
    monkeypatch.setattr(files, "_output_of", run)
    found = files.run_all(paths, {})
    assert left == []
    assert ways.count(files.FIRST) == len(paths)
    assert ways.count(files.AGAIN) == len(runs) - len(paths)
    return found


def test_a_good_run_is_counted_and_its_skips_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = outcomes(monkeypatch, (0, GOOD), (0, GOOD), (5, "no tests ran in 0.01s\n"), paths="abc")
    assert files.report(found) == 0
    told = capsys.readouterr().out
    assert told.endswith("Windows: 6 passed, 0 failed, 6 skipped\n")
    assert told.count("  skipped: tests/test_a.py (2 tests): wine cannot show it\n") == 2
    assert "once more" not in told


@pytest.mark.parametrize(
    ("first", "sums"),
    [
        ((1, BAD), "5 passed, 0 failed, 3 skipped"),
        ((-9, LOST), "3 passed, 0 failed, 3 skipped"),
        ((0, ""), "3 passed, 0 failed, 3 skipped"),
        ((files.wine.HUNG, GOOD), "3 passed, 0 failed, 3 skipped"),
    ],
)
def test_what_failed_is_tried_once_more_and_that_is_told(
    first: tuple[int, str],
    sums: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert files.report(outcomes(monkeypatch, first, (0, GOOD))) == 0
    told = capsys.readouterr().out
    assert "tried once more" in told
    assert first[1] in told
    assert told.endswith(f"Windows: {sums}\n")


@pytest.mark.parametrize(
    ("second", "sums"),
    [((1, BAD), "4 passed, 2 failed, 0 skipped"), ((-9, LOST), "2 passed, 1 failed, 0 skipped")],
)
def test_a_batch_that_fails_twice_has_failed(
    second: tuple[int, str],
    sums: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert files.report(outcomes(monkeypatch, (1, BAD), second)) == 1
    assert capsys.readouterr().out.endswith(f"Windows: {sums}\n")


def test_output_as_windows_writes_it_is_understood(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace("\n", "\r\n")
    program = [sys.executable, "-I", "-S", "-c", f"import os; os.write(1, {text!r}.encode())"]

    def begin(*_: object) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        process = subprocess.Popen(program, stdout=subprocess.PIPE)
        assert process.stdout
        return process, process.stdout

    monkeypatch.setattr(files.wine, "begin", begin)
    assert files.report(files.run_all(["a"], {})) == 0
    told = capsys.readouterr().out
    assert "  skipped: tests/test_a.py (2 tests): wine cannot show it\n" in told
    assert told.endswith("Windows: 3 passed, 0 failed, 3 skipped\n")


def test_long_files_come_first_and_alone_short_ones_share_a_process() -> None:
    *_, last, first = files.LONGEST
    short = [f"tests/test_{number}.py" for number in range(files.IN_A_BATCH + 1)]
    assert files.batches([first, *short, last]) == [[last], [first], short[:-1], short[-1:]]
    assert [file for file in files.LONGEST if not (HOME / file).exists()] == []


def test_what_is_left_out_exists() -> None:
    assert [path for path in ELSEWHERE if not (HOME / path).exists()] == []


def test_every_file_is_run_or_named_as_left_out() -> None:
    kept = files.test_files({"tests/windows/": "its own"})
    assert "tests/e2e/test_windows.py" in kept
    assert "tests/test_cli.py" in kept
    assert not [file for file in kept if file.startswith("tests/windows/")]
    assert len(kept) > 100
