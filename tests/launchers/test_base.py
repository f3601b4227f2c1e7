"""The contract of Launcher and Process: the same cases for the fake and for the real thing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Protocol

import pytest

from core.domain import LaunchSpec
from core.launchers.base import Launcher, Process
from tests.fakes.launcher import FakeLauncher, FakeProcess
from tests.launchers.conftest import Trees


class Kit(Protocol):
    """What a kind of launcher needs in order to take part."""

    def launcher(self) -> Launcher: ...

    def spec(self, case: str) -> LaunchSpec: ...


class FakeKit:
    """The test plays the tree."""

    def launcher(self) -> Launcher:
        return FakeLauncher(self.behave)

    def spec(self, case: str) -> LaunchSpec:
        return LaunchSpec((case,), Path(), {})

    def behave(self, spec: LaunchSpec) -> FakeProcess:
        case = spec.argv[0]
        if case == "missing":
            raise OSError("missing does not exist")
        process = FakeProcess(ignores_terminate=case == "stubborn")
        process.print("hello\nworld")
        if case == "short":
            process.exit(3)
        if case == "parent":
            process.leave_children(5)
        return process


CASES = """
import os, subprocess, sys, time
case = sys.argv[1]
if case == "child":
    time.sleep(1000)
os.write(1, b"hello\\nworld")
if case == "short":
    sys.exit(3)
if case == "parent":
    subprocess.Popen([sys.executable, "-I", "-S", __file__, "child"])
    sys.exit(5)
time.sleep(1000)
"""


class LocalKit:
    """Real scripts."""

    def __init__(self, trees: Trees) -> None:
        self.trees = trees

    def launcher(self) -> Launcher:
        return self.trees.launcher

    def spec(self, case: str) -> LaunchSpec:
        return self.batch(case) if sys.platform == "win32" else self.shell(case)

    def batch(self, case: str) -> LaunchSpec:
        folder = self.trees.folder
        path = folder / f"{case}.bat"
        if case != "missing":
            (folder / "case.py").write_text(CASES, encoding="utf-8")
            path.write_bytes(f'@echo off\r\n"{sys.executable}" -I -S case.py {case}\r\n'.encode())
        return LaunchSpec((str(path),), folder, {})

    def shell(self, case: str) -> LaunchSpec:
        folder = self.trees.folder
        if case == "missing":
            path = folder / "missing.sh"
        else:
            path = folder / "case.sh"
            body = {
                "short": "printf 'hello\\nworld'; exit 3",
                "long": "printf 'hello\\nworld'; exec sleep 1000",
                "parent": "printf 'hello\\nworld'; sleep 1000 & exit 5",
                "stubborn": "trap '' TERM; printf 'hello\\nworld'; while :; do sleep 1000; done",
            }[case]
            path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
            path.chmod(0o755)
        return LaunchSpec((str(path),), folder, {})


@pytest.fixture(params=["fake", "local"])
def kit(request: pytest.FixtureRequest, trees: Trees) -> Kit:
    return FakeKit() if request.param == "fake" else LocalKit(trees)


def start(kit: Kit, case: str) -> Process:
    return kit.launcher().start(kit.spec(case), instance_id="test#1", host="127.0.0.1", port=4711)


async def greeted(process: Process) -> None:
    """Wait until the script is past its first steps."""
    assert await process.output.readexactly(11) == b"hello\nworld"


async def test_a_short_life_gives_its_output_and_its_exit_code(kit: Kit) -> None:
    process = start(kit, "short")
    assert (process.host, process.port) == ("127.0.0.1", 4711)
    assert await process.output.read() == b"hello\nworld"
    assert await process.wait() == 3
    assert process.pid > 0


async def test_every_waiter_is_told_also_one_that_comes_late(kit: Kit) -> None:
    process = start(kit, "long")
    async with asyncio.TaskGroup() as group:
        waiters = [group.create_task(process.wait()) for _ in range(3)]
        await greeted(process)
        assert not any(waiter.done() for waiter in waiters)
        process.kill()
    assert [waiter.result() for waiter in waiters] == [-9, -9, -9]
    assert await process.wait() == -9


async def test_a_cancelled_waiter_changes_nothing(kit: Kit) -> None:
    process = start(kit, "long")
    async with asyncio.TaskGroup() as group:
        left = group.create_task(process.wait())
        stays = group.create_task(process.wait())
        await greeted(process)
        left.cancel()
        await asyncio.wait([left])
        assert not stays.done()
        process.terminate()
    assert stays.result() == -15


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: a signal that is ignored")
async def test_terminate_may_be_ignored_and_kill_may_not(kit: Kit) -> None:
    process = start(kit, "stubborn")
    await greeted(process)
    process.terminate()
    process.terminate()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(process.wait(), 0.1)
    process.kill()
    assert await process.wait() == -9
    assert await process.output.read() == b""


async def test_the_exit_of_the_script_is_told_while_its_children_live(kit: Kit) -> None:
    process = start(kit, "parent")
    async with asyncio.TaskGroup() as group:
        whole_tree = group.create_task(process.wait())
        assert await process.script_exit() == 5
        assert not whole_tree.done()
        process.kill()
        await whole_tree
    assert await process.script_exit() == 5


async def test_the_exit_of_the_script_is_told_also_when_it_is_killed(kit: Kit) -> None:
    process = start(kit, "long")
    await greeted(process)
    process.kill()
    assert await process.script_exit() == -9


async def test_orders_after_the_end_do_nothing(kit: Kit) -> None:
    process = start(kit, "short")
    await process.wait()
    process.terminate()
    process.kill()
    assert await process.wait() == 3


async def test_a_start_that_cannot_work_says_why_in_a_sentence(kit: Kit) -> None:
    with pytest.raises(OSError, match=r"missing.* does not exist"):
        start(kit, "missing")


async def test_the_pid_is_known_once_there_is_output(kit: Kit) -> None:
    process = start(kit, "long")
    await greeted(process)
    assert process.pid > 0
    process.kill()
    await process.wait()
