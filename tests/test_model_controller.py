"""The line, the leases and the books, among fakes."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from core.config.diff import diff
from core.domain import Model
from core.errors import (
    InsufficientMemory,
    ModelFailed,
    ModelNotFound,
    ModelStopped,
    NoDevice,
    QueueFull,
    StartTimeout,
)
from core.events import DevicesChanged
from core.states import State
from tests.fakes.launcher import FakeProcess
from tests.fakes.parts import House, config_of, quiet
from tests.fakes.waiting import until
from tests.scheduling.worlds import model, variant

DEVICES = DevicesChanged()
A, B = model("a", variant(gpu=10)), model("b", variant(gpu=10))


async def test_fifty_first_requests_start_one_process() -> None:
    async with House(A) as house:
        answers = await asyncio.gather(*(house.asks("a") for _ in range(50)))
        assert set(answers) == {"a#1"}
        assert len(house.launcher.processes) == 1
        assert house.controller.fleet.of("a").leases == 0  # type: ignore[union-attr]
        assert len(house.controller.line) == 0


async def test_a_failed_start_answers_everybody_with_code_and_log() -> None:
    async with House(A) as house:
        house.interface.healthy = False
        clients = [house.asks("a") for _ in range(50)]
        await until(lambda: house.launcher.processes)
        house.process.print("CUDA out of memory\n")
        house.process.exit(3)
        for answer in await asyncio.gather(*clients):
            assert isinstance(answer, ModelFailed)
            assert "exit code 3" in answer.message
            assert "CUDA out of memory" in answer.message
            assert answer.retry_after is not None
        assert len(house.launcher.processes) == 1


async def test_during_the_cooldown_the_reason_comes_at_once_and_nothing_starts() -> None:
    async with House(A) as house:
        house.launcher.error = FileNotFoundError("x.sh does not exist")
        first = await house.asks("a")
        again = await house.asks("a")
        assert "x.sh does not exist" in first.message
        assert "x.sh does not exist" in again.message
        assert house.controller.status_of(A).starts == 1
        assert house.state("a") == "failed"


async def test_a_person_does_not_have_to_wait_for_the_cooldown() -> None:
    async with House(A) as house:
        house.launcher.error = FileNotFoundError("x.sh does not exist")
        await house.asks("a")
        house.launcher.error = None
        await house.controller.start(A)
        assert house.state("a") == "ready"
        assert house.controller.status_of(A).failure is None


async def test_start_timeout_has_its_own_error() -> None:
    slow = replace(A, start_timeout=0.1)
    async with House(slow) as house:
        house.interface.healthy = False
        assert isinstance(await house.asks("a"), StartTimeout)


async def test_a_crash_in_service_is_restarted_by_the_next_request() -> None:
    async with House(A) as house:
        await house.ready("a")
        house.process.exit(-11)
        await house.reaches("a", "failed")
        assert await house.asks("a") == "a#2"


async def test_requests_waiting_for_a_place_survive_a_crash() -> None:
    narrow = replace(A, concurrency=1)
    async with House(narrow) as house:
        async with house.request("a"):
            waiting = house.asks("a")
            await until(lambda: house.controller.line.waiting("a"))
            house.process.exit(1)
            assert await waiting == "a#2"


async def test_room_is_made_by_the_idle_one() -> None:
    async with House(A, B) as house:
        await house.ready("a")
        assert await house.asks("b") == "b#2"
        assert house.state("a") == "stopped"


async def test_a_busy_one_is_waited_for() -> None:
    async with House(A, B) as house:
        async with house.request("a") as instance:
            waiting = house.asks("b")
            await until(lambda: house.controller.status_of(B).stage.startswith("waiting for a"))
            assert instance.state is State.READY
            assert [status.name for status in house.controller.running()] == ["a", "b"]
            assert house.controller.in_line == 1
        assert await waiting == "b#2"


async def test_who_leaves_the_line_causes_no_load() -> None:
    async with House(A, B) as house:
        async with house.request("a"):
            waiting = house.asks("b")
            await until(lambda: house.controller.line.waiting("b"))
            waiting.cancel()
            await asyncio.wait({waiting})
        assert len(house.controller.line) == 0
        assert len(house.launcher.processes) == 1


async def test_a_load_goes_on_when_its_first_client_leaves() -> None:
    async with House(A) as house:
        house.interface.healthy = False
        first, second = house.asks("a"), house.asks("a")
        await until(lambda: house.launcher.processes)
        first.cancel()
        house.interface.healthy = True
        assert await second == "a#1"
        assert len(house.launcher.processes) == 1


@pytest.mark.parametrize("turns", range(40))
async def test_cancelled_at_any_turn_no_lease_is_lost(turns: int) -> None:
    async with House(A) as house:
        client = house.asks("a")
        for _ in range(turns):
            await asyncio.sleep(0.001 if turns % 3 == 0 else 0)
        client.cancel()
        await asyncio.wait({client})
        assert len(house.controller.line) == 0
        for instance in house.controller.fleet:
            assert instance.leases == 0


async def test_granted_and_cancelled_in_the_same_turn() -> None:
    async with House(replace(A, concurrency=1)) as house:
        async with house.request("a"):
            waiting = house.asks("a")
            await until(lambda: house.controller.line.waiting("a"))
        # The lease was given back; in the next turn the waiting one is granted.
        asyncio.get_running_loop().call_soon(waiting.cancel)
        await asyncio.wait({waiting})
        instance = house.controller.fleet.of("a")
        assert instance is not None
        assert instance.leases == 0


async def test_stop_answers_the_line_and_ends_the_instance() -> None:
    async with House(replace(A, concurrency=1)) as house:
        await house.ready("a")
        async with house.request("a"):
            waiting = house.asks("a")
            await until(lambda: house.controller.line.waiting("a"))
            ended = house.controller.stop(house.model("a"))
            assert isinstance(await waiting, ModelStopped)
        assert ended is not None
        await ended.wait()
        await house.reaches("a", "stopped")


async def test_a_load_can_be_aborted() -> None:
    async with House(A) as house:
        house.interface.healthy = False
        waiting = house.asks("a")
        await until(lambda: house.launcher.processes)
        house.controller.stop(A)
        assert isinstance(await waiting, ModelStopped)
        await house.reaches("a", "stopped")
        assert not house.launcher.alive


async def test_a_request_during_the_stop_waits_for_it_and_starts_anew() -> None:
    """Whatever state the stop has reached: the request is neither lost nor sent to the dying."""
    async with House(A) as house:
        house.launcher.behaviour = lambda spec: FakeProcess(ignores_terminate=True)
        await house.ready("a")
        dying = house.process
        house.controller.stop(A)
        early = house.asks("a")
        await house.reaches("a", "stopping")
        late = house.asks("a")
        dying.exit(0)
        assert await early == await late == "a#2"


async def test_queue_limit() -> None:
    narrow = replace(A, concurrency=1, queue_limit=2)
    async with House(narrow) as house:
        async with house.request("a"):
            waiting = [house.asks("a") for _ in range(2)]
            await until(lambda: house.controller.line.waiting("a") == 2)
            refused = await house.asks("a")
            assert isinstance(refused, QueueFull)
            assert refused.retry_after is not None
        assert await asyncio.gather(*waiting) == ["a#1", "a#1"]


async def test_concurrency_is_kept() -> None:
    narrow = replace(A, concurrency=3)
    async with House(narrow) as house:
        peak = 0

        async def ask() -> None:
            nonlocal peak
            async with house.request("a") as instance:
                peak = max(peak, instance.leases)
                await asyncio.sleep(0)

        await asyncio.gather(*(ask() for _ in range(30)))
        assert peak == 3


async def test_priority_goes_first_in_the_line() -> None:
    low, high = model("low", variant(gpu=10)), model("high", variant(gpu=10), priority=5)
    async with House(A, low, high) as house:
        async with house.request("a"):
            later = [house.asks("low"), house.asks("high")]
            await until(lambda: len(house.controller.line) == 2)
        await asyncio.gather(*later)
        order = [process.instance_id for process in house.launcher.processes]
        assert [name.split("#")[0] for name in order] == ["a", "high", "low"]


async def test_refusals_have_their_codes() -> None:
    huge, elsewhere = model("huge", variant(gpu=99)), model("else", variant(v100=1))
    async with House(huge, elsewhere) as house:
        assert isinstance(await house.asks("huge"), InsufficientMemory)
        assert isinstance(await house.asks("else"), NoDevice)


async def test_a_taken_port_is_an_error_with_its_holder() -> None:
    fixed = replace(A, port=8000)
    async with House(fixed) as house:
        house.taken_ports = {8000}
        assert "nginx (pid 1)" in (await house.asks("a")).message
        status = house.controller.status_of(fixed)
        assert status.failure is not None
        assert "nginx (pid 1)" in status.failure.reason
        house.taken_ports = set()
        assert await house.asks("a") == "a#1"
        assert house.controller.status_of(fixed).failure is None


async def test_idle_models_are_unloaded_by_the_clock() -> None:
    quick = replace(A, alive_time=0.05)
    async with House(quick) as house:
        await house.ready("a")
        await house.reaches("a", "stopped")
        assert not house.launcher.alive


async def test_a_suspended_machine_does_not_unload_what_was_in_use() -> None:
    async with House(replace(A, alive_time=100.0)) as house:
        await house.ready("a")
        instance = house.controller.fleet.of("a")
        assert instance is not None
        before = instance.idle_since
        house.controller.fleet.forgive_idleness(3600.0)
        assert instance.idle_since == before + 3600.0


async def test_engine_that_can_sleep_sleeps_to_make_room_and_wakes_for_a_request() -> None:
    async with House(A, model("c", variant(gpu=14))) as house:
        house.engine.asleep = {"gpu": 1}
        await house.ready("a")
        await house.asks("c")
        assert house.state("a") == "sleeping"
        assert await house.asks("a") == "a#1"
        assert house.engine.calls == ["sleep", "sleep", "wake"]


async def test_config_change_restarts_only_what_changed_and_waits_for_its_answers() -> None:
    a, b = model("a", variant(gpu=5)), model("b", variant(gpu=5))
    async with House(a, b) as house:
        await house.ready("a", "b")
        async with house.request("a") as instance:
            new = config_of(replace(a, env={"X": "1"}), b)
            house.controller.apply(new, diff(house.config, new))
            await house.reaches("a", "draining")
            assert instance.process is not None
            assert house.state("b") == "ready"
        await until(lambda: house.controller.fleet.of("a") is not instance)
        await house.reaches("a", "ready")
        assert house.controller.fleet.of("a").model.env == {"X": "1"}  # type: ignore[union-attr]
        assert house.state("b") == "ready"
        assert len(house.launcher.processes) == 3


async def test_policy_changes_apply_to_the_running_instance() -> None:
    async with House(A) as house:
        await house.ready("a")
        new = config_of(replace(A, concurrency=7))
        house.controller.apply(new, diff(house.config, new))
        assert house.state("a") == "ready"
        assert house.controller.fleet.of("a").model.concurrency == 7  # type: ignore[union-attr]


async def test_a_removed_model_is_drained_and_then_unknown() -> None:
    async with House(A, B) as house:
        await house.ready("a")
        new = config_of(B)
        house.controller.apply(new, diff(house.config, new))
        await until(lambda: not house.launcher.alive)
        gone = await quiet(_lease(house, A))
        assert isinstance(gone, ModelNotFound)


async def _lease(house: House, of: Model) -> str:
    async with house.controller.lease(of) as instance:
        return instance.id


async def test_without_monitoring_memory_does_not_matter() -> None:
    async with House(A, B) as house:
        house.controller.config = config_of(A, B, monitoring=False)
        await house.ready("a", "b")
        assert house.state("a") == house.state("b") == "ready"


async def test_after_a_stop_the_next_start_waits_until_the_device_shows_the_memory() -> None:
    async with House(A, B) as house:
        await house.ready("a")
        house.devices.others = {"gpu": 0}
        late = {"gpu": 10}  # the driver goes on showing a's memory
        held = house.devices.held
        house.devices.held = lambda: late if not house.launcher.alive else held()
        waiting = house.asks("b")
        await house.reaches("a", "stopped")
        await asyncio.sleep(0.05)
        assert len(house.launcher.processes) == 1
        late["gpu"] = 0
        house.controller.changed(DEVICES)
        assert await waiting == "b#2"


async def test_what_other_programs_hold_is_refused_only_after_a_while() -> None:
    async with House(A) as house:
        house.devices.others = {"gpu": 12}
        waiting = house.asks("a")
        await until(lambda: "10 MB are needed" in house.controller.status_of(A).stage)
        house.devices.others = {}
        house.controller.changed(DEVICES)
        assert await waiting == "a#1"


async def test_auto_start_loads_what_wants_to_be_up() -> None:
    async with House(replace(A, auto_start=True), model("b", variant(gpu=2))) as house:
        house.controller.auto_start()
        await house.reaches("a", "ready")
        assert house.state("b") == "stopped"


async def test_restart_loads_again() -> None:
    async with House(A) as house:
        await house.ready("a")
        house.controller.restart(A, "restart")
        await until(lambda: len(house.launcher.processes) == 2)
        await house.reaches("a", "ready")


async def test_preview_names_the_victims_and_does_nothing() -> None:
    async with House(A, B) as house:
        await house.ready("a")
        actions = house.controller.preview(B)
        assert any(getattr(action, "instance", "") == "a#1" for action in actions)
        assert house.state("a") == "ready"


async def test_shutdown_ends_what_ignores_everything_polite() -> None:
    async with House(A, model("b", variant(gpu=2))) as house:
        house.launcher.behaviour = lambda spec: FakeProcess(ignores_terminate=True)
        await house.ready("a", "b")
        await house.controller.shutdown(0.1)
        assert not house.launcher.alive
        assert isinstance(await house.asks("a"), ModelStopped)


async def test_a_random_day_keeps_the_books() -> None:
    """Requests, cancels, crashes, stops in random order: no lease lost, no device overbooked."""
    dice = random.Random(11)
    models = [model(f"m{n}", variant(gpu=dice.randint(3, 9)), concurrency=2) for n in range(6)]
    async with House(*models, gpu=16) as house:
        over: list[str] = []
        house.bus.listen(lambda event: over.extend(_overbooked(house)))
        clients: set[asyncio.Task[Any]] = set()
        for _ in range(400):
            await _random_step(dice, house, clients)
        answers = await asyncio.gather(*clients, return_exceptions=True)
        assert not over
        assert len(house.controller.line) == 0
        assert all(instance.leases == 0 for instance in house.controller.fleet)
        served = [answer for answer in answers if isinstance(answer, str)]
        assert len(served) > 200


def _overbooked(house: House) -> list[str]:
    reserved = sum(i.reserved.get("gpu", 0) for i in house.controller.fleet)
    return [f"{reserved} MB reserved"] if reserved > 16 else []


async def _random_step(dice: random.Random, house: House, clients: set[asyncio.Task[Any]]) -> None:
    name = f"m{dice.randrange(6)}"
    match dice.random():
        case x if x < 0.85:
            clients.add(house.asks(name))
        case x if x < 0.97 and clients:
            dice.choice(sorted(clients, key=id)).cancel()
        case x if x < 0.98 and house.state(name) == "ready":
            house.controller.fleet.of(name).process.exit(1)  # type: ignore[union-attr]
        case x if x < 0.99:
            house.controller.stop(house.model(name))
    for _ in range(dice.randrange(6)):
        await asyncio.sleep(0.001 if dice.random() < 0.3 else 0)
