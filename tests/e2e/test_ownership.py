"""Nothing outlives the manager, however it goes; and a manager that was frozen harms nobody."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.fakes.program import Program, model
from tests.fakes.scripts import SHAPES
from tests.fakes.survivors import owned_by, seconds_until_none
from tests.fakes.waiting import until_sync

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="POSIX only: /proc")

Record = Callable[[str, object], None]
GOAL = 2.0
"""Seconds within which everything is gone; a loaded machine may miss it now and then."""
FROZEN = 6.0


def kill_at_some_moment(start: Start, folder: Path, shape: str, number: int) -> float:
    """Kill -9 the manager within half a second of a first request; how long the last one lived."""
    folder.mkdir()
    moment = random.Random(f"{shape} {number}").uniform(0.0, 0.5)
    running = start({"a": model(folder, "a", shape=shape)}, folder=folder)
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        body = json.dumps({"model": "a", "messages": []})
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        client.sendall(f"{head}{len(body)}\r\n\r\n{body}".encode())
        time.sleep(moment)  # the moment is what is tried out here
        running.process.kill()
        running.process.wait()
        everybody = f"FAKE_DEVICES_JSON={folder}/"  # guardian, script, servers, device probe
        try:
            seconds = seconds_until_none(everybody)
        except AssertionError as error:
            words = f"{shape} {number}, killed {moment:.3f} s after the request"
            raise AssertionError(f"{words}: {error}") from None
    assert not owned_by(running.process.pid)
    return seconds


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_nobody_survives_the_death_of_the_manager(
    start: Start, tmp_path: Path, record_property: Record, shape: str, number: int
) -> None:
    seconds = kill_at_some_moment(start, tmp_path / "run", shape, number)
    record_property("seconds until the last one was dead", round(seconds, 3))


@pytest.mark.soak
@pytest.mark.timeout(360)
@pytest.mark.parametrize("shape", SHAPES)
def test_nobody_survives_ten_deaths_of_the_manager(
    start: Start, tmp_path: Path, record_property: Record, shape: str
) -> None:
    took = [kill_at_some_moment(start, tmp_path / str(n), shape, n) for n in range(10, 20)]
    slow = sum(seconds > GOAL for seconds in took)
    record_property("slowest death", round(max(took), 3))
    assert statistics.median(took) < GOAL, "a sweep by another manager ended them, not the guardian"
    print(f"{shape}: 10 managers killed, 0 survivors, slowest {max(took):.3f} s, {slow} > {GOAL} s")


@pytest.mark.parametrize("shape", ["plain", "setsid", "daemon", "leaves_child"])
def test_the_next_start_ends_what_a_killed_guardian_left(
    start: Start, tmp_path: Path, shape: str
) -> None:
    models = {"a": model(tmp_path, "a", shape=shape, stop_timeout=1)}
    first = start(models)
    assert first.chat("a")[0] == 200
    guardians = [p for p, command in owned_by(first.process.pid).items() if "guardian" in command]
    assert len(guardians) == 1
    for number in (signal.SIGSTOP, signal.SIGKILL):  # stopped first: neither sees the other die
        for pid in (first.process.pid, *guardians):
            os.kill(pid, number)
    first.process.wait()
    second = start(models)
    assert not owned_by(first.process.pid)
    assert second.chat("a")[0] == 200


@pytest.mark.timeout(180)
def test_a_frozen_manager_wakes_up_without_false_alarm(start: Start, tmp_path: Path) -> None:
    """Its clock jumps by six seconds, as a clock may that goes on while the machine sleeps."""
    running = start(
        {
            "busy": model(tmp_path, "busy", alive_time=0.05),
            "idle": model(tmp_path, "idle", alive_time=FROZEN / 60),
            "loading": model(
                tmp_path, "loading", "slow_load=3", start_timeout=5, memory={"gpu1": 1000}
            ),
            "cold": model(tmp_path, "cold", memory={"gpu1": 1000}),
        },
        devices={"gpu0": 16000, "gpu1": 16000},
    )
    assert running.chat("idle")[0] == running.chat("busy")[0] == 200
    before = {name: running.model(name)["pid"] for name in ("busy", "idle")}
    body = {"model": "busy", "messages": [], "stream": True, "max_tokens": 50, "fake_delay": 0.2}
    with running.stream("/v1/chat/completions", body) as response:
        assert response.readline().startswith(b"data:")
        running.ask("POST", "/api/models/loading/start")
        until_sync(lambda: running.model("loading")["pid"])
        freeze(running)
        states = {name: running.model(name) for name in ("busy", "idle")}
        assert {name: each["pid"] for name, each in states.items()} == before
        assert {each["state"] for each in states.values()} == {"ready"}
        assert all(d["online"] for d in running.ask("GET", "/api/devices")[1]["devices"])
        assert running.chat("cold")[0] == 200
        assert b"[DONE]" in response.read()
    until_sync(lambda: running.state("loading") == "ready")
    assert running.model("busy")["pid"] == before["busy"]
    assert running.model("loading")["starts"] == 1
    assert "failed" not in running.log()


def freeze(running: Program) -> None:
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN)
    running.process.send_signal(signal.SIGCONT)
