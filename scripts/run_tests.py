"""All checks, the quick ones first: `run_tests.py [--all] [pytest arguments]`.

What needs a browser or a screen is skipped with its reason where they are missing; with --all (see
tests/setup-debian.sh) a skipped test is a failed run, and all that makes sense there runs on a
Windows Python as well.
"""
# ruff: noqa: T201  (a program for a terminal)

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
QUICK = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",))
OTHER_SYSTEMS = (("mypy", "--platform", "win32"), ("mypy", "--platform", "darwin"))
# A file stays in one process: what its tests share (a browser, a model server) starts once.
PYTEST = ("pytest", "-n", "2", "--dist", "loadfile")
SLOWEST = ("--durations=15",)
WINDOWS = ("tests.windows.run",)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["test"]:  # LLM-Manager.bat cannot take it off
        del arguments[0]
    steps: list[tuple[str, ...]] = [*QUICK, (*PYTEST, *(arguments or SLOWEST))]
    if arguments[:1] == ["--all"]:
        del arguments[0]
        os.environ["LLM_MANAGER_TEST_ALL"] = "1"
        steps = [*QUICK, *OTHER_SYSTEMS, (*PYTEST, *(arguments or SLOWEST))]
        if sys.platform == "linux":
            steps.append(WINDOWS)
    for step in steps:
        if status := run(*step):
            return status
    return 0


def run(*module_and_arguments: str) -> int:
    print("$", *module_and_arguments, flush=True)
    return subprocess.run(
        [sys.executable, "-m", *module_and_arguments], cwd=HOME, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
