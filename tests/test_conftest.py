"""Skipped tests are reported with their reasons, and fail the run that may not skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# A whole pytest starts inside, with workers of its own.
pytestmark = pytest.mark.timeout(300)

FINE = "import pytest\ndef test_fine(): pass\n"
SKIPS = "def test_{name}(): pytest.skip({reason!r})\n"


def run(folder: Path, everything: str, *skips: tuple[str, str]) -> tuple[int, list[str]]:
    """A pytest run with our conftest.py, with a test for each of these names and reasons."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    text = FINE + "".join(SKIPS.format(name=name, reason=reason) for name, reason in skips)
    (folder / "test_it.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", f"--rootdir={folder}", str(folder)],
        env=os.environ | {"LLM_MANAGER_TEST_ALL": everything},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(("everything", "status"), [("0", 0), ("1", 1)])
def test_a_skip(tmp_path: Path, everything: str, status: int) -> None:
    mark = "NOT ALLOWED: " if status else ""
    code, lines = run(tmp_path, everything, ("screen", "no screen here"))
    assert code == status, lines
    assert f"{mark}test_it.py::test_screen: no screen here" in lines
    assert "1 passed, 1 skipped" in lines[-1]


def test_equal_skips_of_a_file_are_one_line(tmp_path: Path) -> None:
    _, lines = run(tmp_path, "0", ("a", "no screen"), ("b", "no screen"), ("c", "no sound"))
    assert "test_it.py (2 tests): no screen" in lines
    assert "test_it.py::test_c: no sound" in lines


def test_only_windows_may_skip_what_it_can_never_do(tmp_path: Path) -> None:
    code, lines = run(tmp_path, "1", ("a", "POSIX only: a thing"), ("b", "wine cannot do it"))
    assert code == (0 if sys.platform == "win32" else 1), lines
    assert "1 passed, 2 skipped" in lines[-1]
