"""The mark, and the sweep: everything left over, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest

from core.launchers import leftovers

ME = os.getpid()
WAITS = [sys.executable, "-I", "-S", "-c", "import time; print(flush=True); time.sleep(1000)"]
"""Tells by a line that it runs, then waits."""
Spawn = Callable[[str], int]


@pytest.fixture(autouse=True)
def own_mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """A variable that only this process looks at: every manager here sweeps the real one."""
    name = f"LLM_MANAGER_INSTANCE_OF_TEST_{ME}"
    monkeypatch.setattr(leftovers, "MARK", name)
    return name


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a process that waits for ever and carries this mark."""
    started: list[subprocess.Popen[bytes]] = []

    def start(mark: str) -> int:
        env = {**os.environ, leftovers.MARK: mark}
        process = subprocess.Popen(WAITS, env=env, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout
        process.stdout.readline()
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_pid_that_changed_hands_during_the_look_is_nobody(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = spawn(foreign(start=1))
    assert pid in [process.pid for process in leftovers.marked()]
    first, marks = leftovers._mark_of, {pid: iter(["of the old one", "of the new one"])}
    monkeypatch.setattr(leftovers, "_mark_of", lambda p: next(marks.get(p, iter([first(p)]))))
    assert pid not in [process.pid for process in leftovers.marked()]


def alive(pid: int) -> bool:
    return leftovers.start_time(pid) is not None


def foreign(start: int | None = None, namespace: str | None = None, pid: int = ME) -> str:
    """A mark like ours, with something different."""
    own_pid, own_start, own_namespace = leftovers.mark("").rstrip("/").split(".")
    assert own_pid == str(ME)
    return f"{pid}.{start or own_start}.{namespace or own_namespace}/fake#{os.urandom(4).hex()}"


def test_a_mark_names_the_manager_and_the_instance() -> None:
    manager, _, instance = leftovers.mark("qwen3#2").partition("/")
    pid, start, namespace = manager.split(".")
    assert (int(pid), int(start), instance) == (ME, leftovers.start_time(ME), "qwen3#2")
    assert namespace.isdigit()


def test_the_start_time_tells_processes_apart_and_the_dead_have_none(spawn: Spawn) -> None:
    pid = spawn("")
    assert leftovers.start_time(pid) == leftovers.start_time(pid)
    assert leftovers.start_time(pid) != leftovers.start_time(os.getppid())
    process = psutil.Process(pid)
    process.kill()
    process.wait(60)
    assert leftovers.start_time(pid) is None


def test_what_a_dead_manager_left_is_ended_and_told(spawn: Spawn) -> None:
    later_process_with_the_pid_of_a_manager = foreign(start=1)
    pid = spawn(later_process_with_the_pid_of_a_manager)
    said = leftovers.sweep()
    assert not alive(pid)
    instance = later_process_with_the_pid_of_a_manager.partition("/")[2]
    [sentence] = [line for line in said if instance in line]
    assert (
        sentence == f"ended pid {pid}: left over from {instance}, whose manager (pid {ME}) is gone"
    )


@pytest.mark.parametrize(
    "mark",
    [
        pytest.param(lambda: leftovers.mark("mine#1"), id="of a living manager"),
        pytest.param(lambda: foreign(start=1, namespace="1"), id="of another pid namespace"),
        pytest.param(lambda: "something else", id="not a mark"),
        pytest.param(lambda: "a.b.c/x#1", id="not numbers"),
        pytest.param(lambda: "", id="empty"),
    ],
)
def test_what_may_have_an_owner_is_left_alone(spawn: Spawn, mark: Callable[[], str]) -> None:
    pid = spawn(mark())
    leftovers.sweep()
    assert alive(pid)


def test_neither_this_process_nor_those_above_it_are_ended(own_mark: str) -> None:
    """A manager that somebody started from a start-up script of a manager that died."""
    program = (
        "import os, subprocess, sys; sys.path.insert(0, os.getcwd())\n"
        "from core.launchers import leftovers\n"
        "leftovers.MARK = sys.argv[1]\n"
        "if len(sys.argv) < 3:\n"
        "    sys.exit(subprocess.call([*sys.orig_argv, 'child']))\n"
        "print(leftovers.sweep())\n"
    )
    mark = foreign(start=1)
    done = subprocess.run(
        [sys.executable, "-c", program, own_mark],
        env={**os.environ, own_mark: mark},
        capture_output=True,
        text=True,
        check=True,
    )
    assert mark.partition("/")[2] not in done.stdout
    assert done.stdout.startswith("[")


def test_one_instance_is_ended_by_its_exact_mark(spawn: Spawn) -> None:
    one, other = foreign(), foreign()
    pids = [spawn(one), spawn(one), spawn(other)]
    assert leftovers.sweep_instance(one) == 2
    assert [alive(pid) for pid in pids] == [False, False, True]


def test_a_later_process_with_the_same_pid_is_not_ended(spawn: Spawn) -> None:
    pid = spawn(mark := foreign(start=1))
    start = leftovers.start_time(pid)
    assert start
    leftovers._kill(leftovers.Marked(pid, start - 1, mark), time.monotonic() + 9)
    assert alive(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: zombies")
def test_a_dead_manager_that_nobody_collected_counts_as_gone(spawn: Spawn) -> None:
    manager = spawn("")
    start = leftovers.start_time(manager)
    pid = spawn(foreign(start=start, pid=manager))
    leftovers.sweep()
    assert alive(pid)
    os.kill(manager, 9)
    os.waitid(os.P_PID, manager, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    leftovers.sweep()
    assert not alive(pid)


@pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0, reason="POSIX only: another user, for root"
)
def test_the_processes_of_another_user_are_left_alone() -> None:
    mark = foreign(start=1)
    with subprocess.Popen(
        ["sh", "-c", "echo; exec sleep 1000"],
        env={leftovers.MARK: mark, "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        user=65534,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        leftovers.sweep()
        try:
            assert alive(process.pid)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
