"""The bus: everybody learns everything in order, and nobody can hold up the writer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict

from core.events import Bus, DevicesChanged, Event, InstanceChanged, Subscription
from core.states import State


def event(number: int) -> InstanceChanged:
    return InstanceChanged("chat", f"chat#{number}", State.READY)


async def take(events: AsyncIterator[Event], count: int) -> list[Event]:
    return [await anext(events) for _ in range(count)]


async def all_of(subscription: Subscription) -> list[Event]:
    return [event async for event in subscription]


async def test_every_subscriber_gets_every_event_in_order() -> None:
    bus = Bus()
    with bus.subscribe() as one, bus.subscribe() as two:
        for number in range(5):
            bus.publish(event(number))
        expected = [event(number) for number in range(5)]
        assert await take(aiter(one), 5) == expected
        assert await take(aiter(two), 5) == expected


async def test_a_reader_that_waits_is_woken() -> None:
    bus = Bus()
    with bus.subscribe() as events:
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(take(aiter(events), 2))
            await asyncio.sleep(0)
            bus.publish(event(1))
            await asyncio.sleep(0)
            bus.publish(event(2))
        assert reader.result() == [event(1), event(2)]


async def test_a_slow_reader_loses_the_oldest() -> None:
    bus = Bus()
    with bus.subscribe(limit=3) as events:
        for number in range(10):
            bus.publish(event(number))
        bus.close()
        assert await all_of(events) == [event(7), event(8), event(9)]


async def test_listeners_learn_first() -> None:
    bus, order = Bus(), []
    bus.listen(lambda event: order.append("listener"))
    with bus.subscribe() as events:
        events.put = lambda event: order.append("subscriber")  # type: ignore[method-assign]
        bus.publish(DevicesChanged())
    assert order == ["listener", "subscriber"]


async def test_who_left_is_forgotten() -> None:
    bus = Bus()
    with bus.subscribe() as events:
        pass
    bus.publish(event(1))
    events.close()
    assert await all_of(events) == []


async def test_the_end_reaches_every_reader_after_what_came_before() -> None:
    bus = Bus()
    with bus.subscribe() as early, bus.subscribe() as waiting:
        bus.publish(event(1))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(all_of(waiting))
            await asyncio.sleep(0)
            bus.close()
            assert await all_of(early) == [event(1)]
        assert reader.result() == [event(1)]


async def test_who_comes_after_the_end_does_not_wait_for_ever() -> None:
    bus = Bus()
    bus.close()
    async with asyncio.timeout(60):
        with bus.subscribe() as events:
            assert await all_of(events) == []


def test_events_can_be_sent_as_json() -> None:
    assert json.loads(json.dumps(asdict(event(1)))) == {
        "model": "chat",
        "instance": "chat#1",
        "state": "ready",
        "reason": "",
    }
