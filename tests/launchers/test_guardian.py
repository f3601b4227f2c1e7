"""The guardian alone, spoken to through its pipes, as Linux runs it and as other systems do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fakes.scripts import SHAPES, write_script
from tests.fakes.waiting import until_sync

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: the guardian")

GUARDIAN = Path(__file__).parents[2] / "core" / "launchers" / "guardian.py"
ELSEWHERE = f"""
import runpy, sys
module = runpy.run_path({str(GUARDIAN)!r})
main = module["main"]
main.__globals__["LINUX"] = False
main(sys.argv)
"""
NO_PROCESS_LEFT = f"""
import errno, os, runpy, sys
module = runpy.run_path({str(GUARDIAN)!r})
fork, forks = os.fork, []
def refuse():
    forks.append(1)
    if len(forks) == 1:
        return fork()
    raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
os.fork = refuse
module["main"](sys.argv)
"""


@dataclass
class Guarded:
    """The manager's side."""

    lifeline: int
    status: int
    output: int
    lines: list[str] = field(default_factory=list)

    def order(self, line: str) -> None:
        os.write(self.lifeline, line.encode())

    def die(self) -> None:
        """What the guardian sees when the manager is killed."""
        os.close(self.lifeline)
        self.lifeline = -1

    def line(self) -> str:
        """The next line of the status pipe; "" at its end."""
        data = b""
        while not data.endswith(b"\n") and (byte := os.read(self.status, 1)):
            data += byte
        return data.decode().strip()

    def pids(self) -> tuple[int, int]:
        """Script and guardian, once they run."""
        word, script, guardian = self.line().split()
        assert word == "pid"
        return int(script), int(guardian)

    def printed(self) -> bytes:
        """The output up to its end."""
        data = b""
        while part := os.read(self.output, 65536):
            data += part
        return data

    def until_it_says(self, words: bytes) -> None:
        data = b""
        while words not in data:
            data += (part := os.read(self.output, 65536))
            assert part, data


Start = Callable[..., Guarded]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Guarded] = []

    def begin(*argv: str, grace: float = 0.3, program: str = "") -> Guarded:
        control, lifeline = os.pipe()
        status, report = os.pipe()
        output, writer = os.pipe()
        subprocess.run(  # its first process ends at once: nobody has to wait for the guardian
            [
                *(sys.executable, "-I", "-S"),
                *(("-c", program) if program else (str(GUARDIAN),)),
                *(str(control), str(report), str(grace), "--", *argv),
            ],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            pass_fds=(control, report),
            cwd=tmp_path,
            check=True,
        )
        for number in (control, report, writer):
            os.close(number)
        started.append(Guarded(lifeline, status, output))
        return started[-1]

    yield begin
    for guarded in started:
        if guarded.lifeline >= 0:
            guarded.die()
        while guarded.line():
            continue
        os.close(guarded.status)
        os.close(guarded.output)


SYSTEMS = pytest.mark.parametrize("program", ["", ELSEWHERE], ids=["linux", "elsewhere"])


@SYSTEMS
def test_it_tells_pid_exit_and_end(start: Start, program: str) -> None:
    guarded = start("sh", "-c", "echo $$; exit 7", program=program)
    script, guardian = guarded.pids()
    assert guardian not in (script, os.getpid())
    assert [guarded.line() for _ in range(3)] == ["exit 7", "end", ""]
    assert guarded.printed() == b"%d\n" % script


@SYSTEMS
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "daemon"])
def test_the_end_of_the_manager_ends_the_tree(
    start: Start, tmp_path: Path, shape: str, program: str
) -> None:
    guarded = start(str(write_script(tmp_path, shape=shape)), program=program)
    guarded.pids()
    guarded.until_it_says(b"listening")
    guarded.die()
    assert guarded.printed().endswith(b"stopping\n")  # asked before it is killed
    told = [guarded.line() for _ in range(3)]
    assert told[0].startswith("exit ")
    assert told[1:] == ["end", ""]


@SYSTEMS
def test_who_ignores_the_question_is_killed_after_the_grace(start: Start, program: str) -> None:
    guarded = start("sh", "-c", "trap '' TERM; echo; while :; do sleep 99; done", program=program)
    assert os.read(guarded.output, 1) == b"\n"
    guarded.die()
    guarded.pids()
    assert [guarded.line() for _ in range(3)] == ["exit -9", "end", ""]


@SYSTEMS
def test_orders_reach_every_member(start: Start, program: str) -> None:
    guarded = start(
        "sh", "-c", "(trap 'echo child' TERM; echo; while :; do sleep 0.01; done) & wait",
        program=program,
    )  # fmt: skip
    assert os.read(guarded.output, 1) == b"\n"
    guarded.pids()
    guarded.order("term\n")
    assert guarded.line() == "exit -15"
    guarded.until_it_says(b"child")
    guarded.order("kill\n")
    assert guarded.line() == "end"


