"""main.py before anything is installed: sentences instead of tracebacks."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = Path(__file__).parent.parent / "main.py"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copy(MAIN, tmp_path)
    (tmp_path / "core").mkdir()
    return tmp_path


def run(home: Path, cli: str) -> subprocess.CompletedProcess[str]:
    (home / "core" / "cli.py").write_text(cli)
    return subprocess.run(
        [sys.executable, "-S", home / "main.py"], capture_output=True, text=True, check=False
    )


def test_it_hands_over(home: Path) -> None:
    assert run(home, "def main(): return 7").returncode == 7


def test_a_missing_package_names_the_command_that_installs_it(home: Path) -> None:
    done = run(home, "import aiohttp.web")
    assert done.returncode == 1
    command = "LLM-Manager.bat" if sys.platform == "win32" else "./llm-manager.sh"
    assert done.stderr.count("\n") == 1
    assert "'aiohttp' is missing" in done.stderr
    assert command in done.stderr


@pytest.mark.parametrize("fault", ["import core.nowhere", "from core import nowhere"])
def test_a_fault_of_our_own_is_not_hidden(home: Path, fault: str) -> None:
    done = run(home, fault)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_an_old_python_can_read_the_file_and_so_reaches_the_sentence() -> None:
    ast.parse(MAIN.read_text(encoding="utf-8"), feature_version=(3, 4))
