"""Real trees: whatever the script does, and whoever dies first, nothing is left or lost."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from core.launchers import leftovers, ports
from core.launchers.base import Process
from tests.fakes.scripts import SHAPES, write_script
from tests.fakes.waiting import DEADLINE, until, until_sync
from tests.launchers.conftest import Trees

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: trees with a guardian")


async def listening(process: Process) -> None:
    await process.output.readuntil(b"listening on port")


# -- a tree and its end ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
async def test_terminate_then_kill_leaves_nobody(trees: Trees, tmp_path: Path, shape: str) -> None:
    port = ports.free_port(())
    process = trees.start_script(write_script(tmp_path, shape=shape), port=port)
    await listening(process)
    assert process.owner_of_port() is None
    assert len(trees.survivors()) >= 2
    process.terminate()
    if shape == "daemon":  # it ignores SIGTERM
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.1)
        process.kill()
    await process.wait()
    await until(lambda: not trees.survivors())
    assert "nobody" in str(process.owner_of_port())


async def test_the_tree_lives_as_long_as_any_member(trees: Trees) -> None:
    process = trees.start("sleep 1000 >/dev/null 2>&1 & echo $!; exit 5\n")
    child = int(await process.output.readline())
    assert await process.output.read() == b""
    await until(lambda: process.pid and not psutil.pid_exists(process.pid))
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(process.wait())
        await asyncio.sleep(0)
        assert not waiter.done()
        os.kill(child, signal.SIGKILL)
        assert await waiter == 5


async def test_the_end_comes_although_a_stranger_holds_the_output(trees: Trees) -> None:
    process = trees.start("echo here; read nothing; exec sleep 1000\n")
    await process.output.readline()
    stranger = os.open(f"/proc/{process.pid}/fd/1", os.O_WRONLY)
    try:
        process.kill()
        assert await process.wait() == -9
        assert await process.output.read() == b""
    finally:
        os.close(stranger)


async def test_whoever_drops_the_handle_ends_the_tree(trees: Trees, tmp_path: Path) -> None:
    process = trees.start_script(write_script(tmp_path, shape="daemon"), port=0)
    await listening(process)
    del process
    gc.collect()
    await until(lambda: not trees.survivors())


async def test_a_handle_dropped_at_once_leaves_nothing(trees: Trees, tmp_path: Path) -> None:
    for shape in SHAPES:
        trees.start_script(write_script(tmp_path, shape=shape, name=shape), port=0)
    gc.collect()
    await until(lambda: not trees.survivors())


async def test_orders_given_before_the_script_runs_are_carried_out(trees: Trees) -> None:
    process = trees.start("exec sleep 1000\n")
    process.terminate()
    assert await process.wait() == -15


async def test_a_program_that_cannot_be_executed_ends_at_once_with_the_reason(
    trees: Trees, tmp_path: Path
) -> None:
    path = tmp_path / "x.sh"
    path.write_text(f"#!{tmp_path}\n", encoding="utf-8")  # there, and no program
    path.chmod(0o755)
    process = trees.start_script(path)
    assert await process.wait() == 127
    assert b"Permission denied" in await process.output.read()


async def test_many_lives_leave_no_descriptor_no_thread_no_zombie(trees: Trees) -> None:
    async def live() -> None:
        process = trees.start("echo hello\n")
        assert await process.output.read() == b"hello\n"
        assert await process.wait() == 0

    await live()
    gc.collect()
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    for _ in range(10):
        await live()
    gc.collect()
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= len(before)
    zombies = [p.pid for p in psutil.Process().children() if p.status() == psutil.STATUS_ZOMBIE]
    assert zombies == []


# -- its surroundings ------------------------------------------------------------------------------


async def test_the_script_gets_its_folder_its_environment_and_no_input(
    trees: Trees, tmp_path: Path
) -> None:
    process = trees.start('pwd; echo "$LLM_PORT $EXTRA"; cat; echo end\n', port=4711, EXTRA="a b")
    lines = (await process.output.read()).decode().splitlines()
    assert lines == [str(tmp_path.resolve()), "4711 a b", "end"]


async def test_the_script_inherits_nothing_of_the_guardian(trees: Trees) -> None:
    process = trees.start("kill -PIPE $$; echo not reached\n")
    assert (await process.output.read(), await process.wait()) == (b"", -signal.SIGPIPE)
    if sys.platform == "linux":
        process = trees.start("ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status\n")
        *numbers, _, blocked, _, ignored = (await process.output.read()).decode().split()
        assert numbers == ["0", "1", "2", "3"]  # 3: the folder that `ls` reads
        assert int(blocked, 16) == 0
        python_ignores = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1)
        assert int(ignored, 16) & python_ignores == 0


async def test_200_kb_without_a_newline_arrive_whole(trees: Trees, tmp_path: Path) -> None:
    process = trees.start_script(write_script(tmp_path, "long_line=200000", "crash_before_bind"))
    output = await process.output.read()
    assert output.count(b"x" * 200_000) == 1
    assert await process.wait() == 3


async def test_50_000_lines_arrive_in_order(trees: Trees, tmp_path: Path) -> None:
    process = trees.start_script(write_script(tmp_path, "print=50000", "crash_before_bind"))
    lines = (await process.output.read()).splitlines()
    assert lines[1:-1] == [b"line %06d of the start" % number for number in range(50_000)]


async def test_the_port_of_a_stranger_is_told(trees: Trees, tmp_path: Path) -> None:
    port = ports.free_port(())
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
    process = trees.start_script(write_script(tmp_path, "late_bind=1000"), port=port)
    await process.output.readline()
    assert f"pid {os.getpid()}" in str(await asyncio.to_thread(process.owner_of_port))
    server.close()
    await server.wait_closed()
    assert process.owner_of_port() == f"nobody listens on 127.0.0.1:{port}"


async def test_a_stopped_guardian_does_not_save_its_tree(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.launchers.guarded.OBEYS", 0.0)
    process = trees.start_script(write_script(tmp_path, "ignore_term", "kids=1"))
    await process.output.readuntil(b"listening")
    [guardian] = [pid for pid in trees.survivors() if is_guardian(pid)]
    os.kill(guardian, signal.SIGSTOP)
    process.kill()
    assert len(trees.survivors()) == 3, "it cannot obey"
    process.kill()
    await process.wait()
    assert trees.survivors() == []


# -- who dies first --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_killed_guardian_does_not_leave_its_tree(
    trees: Trees, tmp_path: Path, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    process = trees.start_script(write_script(tmp_path, shape=shape))
    await listening(process)
    for pid in filter(is_guardian, trees.survivors()):
        os.kill(pid, signal.SIGKILL)
    with caplog.at_level(logging.WARNING, "core.launchers"):
        await process.wait()
    assert trees.survivors() == []
    assert "the guardian of pid" in caplog.text
    process.terminate()
    process.kill()


def is_guardian(pid: int) -> bool:
    try:
        return any(word.endswith("guardian.py") for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


class StandIns:
    """Managers that may be killed."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self.program = program
        self.managers: list[int] = []

    def begin(self) -> tuple[int, str]:
        """A new manager: its pid and the beginning of its marks."""
        assert self.program.stdin
        self.program.stdin.write("go\n")
        self.program.stdin.flush()
        pid, word = self.said()
        while word == "up":  # an earlier one, killed meanwhile
            pid, word = self.said()
        self.managers.append(int(pid))
        return int(pid), word

    def wait_until_up(self, manager: int) -> None:
        """Wait until its servers listen."""
        while self.said() != [str(manager), "up"]:
            continue

    def said(self) -> list[str]:
        assert self.program.stdout
        line = self.program.stdout.readline()
        assert line, "the stand-in has ended"
        return line.split()


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIns]:
    """With a mark of their own: what is left of them is for this test alone to find."""
    monkeypatch.setattr(leftovers, "MARK", f"LLM_MANAGER_INSTANCE_OF_TEST_{os.getpid()}")
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("stand_in.py")), str(tmp_path), *SHAPES],
        env={**os.environ, "STAND_IN_MARK": leftovers.MARK},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        made = StandIns(program)
        yield made
        for pid in (program.pid, *made.managers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def survivors(mark: str) -> list[leftovers.Marked]:
    return [process for process in leftovers.marked() if process.mark.startswith(mark)]


def kill_at_random_moments(stand_ins: StandIns, rounds: int) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    most = 0
    for number in range(rounds):
        manager, mark = stand_ins.begin()
        if number == 0:
            stand_ins.wait_until_up(manager)
        else:
            time.sleep(chance.uniform(0, 0.4))  # the moment is what varies
        most = max(most, len(survivors(mark)))
        os.kill(manager, signal.SIGKILL)
        until_sync(lambda: not survivors(mark))  # noqa: B023
    assert most >= 10  # five guardians and five servers: the trees were there


@pytest.mark.timeout(DEADLINE * 4)
def test_a_killed_manager_takes_every_tree_with_it(stand_ins: StandIns) -> None:
    kill_at_random_moments(stand_ins, 10)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_killed_manager_takes_every_tree_with_it_always(stand_ins: StandIns) -> None:
    kill_at_random_moments(stand_ins, 50)


def test_what_manager_and_guardians_left_is_swept_at_the_next_start(stand_ins: StandIns) -> None:
    manager, mark = stand_ins.begin()
    stand_ins.wait_until_up(manager)
    for process in survivors(mark):
        if is_guardian(process.pid):
            os.kill(process.pid, signal.SIGKILL)
    os.kill(manager, signal.SIGKILL)
    left = [process.pid for process in survivors(mark)]
    assert left
    said = leftovers.sweep()
    assert survivors(mark) == []
    assert any(f"whose manager (pid {manager}) is gone" in sentence for sentence in said)
