"""The nouns are values, and a status has the shape that clients know."""

from __future__ import annotations

import dataclasses
import json

import pytest

from core import domain
from core.domain import Failure, ModelStatus
from core.states import State

KINDS = [kind for kind in vars(domain).values() if dataclasses.is_dataclass(kind)]
STATUS = ModelStatus(
    name="chat",
    aliases=("chat", "c"),
    mode="Chat",
    state=State.READY,
    state_seconds=1.26,
    stage="ready",
    last_line="listening",
    pending=1,
    waiting=2,
    variant="CPU",
    port=10001,
    pid=4711,
    memory_mb={"cpu": 300},
    idle_seconds=0.04,
    idle_limit=3600.0,
    starts=1,
    failure=None,
    startable=None,
    usual_load_seconds=0.5,
    pinned=False,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nouns_are_frozen_and_slotted(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)


def test_the_json_of_a_status() -> None:
    assert STATUS.as_json(0.0) == {
        "name": "chat",
        "aliases": ["chat", "c"],
        "mode": "Chat",
        "state": "ready",
        "state_seconds": 1.3,
        "stage": "ready",
        "last_line": "listening",
        "pending": 1,
        "waiting": 2,
        "variant": "CPU",
        "port": 10001,
        "pid": 4711,
        "memory_mb": {"cpu": 300},
        "idle_seconds": 0.0,
        "idle_limit": 3600.0,
        "starts": 1,
        "failure": None,
        "startable": None,
        "usual_load_seconds": 0.5,
        "pinned": False,
    }
    assert json.loads(json.dumps(STATUS.as_json(0.0))) == STATUS.as_json(0.0)


@pytest.mark.parametrize(("now", "left"), [(100.0, 4.0), (103.96, 0.0), (104.0, 0.0), (999.0, 0.0)])
def test_the_json_of_a_failure_tells_the_wait_from_now(now: float, left: float) -> None:
    failure = Failure("died", exit_code=3, log_tail=("a", "b"), at=100.0, retry_at=104.0)
    status = dataclasses.replace(STATUS, state=State.FAILED, failure=failure)
    assert status.as_json(now)["failure"] == {
        "reason": "died",
        "exit_code": 3,
        "log_tail": ["a", "b"],
        "retry_in": left,
    }
