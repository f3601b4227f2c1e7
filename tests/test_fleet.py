"""The living instances as the scheduler sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from core.domain import DeviceReading, Failure, Model
from core.fleet import NEARLY_ALL, SETTLE, Fleet
from core.instance import Instance
from core.record import Record
from core.scheduling.world import Demand, DeviceView, World
from core.states import State
from tests.fakes.parts import House
from tests.scheduling.worlds import model, variant

A, B = model("a", variant(gpu=10)), model("b", variant(gpu=4, cpu=1))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> Fleet:
    return Fleet(clock)


async def born(of: Model, clock: Clock, number: int = 1, state: State = State.STARTING) -> Instance:
    around = replace(House(of).surroundings(of), clock=clock)
    instance = Instance(f"{of.name}#{number}", of, of.variants[0], 10_000 + number, {}, around)
    instance.state = state
    return instance


def gpu(free: int, taken_at: float = 0.0, total: int = 16) -> dict[str, DeviceReading]:
    return {"gpu": DeviceReading("gpu", True, total, free, total - free, taken_at=taken_at)}


def look(fleet: Fleet, readings: Mapping[str, DeviceReading] | None, **more: Record) -> World:
    return fleet.world(
        demands=(), models={"a": A}, records=more, readings=readings, monitoring=True
    )


# ---- who is there ------------------------------------------------------------------------------


async def test_coming_and_going(fleet: Fleet, clock: Clock) -> None:
    a, b = await born(A, clock, 1), await born(B, clock, 2)
    fleet.add(a)
    fleet.add(b)
    assert list(fleet) == [a, b]
    assert len(fleet) == 2
    assert fleet.ports() == {10_001, 10_002}
    assert fleet.of("a") is fleet.by_id("a#1") is a
    for instance in fleet:  # whoever walks along may remove
        fleet.remove(instance)
    assert len(fleet) == 0
    assert fleet.of("a") is fleet.by_id("a#1") is None


async def test_a_model_has_one_instance_at_most(fleet: Fleet, clock: Clock) -> None:
    fleet.add(await born(A, clock, 1))
    with pytest.raises(AssertionError, match="a runs already"):
        fleet.add(await born(A, clock, 2))


async def test_only_a_ready_instance_that_nobody_wants_to_end_serves(
    fleet: Fleet, clock: Clock
) -> None:
    a = await born(A, clock)
    fleet.add(a)
    for state in State:
        a.state = state
        assert (fleet.serving("a") is a) == (state is State.READY)
    a.state = State.READY
    a.stop("enough")
    assert fleet.serving("a") is None
    assert fleet.serving("nobody") is None


async def test_a_suspended_machine_is_no_idleness(fleet: Fleet, clock: Clock) -> None:
    a = await born(A, clock)
    fleet.add(a)
    fleet.forgive_idleness(3600.0)
    assert a.idle_since == 3700.0


# ---- the world ---------------------------------------------------------------------------------


async def test_the_world_is_made_of_values(fleet: Fleet, clock: Clock) -> None:
    a = await born(A, clock, state=State.READY)
    a.acquire()
    fleet.add(a)
    demand = Demand(1, "a", 99.0)
    world = fleet.world(
        demands=(demand,), models={"a": A}, records={}, readings=gpu(6), monitoring=False
    )
    assert (world.now, world.demands, world.monitoring) == (100.0, (demand,), False)
    assert world.devices == {"gpu": DeviceView(True, 16, 6)}
    assert world.settle == SETTLE
    (view,) = world.instances
    assert (view.id, view.model, view.state, view.leases) == ("a#1", "a", State.READY, 1)
    assert (dict(view.reserved), view.idle_since, view.sleep_memory) == ({"gpu": 10}, 100.0, None)


async def test_a_stated_wish_is_planned_with(fleet: Fleet, clock: Clock) -> None:
    a = await born(A, clock, state=State.READY)
    fleet.add(a)
    a.stop("enough")
    assert look(fleet, gpu(6)).instances[0].state is State.DRAINING


async def test_before_the_first_reading_nothing_is_known(fleet: Fleet, clock: Clock) -> None:
    fleet.add(await born(B, clock, state=State.READY))
    world = look(fleet, None)
    assert world.devices is None
    assert not world.instances[0].counted


async def test_only_what_a_reading_was_taken_after_is_counted(fleet: Fleet, clock: Clock) -> None:
    a = await born(A, clock)
    fleet.add(a)
    table = [
        (State.STARTING, None, 200.0, False),
        (State.READY, 150.0, 149.0, False),
        (State.READY, 150.0, 150.0, False),
        (State.READY, 150.0, 150.1, True),
        (State.STOPPING, None, 200.0, False),
        (State.STOPPING, 150.0, 200.0, True),
        (State.SLEEPING, 150.0, 200.0, True),
        (State.WAKING, 150.0, 200.0, False),
    ]
    for state, loaded_at, taken_at, counted in table:
        a.state, a.loaded_at = state, loaded_at
        assert look(fleet, gpu(6, taken_at)).instances[0].counted is counted, (state, loaded_at)


async def test_every_device_must_have_been_read(fleet: Fleet, clock: Clock) -> None:
    b = await born(B, clock, state=State.READY)
    b.loaded_at = 150.0
    fleet.add(b)
    readings = gpu(6, 160.0)
    assert look(fleet, readings).instances[0].counted  # no plugin provides a cpu
    readings["cpu"] = DeviceReading("cpu", True, 64, 64, taken_at=140.0)
    assert not look(fleet, readings).instances[0].counted


def test_a_cooling_model_is_blocked_with_its_reason(fleet: Fleet, clock: Clock) -> None:
    record = Record(failure=Failure("died", retry_at=101.0))
    assert look(fleet, gpu(16), a=record).models["a"].blocked == "died"
    clock.now = 101.0
    assert look(fleet, gpu(16), a=record).models["a"].blocked is None
    assert look(fleet, gpu(16)).models["a"].blocked is None


# ---- memory on its way back --------------------------------------------------------------------


def returning(fleet: Fleet, readings: Mapping[str, DeviceReading]) -> dict[str, int]:
    return dict(look(fleet, readings).returning)


async def test_memory_is_expected_until_the_driver_shows_it(fleet: Fleet, clock: Clock) -> None:
    a = await born(A, clock, state=State.STOPPING)
    fleet.gives_back(a, gpu(6))
    assert returning(fleet, gpu(6)) == {"gpu": 10}
    clock.now += SETTLE / 2
    assert returning(fleet, gpu(6 + int(NEARLY_ALL * 10) - 1)) == {"gpu": 10}
    assert returning(fleet, gpu(6 + int(NEARLY_ALL * 10))) == {}
    assert returning(fleet, gpu(6)) == {}  # somebody else took it: it came back once


async def test_it_is_not_expected_for_ever(fleet: Fleet, clock: Clock) -> None:
    fleet.gives_back(await born(A, clock, state=State.STOPPING), gpu(6))
    clock.now += SETTLE
    assert returning(fleet, gpu(6)) == {}


async def test_a_sleeper_gives_back_all_but_its_rest(fleet: Fleet, clock: Clock) -> None:
    a = await born(A, clock, state=State.SLEEPING)
    a.reserved = {"gpu": 2}
    fleet.gives_back(a, gpu(6))
    assert returning(fleet, gpu(6)) == {"gpu": 8}
    a.reserved = {"gpu": 10}
    fleet.gives_back(a, gpu(6))  # a sleep that frees nothing
    assert returning(fleet, gpu(6)) == {"gpu": 8}


async def test_several_add_up_and_a_device_that_went_is_forgotten(
    fleet: Fleet, clock: Clock
) -> None:
    for of in (A, B):
        fleet.gives_back(await born(of, clock, state=State.STOPPING), gpu(2))
    assert returning(fleet, gpu(2)) == {"gpu": 14}  # the cpu is on no plugin's list
    assert returning(fleet, {}) == {}