@SYSTEMS
def test_who_was_a_member_once_stays_one(start: Start, tmp_path: Path, program: str) -> None:
    """Its parents end when they are asked to; it does not, in a session of its own."""
    script = write_script(tmp_path, "ignore_term", shape="setsid")
    guarded = start(str(script), program=program)
    guarded.pids()
    guarded.until_it_says(b"listening")
    guarded.order("term\n")
    assert guarded.line() == "exit -15"
    guarded.order("kill\n")
    assert guarded.line() == "end"
    guarded.printed()


def test_a_daemon_that_ignores_the_question_is_found_and_killed(
    start: Start, tmp_path: Path
) -> None:
    if sys.platform != "linux":
        pytest.skip("needs a child subreaper")
    guarded = start(str(write_script(tmp_path, shape="daemon")))
    guarded.pids()
    guarded.until_it_says(b"listening")
    assert guarded.line() == "exit 0"
    guarded.order("kill\n")
    assert guarded.line() == "end"


def test_asking_the_guardian_to_end_ends_the_tree(start: Start) -> None:
    guarded = start("sh", "-c", "echo; exec sleep 1000")
    assert os.read(guarded.output, 1) == b"\n"
    _, guardian = guarded.pids()
    os.kill(guardian, signal.SIGTERM)
    assert [guarded.line() for _ in range(3)] == ["exit -15", "end", ""]


@pytest.mark.skipif(sys.platform != "linux", reason="POSIX only: PDEATHSIG")
def test_a_killed_guardian_takes_the_script_with_it(start: Start) -> None:
    guarded = start("sh", "-c", "echo; exec sleep 1000")
    assert os.read(guarded.output, 1) == b"\n"
    script, guardian = guarded.pids()
    os.kill(guardian, signal.SIGKILL)
    assert guarded.line() == ""
    until_sync(lambda: not Path(f"/proc/{script}/fd/0").exists())
    assert guarded.printed() == b""


def test_what_cannot_be_executed_is_told_in_the_output(start: Start) -> None:
    guarded = start("./nothing")
    guarded.pids()
    assert [guarded.line() for _ in range(3)] == ["exit 127", "end", ""]
    assert guarded.printed() == b"cannot start ./nothing: No such file or directory\n"


def test_no_process_left_is_told_in_the_output(start: Start) -> None:
    guarded = start("sh", program=NO_PROCESS_LEFT)
    assert [guarded.line() for _ in range(3)] == ["exit 127", "end", ""]
    assert guarded.printed() == b"cannot start sh: Resource temporarily unavailable\n"


@pytest.mark.skipif(sys.platform != "linux", reason="POSIX only: /proc")
def test_it_holds_neither_the_output_nor_the_folder(start: Start) -> None:
    guarded = start("sh", "-c", "echo; exec sleep 1000")
    assert os.read(guarded.output, 1) == b"\n"
    _, guardian = guarded.pids()
    proc = Path(f"/proc/{guardian}")
    until_sync(lambda: (proc / "cwd").readlink() == Path("/"))
    assert {(proc / "fd" / number).readlink() for number in "012"} == {Path(os.devnull)}


def test_nothing_wakes_it_while_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.launchers import guardian

    calm = guardian.Guardian(control=-1, status=-1, grace=9.0)
    try:
        assert calm.pause() is None
        monkeypatch.setattr(guardian, "LINUX", False)
        assert calm.pause() is None
        calm.exit_code = 0  # the children of a dead script are not ours there
        assert calm.pause() == 1.0
        calm.abandon()
        assert 8.0 < (calm.pause() or 0) <= 9.0
    finally:
        os.close(calm.wake)
        os.close(calm.feed)


@pytest.mark.skipif(sys.platform != "linux", reason="POSIX only: /proc")
def test_a_kernel_without_lists_of_children_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.launchers import guardian

    exists = os.path.exists
    with subprocess.Popen(["sh", "-c", "sleep 1000 & echo; wait"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout
        shell.stdout.readline()
        wanted = guardian.descendants(shell.pid)
        assert len(wanted) == 1

        def gone(path: str, **kwargs: object) -> object:
            if path.endswith("/children"):
                raise FileNotFoundError(path)
            return open(path, encoding="utf-8")

        monkeypatch.setattr(guardian, "open", gone, raising=False)
        monkeypatch.setattr(
            os.path, "exists", lambda path: not path.endswith("/children") and exists(path)
        )
        assert guardian.descendants(shell.pid) == wanted
        for pid in (*wanted, shell.pid):
            os.kill(pid, signal.SIGKILL)
