"""What a user sees, as a table of what there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.domain import DeviceReading, Failure, Model, ModelStatus, Variant
from core.output import ModelOutput
from core.record import Record
from core.states import State
from core.status import model_status
from tests.scheduling.worlds import model

NOW = 100.0
FAILURE = Failure("died", at=90.0, retry_at=110.0)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "x.sh"
    path.touch()
    return path


def variant(script: Path, *devices: str, name: str = "v") -> Variant:
    return Variant(name, devices, dict.fromkeys(devices, 10), script)


def reading(name: str, online: bool = True) -> DeviceReading:
    return DeviceReading(name, online, 16, 16)


def alive(of: Model, state: State = State.READY, **more: Any) -> Any:
    output = ModelOutput("x", Path("/nonexistent"))
    output.last_line = "listening"
    given = {
        "planned_state": state,
        "since": 95.0,
        "stage": "health check 3",
        "serving": state is State.READY,
        "leases": 0,
        "idle_since": 97.0,
        "variant": of.variants[0],
        "port": 10001,
        "process": SimpleNamespace(pid=4711),
        "reserved": {"gpu": 10},
        "around": SimpleNamespace(output=output),
    }
    return SimpleNamespace(**{**given, **more})


def seen(of: Model, **more: Any) -> ModelStatus:
    given: dict[str, Any] = {
        "instance": None,
        "record": Record(),
        "waiting": 0,
        "why": "",
        "devices": {"gpu": reading("gpu")},
        "now": NOW,
    }
    return model_status(of, **{**given, **more})


def test_a_model_at_rest(script: Path) -> None:
    status = seen(model("chat", variant(script, "gpu"), alive_time=60.0))
    assert status == ModelStatus(
        name="chat",
        aliases=("chat",),
        mode="Chat",
        state=State.STOPPED,
        state_seconds=0.0,
        stage="",
        last_line="",
        pending=0,
        waiting=0,
        variant=None,
        port=None,
        pid=None,
        memory_mb={},
        idle_seconds=0.0,
        idle_limit=60.0,
        starts=0,
        failure=None,
        startable=None,
        usual_load_seconds=None,
        pinned=False,
    )


def test_a_model_at_work(script: Path) -> None:
    chat = model("chat", variant(script, "gpu"), pinned=True)
    status = seen(
        chat,
        instance=alive(chat, leases=2),
        record=Record(starts=3, load_seconds=1.5),
        waiting=4,
        why="for a place",
    )
    assert (status.state, status.state_seconds, status.stage) == (
        State.READY,
        5.0,
        "health check 3",
    )
    assert (status.pending, status.waiting, status.starts) == (2, 4, 3)
    assert (status.variant, status.port, status.pid) == ("v", 10001, 4711)
    assert (status.memory_mb, status.last_line) == ({"gpu": 10}, "listening")
    assert (status.usual_load_seconds, status.pinned, status.idle_limit) == (1.5, True, None)


@pytest.mark.parametrize(
    ("state", "leases", "idle"),
    [
        (State.READY, 0, 3.0),
        (State.READY, 1, 0.0),
        (State.STARTING, 0, 0.0),
        (State.DRAINING, 0, 0.0),
        (State.SLEEPING, 0, 0.0),
    ],
)
def test_only_a_served_model_can_be_idle(
    script: Path, state: State, leases: int, idle: float
) -> None:
    chat = model("chat", variant(script, "gpu"))
    status = seen(chat, instance=alive(chat, state, leases=leases))
    assert (status.state, status.idle_seconds) == (state, idle)


@pytest.mark.parametrize(
    ("failure", "waiting", "state", "seconds"),
    [
        (None, 0, State.STOPPED, 0.0),
        (FAILURE, 0, State.FAILED, 10.0),
        (replace(FAILURE, at=200.0), 0, State.FAILED, 0.0),
        (None, 1, State.STARTING, 0.0),
        (FAILURE, 1, State.STARTING, 0.0),
    ],
)
def test_without_an_instance(
    script: Path, failure: Failure | None, waiting: int, state: State, seconds: float
) -> None:
    record = Record(failure=failure)
    chat = model("chat", variant(script, "gpu"))
    status = seen(chat, record=record, waiting=waiting, why="waiting for b")
    assert (status.state, status.state_seconds) == (state, seconds)
    assert (status.failure, status.stage) == (failure, "waiting for b")


@pytest.mark.parametrize("process", [None, SimpleNamespace(pid=0)])
def test_without_a_process_there_is_no_pid(script: Path, process: Any) -> None:
    chat = model("chat", variant(script, "gpu"))
    assert seen(chat, instance=alive(chat, State.STARTING, process=process)).pid is None


def test_what_is_in_the_way(script: Path) -> None:
    gone = script.with_name("gone.sh")
    here, there = variant(script, "gpu"), variant(script, "gpu", "npu", name="w")
    lost = variant(gone, "gpu", name="lost")
    both = {"gpu": reading("gpu"), "npu": reading("npu", online=False)}
    none: dict[str, DeviceReading] = {}
    table: list[tuple[tuple[Variant, ...], dict[str, DeviceReading] | None, str | None]] = [
        ((here,), both, None),
        ((there, here), both, None),
        ((lost, here), both, None),
        ((there,), both, "w: npu is offline or unknown"),
        ((there,), none, "w: gpu, npu is offline or unknown"),
        ((lost,), both, f"lost: the script {gone} does not exist"),
        (
            (lost, there),
            both,
            f"lost: the script {gone} does not exist; w: npu is offline or unknown",
        ),
        ((there,), None, None),  # devices are not looked at
        ((lost, here), None, f"lost: the script {gone} does not exist"),  # only the first is tried
    ]
    for variants, devices, obstacle in table:
        assert seen(model("chat", *variants), devices=devices).startable == obstacle
    missing = "no interface plugin provides the mode 'Chet'"
    assert seen(model("chat", here), devices=both, missing=missing).startable == missing
