from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.probe_process import Limits, ProbeLost, ProbeProcess
from tests.test_plugin_loading import BODY, HEAD

DEVICE = HEAD + BODY
QUICK = Limits(load=60.0, read=2.0) if sys.platform == "win32" else Limits(load=10.0, read=0.3)


@asynccontextmanager
async def started(folder: Path, limits: Limits = QUICK) -> AsyncIterator[ProbeProcess]:
    async with asyncio.TaskGroup() as group:
        probe = await ProbeProcess.start(folder, group, limits)
        try:
            yield probe
        finally:
            await probe.end()


async def all_of(probe: ProbeProcess, op: str, **arguments: Any) -> list[dict[str, Any]]:
    return [answer async for answer in probe.ask(op, **arguments)]


async def lost(probe: ProbeProcess, op: str, **arguments: Any) -> ProbeLost:
    try:
        await all_of(probe, op, **arguments)
    except ProbeLost as lost:
        return lost
    raise AssertionError("it was not lost")


async def test_it_answers_and_is_dead_after_its_end(tmp_path: Path) -> None:
    (tmp_path / "d.py").write_text(DEVICE)
    async with started(tmp_path) as probe:
        (loaded,) = await all_of(probe, "load", skip={})
        assert loaded["loaded"]["names"] == ["d"]
        (reading,) = await all_of(probe, "read", names=["d"])
        assert reading["reading"]["used_mb"] == 1
    assert not psutil.pid_exists(probe.pid)


CASES = {
    "hangs": ("import time; time.sleep(1e9)", f"gave no answer within {QUICK.read:g} s"),
    "leaves": ("import os; os._exit(3)", "ended the process (exit code 3)"),
    "crashes": ("import os; os.abort()", "crashed with SIGABRT"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_read_that_costs_the_process_is_named(tmp_path: Path, case: str) -> None:
    code, reason = CASES[case]
    (tmp_path / "d.py").write_text(DEVICE.replace("return 3, 2, 1", code))
    async with started(tmp_path) as probe:
        await all_of(probe, "load", skip={})
        error = await lost(probe, "read", names=["d"])
        assert error.step == ("read", "d")
        if sys.platform != "win32" or case != "crashes":
            assert error.reason == reason
    assert not psutil.pid_exists(probe.pid)


async def test_a_load_that_costs_the_process_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.py").write_text("import os; os._exit(3)")
    async with started(tmp_path) as probe:
        assert (await lost(probe, "load", skip={})).step == ("load", "d.py")


async def test_a_process_that_died_while_idle_is_nobody_s_fault(tmp_path: Path) -> None:
    async with started(tmp_path) as probe:
        await all_of(probe, "load", skip={})
        probe.kill()
        error = await lost(probe, "read", names=[])
        assert error.step is None
        if sys.platform != "win32":
            assert error.reason == f"crashed with {signal.SIGKILL.name}"


async def test_nothing_that_a_plugin_started_is_left(tmp_path: Path) -> None:
    (tmp_path / "d.py").write_text(
        DEVICE.replace(
            "return 3, 2, 1",
            """
        import pathlib, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        pathlib.Path(__file__).with_name("pid").write_text(str(child.pid))
        child.wait()
""",
        )
    )
    async with started(tmp_path) as probe:
        await all_of(probe, "load", skip={})
        assert (await lost(probe, "read", names=["d"])).step == ("read", "d")
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: SIGSTOP")
async def test_a_stopped_child_is_ended_all_the_same(tmp_path: Path) -> None:
    async with started(tmp_path) as probe:
        await all_of(probe, "load", skip={})
        os.kill(probe.pid, signal.SIGSTOP)
        assert (await lost(probe, "read", names=[])).step is None
    assert not psutil.pid_exists(probe.pid)


async def test_its_log_goes_on_and_its_prints_only_to_debug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "d.py").write_text(f"print('hello')\n{DEVICE}")
    (tmp_path / "e.py").write_text("def (")
    async with started(tmp_path) as probe:
        await all_of(probe, "load", skip={})
        probe.close()
        assert (await lost(probe, "read", names=[])).reason == "ended the process (exit code 0)"
        assert probe._relay is not None
        await probe._relay
    told = {(each.name, each.levelname): each.getMessage() for each in caplog.records}
    assert told["core.plugin_system", "WARNING"] == "plugin devices/e.py: line 1: invalid syntax"
    assert ("core.plugin_system", "INFO") in told
    hello = [each for each in caplog.records if "hello" in each.getMessage()]
    assert [each.levelname for each in hello] == ["DEBUG", "WARNING"]


async def test_a_folder_with_an_awkward_name(tmp_path: Path) -> None:
    folder = tmp_path / "é 设备 & '(x)"
    folder.mkdir()
    (folder / "d.py").write_text(DEVICE)
    async with started(folder) as probe:
        (loaded,) = await all_of(probe, "load", skip={})
        assert loaded["loaded"]["names"] == ["d"]
