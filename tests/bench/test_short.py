"""The proxy path has not become half as expensive again, measured beside nginx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.tools import Missing, program

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="POSIX only: schedstat")
def test_the_cost_of_requests_and_chunks() -> None:
    """A second look where the first one is bad: a busy machine can fool one of them."""
    try:
        program("nginx", "nginx-light")
        program("cc", "gcc libc6-dev")
        program("taskset", "util-linux")
    except Missing as missing:
        pytest.skip(str(missing))
    for _ in range(3):
        command = [sys.executable, "-m", "bench", "--short"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if run.returncode == 0:
            return
    pytest.fail(run.stdout + run.stderr)
