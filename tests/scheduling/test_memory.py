"""Book and driver in one number, and the choice of victims."""

from __future__ import annotations

import pytest

from core.scheduling.memory import choose_victims, free_memory, shortfall
from core.scheduling.world import DeviceView, InstanceView
from core.states import State
from tests.scheduling.worlds import device, instance, model, variant, world

A, B = model("a", variant(gpu=6)), model("b", variant(gpu=4))


@pytest.mark.parametrize(
    ("seen", "instances", "now", "soon"),
    [
        pytest.param(device(16), [], 16, 16, id="empty"),
        pytest.param(device(16, free=10), [instance(A)], 10, 10, id="counted by the driver"),
        pytest.param(device(16, free=16), [instance(A)], 10, 10, id="the book knows more"),
        pytest.param(device(16, free=3), [instance(A)], 3, 3, id="other programs"),
        pytest.param(
            device(16, free=12), [instance(A, State.STARTING)], 6, 6, id="growth is promised"
        ),
        pytest.param(
            device(16, free=10), [instance(A, State.STOPPING)], 10, 16, id="on its way back"
        ),
        pytest.param(
            device(16, free=10), [instance(A, counted=False)], 4, 4, id="ready, not yet read"
        ),
    ],
)
def test_free(seen: DeviceView, instances: list[InstanceView], now: int, soon: int) -> None:
    free = free_memory(world([A], [], devices={"gpu": seen}, instances=instances))
    assert (free.now["gpu"], free.soon["gpu"]) == (now, soon)


def test_memory_of_the_dead_returns_soon_but_never_more_than_the_book_allows() -> None:
    late = world([A], [], devices={"gpu": device(16, free=10)}, returning={"gpu": 6})
    assert free_memory(late).soon == {"gpu": 16}
    assert free_memory(late).now == {"gpu": 10}


def test_offline_devices_have_no_memory() -> None:
    free = free_memory(world([A], [], devices={"gpu": device(16, online=False)}))
    assert free.now == {}
    assert shortfall({"gpu": 1}, free.now) == {"gpu": 1}


def test_no_victims_when_even_all_of_them_would_not_do() -> None:
    assert choose_victims({"gpu": 20}, {"gpu": 2}, [instance(A), instance(B)], {}) == []


def test_victims_on_other_devices_are_left_alone() -> None:
    elsewhere = model("e", variant(v100=9))
    chosen = choose_victims({"gpu": 6}, {"gpu": 0}, [instance(elsewhere), instance(A)], {})
    assert [v.instance.model for v in chosen] == ["a"]
