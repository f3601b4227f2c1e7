"""One life, from every step to every end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from core.events import InstanceChanged
from core.instance import Instance
from core.states import NEXT, State
from core.surroundings import Surroundings
from tests.fakes.launcher import FakeProcess
from tests.fakes.parts import House
from tests.fakes.waiting import until
from tests.scheduling.worlds import model, variant


class Life:
    """One instance among fakes, and what became known of it."""

    def __init__(self, **policy: Any) -> None:
        self.model = model("m", variant(gpu=10), **{"stop_timeout": 5.0, **policy})
        self.house = House(self.model)
        around = self.house.surroundings(self.model)
        self.answers = True
        self.changes: list[InstanceChanged] = []
        around = Surroundings(
            engine=around.engine,
            interface=around.interface,
            launcher=around.launcher,
            output=around.output,
            connect=around.connect,
            publish=self.changes.append,  # type: ignore[arg-type]
            port_answers=self._answers,
        )
        self.around = around
        self.instance = Instance("m#1", self.model, self.model.variants[0], 10_000, {}, around)

    async def _answers(self, port: int) -> bool:
        return self.answers

    @property
    def process(self) -> FakeProcess:
        return self.house.launcher.processes[0]

    @property
    def states(self) -> list[State]:
        """Without repetitions: stages are changes too."""
        seen = [State.STARTING]
        for change in self.changes:
            if change.state is not seen[-1]:
                seen.append(change.state)
        return seen

    async def reaches(self, state: State) -> None:
        await until(lambda: self.instance.state is state)


@contextlib.asynccontextmanager
async def life(**policy: Any) -> AsyncIterator[Life]:
    """A running life; it must have ended, and left nothing, when the block ends."""
    one = Life(**policy)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.instance.run())
        yield one
        one.instance.stop("the test is over")
        one.instance.stop("the test is over")
    assert one.instance.state in (State.STOPPED, State.FAILED)
    assert one.instance.reserved == {}
    assert not one.house.launcher.alive
    assert all(connections.closed for connections in one.house.connections)
    for before, after in zip(one.states, one.states[1:], strict=False):
        assert after in NEXT[before]


async def test_a_whole_life() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        assert one.instance.reserved == {"gpu": 10}
        assert one.instance.load_seconds is not None
        one.instance.stop("enough")
    S = State
    assert one.states == [S.STARTING, S.READY, S.DRAINING, S.STOPPING, S.STOPPED]
    assert one.instance.failure is None


async def test_ready_needs_two_good_answers_in_a_row() -> None:
    one = Life()
    one.house.interface.answers = [True, False, True, True]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.instance.run())
        await one.reaches(State.READY)
        assert one.house.interface.asked == 4
        one.instance.stop("enough")


async def test_a_stranger_on_the_port_is_never_trusted() -> None:
    one = Life(start_timeout=0.3)
    one.house.launcher.behaviour = lambda spec: FakeProcess(stranger="nginx (pid 1) listens there")
    await one.instance.run()
    assert one.house.interface.asked == 0
    assert one.instance.failure is not None
    assert "nginx (pid 1)" in one.instance.failure.reason


async def test_a_limit_that_passed_while_the_machine_slept_counts_anew() -> None:
    one = Life(start_timeout=0.1)
    hours = count(step=3600.0)
    one.around = replace(one.around, clock=lambda: next(hours))
    one.instance = Instance("m#1", one.model, one.model.variants[0], 10_000, {}, one.around)
    one.house.interface.healthy = False
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.instance.run())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.instance.ended.wait(), 0.3)
        one.house.interface.healthy = True
        await one.reaches(State.READY)
        one.instance.stop("enough")


async def test_never_healthy_is_a_start_timeout_and_leaves_nothing() -> None:
    one = Life(start_timeout=0.2)
    one.house.interface.healthy = False
    await one.instance.run()
    assert one.instance.failure is not None
    assert one.instance.failure.code == "start_timeout"
    assert "loading" in one.instance.failure.reason
    assert not one.house.launcher.alive


async def test_exit_while_loading_tells_code_and_last_words() -> None:
    async with life() as one:
        one.house.interface.healthy = False
        await until(lambda: one.house.launcher.processes)
        one.process.print("loading\nout of memory\n")
        one.process.exit(3)
        await one.reaches(State.FAILED)
        failure = one.instance.failure
        assert failure is not None
        assert failure.exit_code == 3
        assert "exit code 3" in failure.reason
        assert "out of memory" in failure.log_tail


async def test_a_script_that_fails_has_failed_whoever_lives_on() -> None:
    async with life() as one:
        one.house.interface.healthy = False
        await until(lambda: one.house.launcher.processes)
        one.process.leave_children(7)
        await one.reaches(State.FAILED)
        assert one.instance.failure is not None
        assert one.instance.failure.exit_code == 7


async def test_a_script_that_ends_well_may_leave_its_server_behind() -> None:
    async with life() as one:
        await until(lambda: one.house.launcher.processes)
        one.process.leave_children(0)
        await one.reaches(State.READY)


async def test_doubt_is_settled_by_a_knock() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        one.instance.doubt()
        assert not one.instance.serving
        await until(lambda: one.instance.serving)


async def test_a_server_that_nobody_reaches_any_longer_is_dead() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        one.answers = False
        one.instance.doubt()
        await one.reaches(State.FAILED)
        assert one.instance.failure is not None
        assert "nobody answers" in one.instance.failure.reason


async def test_death_in_service_is_a_failure() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        one.process.exit(-9)
        await one.reaches(State.FAILED)
        assert one.instance.failure is not None
        assert "signal 9" in one.instance.failure.reason
    assert one.states[-2:] == [State.STOPPING, State.FAILED]


@pytest.mark.parametrize(
    "error", [FileNotFoundError("the script x.sh does not exist"), ValueError("plugin bug")]
)
async def test_what_cannot_be_started_fails_with_the_reason(error: Exception) -> None:
    one = Life()
    one.house.engine.error = error
    await one.instance.run()
    assert one.instance.state is State.FAILED
    assert one.instance.failure is not None
    assert str(error) in one.instance.failure.reason


async def test_a_health_check_that_raises_means_not_healthy_yet() -> None:
    one = Life(start_timeout=0.2)
    one.house.interface.error = ZeroDivisionError("plugin bug")
    await one.instance.run()
    assert one.instance.failure is not None
    assert "plugin bug" in one.instance.failure.reason


async def test_drain_waits_for_the_last_lease() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        one.instance.acquire()
        one.instance.stop("enough")
        await one.reaches(State.DRAINING)
        assert one.instance.planned_state is State.DRAINING
        assert one.process.alive
        assert not one.house.connections[0].closed
        one.instance.release()
        await one.reaches(State.STOPPED)


async def test_drain_has_a_limit() -> None:
    async with life(stop_timeout=0.1) as one:
        await one.reaches(State.READY)
        one.instance.acquire()
        one.instance.stop("enough")
        await one.reaches(State.STOPPED)
        one.instance.release()


async def test_a_patient_stop_outlasts_the_limit_and_an_impatient_one_ends_it() -> None:
    async with life(stop_timeout=0.05) as one:
        await one.reaches(State.READY)
        one.instance.acquire()
        one.instance.stop("config", patient=True)
        await one.reaches(State.DRAINING)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.instance.ended.wait(), 0.2)
        one.instance.stop("now")
        await one.reaches(State.STOPPED)
        one.instance.release()


async def test_connections_are_closed_before_the_server_is_asked_to_end() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        closed_when_asked = []
        terminate = one.process.terminate

        def look() -> None:
            closed_when_asked.append(one.house.connections[0].closed)
            terminate()

        one.process.terminate = look  # type: ignore[method-assign]
        one.instance.stop("enough")
        await one.reaches(State.STOPPED)
        assert closed_when_asked == [True]


async def test_who_ignores_the_polite_way_is_killed_and_memory_stays_booked_until_then() -> None:
    async with life(stop_timeout=0.1) as one:
        one.house.launcher.behaviour = lambda spec: FakeProcess(ignores_terminate=True)
        await one.reaches(State.READY)
        one.instance.stop("enough")
        await until(lambda: one.process.terminated)
        assert one.instance.reserved == {"gpu": 10}
        await one.reaches(State.STOPPED)
        assert one.process.killed == 1


async def test_a_second_wish_kills_at_once() -> None:
    async with life(stop_timeout=60.0) as one:
        one.house.launcher.behaviour = lambda spec: FakeProcess(ignores_terminate=True)
        await one.reaches(State.READY)
        one.instance.stop("enough")
        await one.reaches(State.STOPPING)
        one.instance.stop("now")
        await one.reaches(State.STOPPED)


async def test_output_is_kept_in_the_order_of_events() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        one.process.print("serving\n")
        await until(lambda: one.around.output.last_line == "serving")
        one.instance.stop("enough")
        await one.reaches(State.STOPPED)
        lines = one.around.output.tail()
    assert lines[0].startswith("[LLM-Manager] starting m#1")
    assert lines[-1] == "[LLM-Manager] m#1 stopping -> stopped: enough"


async def test_sleep_and_wake() -> None:
    one = Life()
    one.house.engine.asleep = {"gpu": 1}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.instance.run())
        await one.reaches(State.READY)
        one.instance.sleep("room")
        await one.reaches(State.SLEEPING)
        assert one.instance.reserved == {"gpu": 1}
        one.instance.wake()
        await one.reaches(State.READY)
        assert one.instance.reserved == {"gpu": 10}
        assert one.house.engine.calls == ["sleep", "wake"]
        one.instance.stop("enough")
    S = State
    assert one.states == [
        S.STARTING, S.READY, S.DRAINING, S.SLEEPING, S.WAKING, S.READY,
        S.DRAINING, S.STOPPING, S.STOPPED,
    ]  # fmt: skip


async def test_failing_sleep_is_a_failure() -> None:
    one = Life()
    one.house.engine.asleep = {"gpu": 1}

    def fail() -> None:
        raise OSError("500 from /sleep")

    one.house.engine.blocked = fail
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.instance.run())
        await one.reaches(State.READY)
        one.instance.sleep("room")
        await one.reaches(State.FAILED)
    assert one.instance.failure is not None
    assert "500 from /sleep" in one.instance.failure.reason


async def test_two_returns_of_one_lease_are_a_fault() -> None:
    async with life() as one:
        await one.reaches(State.READY)
        one.instance.acquire()
        one.instance.release()
        with pytest.raises(AssertionError):
            one.instance.release()
        one.instance.leases = 0


@pytest.mark.parametrize("step", range(60))
async def test_a_stop_at_every_turn_of_the_loop_leaves_nothing(step: int) -> None:
    """The stop comes after `step` turns of the loop, wherever the life is by then."""
    one = Life()
    one.house.engine.asleep = {"gpu": 1}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.instance.run())
        for turn in range(step):
            if turn % 20 == 19 and one.instance.state is State.READY:
                one.instance.sleep("room")
            if turn % 20 == 9 and one.instance.state is State.SLEEPING:
                one.instance.wake()
            await asyncio.sleep(0.002 if turn % 5 == 0 else 0)
        one.instance.stop("now")
    assert one.instance.state is State.STOPPED
    assert one.instance.failure is None
    assert not one.house.launcher.alive
    assert one.instance.reserved == {}
    assert all(connections.closed for connections in one.house.connections)
