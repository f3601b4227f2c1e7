"""Who stands in line, and in which order."""

from __future__ import annotations

from typing import Any, cast

import pytest

from core.errors import ModelStopped, QueueFull
from core.instance import Instance
from core.line import Line
from tests.scheduling.worlds import model

A, B = model("a"), model("b")
INSTANCE = cast(Instance, object())


def names(line: Line) -> list[str]:
    return [demand.model for demand in line.demands()]


async def test_oldest_first_within_a_priority() -> None:
    line = Line()
    for wanted in (A, B, model("high", priority=5), A, model("low", priority=-1)):
        line.join(wanted, 0.0)
    assert names(line) == ["high", "a", "b", "a", "low"]
    assert len(line) == 5


async def test_a_place_knows_since_when() -> None:
    place = Line().join(A, 12.5)
    assert (place.demand.model, place.demand.since) == ("a", 12.5)


async def test_leaving_twice_is_leaving_once() -> None:
    line = Line()
    first, _ = line.join(A, 0.0), line.join(A, 0.0)
    line.leave(first)
    line.leave(first)
    assert line.waiting("a") == len(line) == 1
    assert line.place(first.demand) is None


async def test_the_limit_of_the_queue() -> None:
    line, narrow = Line(), model("a", queue_limit=2)
    first = line.join(narrow, 0.0)
    line.join(narrow, 0.0)
    with pytest.raises(QueueFull) as caught:
        line.join(narrow, 0.0)
    assert "2 requests already wait for 'a'" in caught.value.message
    assert caught.value.retry_after
    line.join(B, 0.0)  # another model's line
    line.leave(first)
    line.join(narrow, 0.0)
    assert line.waiting("a") == 2


async def test_the_models_that_somebody_waits_for() -> None:
    line = Line()
    places = [line.join(wanted, 0.0) for wanted in (A, B, A)]
    assert line.models() == ["a", "b"]
    line.leave(places[1])
    assert line.models() == ["a"]


async def test_without_a_limit_anybody_may_wait() -> None:
    line = Line()
    for _ in range(1000):
        line.join(A, 0.0)
    assert line.waiting("a") == 1000


async def test_a_count_of_nobody_is_no_entry() -> None:
    """Names come from configs that change: the counter must not keep the old ones."""
    line = Line()
    assert line.waiting("nobody") == 0
    line.leave(line.join(A, 0.0))
    assert line.waiting("a") == 0
    assert not line._waiting


async def test_who_was_answered_stands_in_line_no_longer() -> None:
    line = Line()
    first, second = line.join(A, 0.0), line.join(A, 0.0)
    first.granted.set_result(INSTANCE)
    assert line.demands() == (second.demand,)
    assert line.place(first.demand) is None
    assert line.place(second.demand) is second
    second.granted.cancel()
    assert line.demands() == ()


async def test_refusing_one_model() -> None:
    line = Line()
    granted, waiting, other = line.join(A, 0.0), line.join(A, 0.0), line.join(B, 0.0)
    granted.granted.set_result(INSTANCE)
    error = ModelStopped("stopped")
    line.refuse("a", error)
    assert granted.granted.result() is INSTANCE
    assert waiting.granted.exception() is error
    assert not other.granted.done()


async def test_refusing_everybody() -> None:
    line = Line()
    places = [line.join(A, 0.0), line.join(B, 0.0)]
    line.refuse(None, ModelStopped("ending"))
    assert all(isinstance(place.granted.exception(), ModelStopped) for place in places)


async def test_each_of_many_gets_an_error_with_a_traceback_of_its_own() -> None:
    """Raising one object in fifty tasks would make its traceback grow with each of them."""
    line = Line()
    places = [line.join(A, 0.0) for _ in range(3)]
    line.refuse("a", ModelStopped("stopped"))
    depths = []
    for place in places:
        with pytest.raises(ModelStopped) as caught:
            await place.granted
        depths.append(_depth(caught.value.__traceback__))
    assert depths[0] == depths[-1]


def _depth(trace: Any) -> int:
    depth = 0
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    return depth


async def test_what_the_first_waits_for() -> None:
    line = Line()
    first, second, other = line.join(A, 0.0), line.join(A, 0.0), line.join(B, 0.0)
    assert line.why("a") == ""
    first.why, second.why, other.why = "for b", "for a place", "for c"
    assert line.why("a") == "for b"
    line.leave(first)
    assert line.why("a") == "for a place"
