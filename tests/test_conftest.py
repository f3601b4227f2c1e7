"""A skipped test is reported with its reason, and fails the run that may not skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# A whole pytest starts inside, with workers of its own.
pytestmark = pytest.mark.timeout(300)

SKIPS = "import pytest\ndef test_fine(): pass\ndef test_screen(): pytest.skip('no screen here')\n"


@pytest.mark.parametrize(("everything", "status"), [("0", 0), ("1", 1)])
def test_skips(tmp_path: Path, everything: str, status: int) -> None:
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_it.py").write_text(SKIPS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "1", f"--rootdir={tmp_path}", tmp_path],
        env=os.environ | {"LLM_MANAGER_TEST_ALL": everything},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert "test_it.py::test_screen: no screen here" in done.stdout
    assert "1 passed, 1 skipped" in done.stdout.splitlines()[-1]
