"""When an idle model is unloaded."""

from __future__ import annotations

from typing import Any

import pytest

from core.scheduling.idling import idle_releases
from core.states import State
from tests.scheduling.worlds import device, instance, model, world


@pytest.mark.parametrize(
    ("policy", "life", "demands", "released"),
    [
        pytest.param({}, {"idle_since": 40.0}, [], True, id="time is up, to the second"),
        pytest.param({}, {"idle_since": 40.1}, [], False, id="not yet"),
        pytest.param({}, {"idle_since": 0.0, "leases": 1}, [], False, id="busy is never idle"),
        pytest.param({}, {"idle_since": 0.0}, ["m"], False, id="somebody has just asked"),
        pytest.param({"pinned": True}, {"idle_since": 0.0}, [], False, id="pinned"),
        pytest.param({"alive_time": None}, {"idle_since": 0.0}, [], False, id="never"),
    ],
)
def test_idle(
    policy: dict[str, Any], life: dict[str, Any], demands: list[Any], released: bool
) -> None:
    chosen = model("m", **{"alive_time": 60.0, **policy})
    seen = world([chosen], demands, devices={"gpu": device()}, instances=[instance(chosen, **life)])
    assert bool(idle_releases(seen)) is released


@pytest.mark.parametrize("state", [s for s in State if s not in (State.READY, State.SLEEPING)])
def test_only_what_serves_or_sleeps_is_unloaded(state: State) -> None:
    chosen = model("m", alive_time=1.0)
    seen = world([chosen], [], devices={}, instances=[instance(chosen, state)])
    assert idle_releases(seen) == []
