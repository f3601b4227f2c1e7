"""Windows: however a manager ends, by itself or by force, nobody of its trees is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.domain import LaunchSpec
from core.launchers import leftovers
from tests.fakes.waiting import until, until_sync
from tests.launchers.conftest import Trees

assert sys.platform == "win32"

STAND_IN = Path(__file__).with_name("stand_in.py")


@contextmanager
def manager(folder: Path, *shapes: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A manager with a tree per shape, all listening; and the beginning of their marks."""
    with subprocess.Popen(
        [sys.executable, str(STAND_IN), str(folder), *shapes],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            mark = process.stdout.readline().split()[1]
            assert process.stdout.readline().split()[1:] == ["up"]
            yield process, mark
        finally:
            process.kill()


def survivors(mark: str) -> list[leftovers.Marked]:
    return [process for process in leftovers.marked() if process.mark.startswith(mark)]


def end(process: subprocess.Popen[str], way: str) -> None:
    if way == "TerminateProcess":
        process.kill()
        return
    assert process.stdin
    process.stdin.write(way + "\n")
    process.stdin.flush()


async def test_a_manager_in_a_job_of_another_owns_trees_and_ends_with_it(trees: Trees) -> None:
    """As of a terminal or a CI that holds what it starts in a job of its own."""
    argv = (sys.executable, str(STAND_IN), str(trees.folder), "plain", "leaves_child")
    spec = LaunchSpec(argv, trees.folder, {})
    outer = trees.launcher.start(spec, instance_id=trees.instance_id, host="127.0.0.1", port=0)
    mark = (await outer.output.readline()).split()[1].decode()
    assert (await outer.output.readline()).split()[1:] == [b"up"]
    assert len(survivors(mark)) >= 2
    outer.kill()
    await outer.wait()
    await until(lambda: not survivors(mark))


SHAPES_OF_A_ROUND = ("plain", "daemon", "leaves_child")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", ["_exit", "TerminateProcess", "abort", "SIGINT"])
def test_fifty_managers_that_end_leave_nobody(tmp_path: Path, way: str) -> None:
    """Every tenth with trees of all shapes at once, the others with one."""
    marks = []
    for number in range(50):
        shapes = SHAPES_OF_A_ROUND if number % 10 == 0 else (SHAPES_OF_A_ROUND[number % 3],)
        with manager(tmp_path, *shapes) as (process, mark):
            tree = survivors(mark)
            assert len(tree) >= len(shapes)
            end(process, way)
            process.wait()
            until_sync(lambda tree=tree: not any(map(lives, tree)))  # type: ignore[misc]
        marks.append(mark)
    assert not [each for each in leftovers.marked() if each.mark.startswith(tuple(marks))]


def lives(process: leftovers.Marked) -> bool:
    return leftovers.start_time(process.pid) == process.start
