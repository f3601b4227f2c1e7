"""The commands of the command line, against a program that says what the test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from core import commands
from core.cli import cli
from core.commands import COMMANDS
from tests.fakes.stub import Stub, running
from tests.test_domain import STATUS

MODEL = STATUS.as_json(0.0)
DEVICE = {
    "name": "gpu",
    "online": True,
    "total_mb": 16000,
    "available_mb": 15000,
    "used_mb": 1000,
    "reserved_mb": 300,
    "error": None,
}


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running() as stub:
        yield stub


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "POLL", 0.01)


def call(stub: Stub, name: str, *args: str) -> Result:
    return CliRunner().invoke(cli, [name, "--url", stub.url, *args], standalone_mode=False)


def ran(stub: Stub, name: str, *args: str) -> str:
    """The output of a command that succeeded."""
    result = CliRunner().invoke(cli, [name, "--url", stub.url, *args])
    assert result.exit_code == 0, result.output
    return result.output


def failed(stub: Stub, name: str, *args: str) -> str:
    """What a command that refused told."""
    result = call(stub, name, *args)
    if result.exception is None:
        assert result.return_value == 1
        return result.output
    assert hasattr(result.exception, "message"), result.exception
    return result.output + str(result.exception.message)


# ---- lists -------------------------------------------------------------------------------------


def test_info(stub: Stub) -> None:
    answer = {
        "name": "LLM-Manager",
        "config_problems": [],
        "config_warnings": ["a", "b"],
        "x": True,
    }
    stub.say("GET /api/info", answer)
    told = ran(stub, "info")
    assert "LLM-Manager" in told
    assert "config problems" in told
    assert "none" in told
    assert "yes" in told
    assert json.loads(ran(stub, "info", "--json")) == answer


def test_ps(stub: Stub) -> None:
    long = "Qwen/" + "x" * 150
    models = [
        MODEL,
        {**MODEL, "name": long, "state": "stopped", "state_seconds": 77.0, "startable": "no gpu"},
        {**MODEL, "name": "[red]x[/red]", "waiting": 0, "state": "failed",
         "failure": {"reason": "died", "exit_code": 3, "log_tail": [], "retry_in": 4.0}},
    ]  # fmt: skip
    stub.say("GET /api/models", {"models": models})
    told = ran(stub, "ps")
    rows = told.splitlines()
    assert rows[0].split() == "MODEL MODE STATE SECONDS VARIANT PORT REQUESTS MEMORY".split()
    assert "1 (+2 waiting)" in told
    assert "cpu 300 MB" in told
    assert "[red]x[/red]" in told  # a name is text, never markup
    assert f"{long}: no gpu" in told
    assert "[red]x[/red]: died; next try in 4 s" in told
    assert "77" not in told  # nobody needs to know how long it is at rest
    assert json.loads(ran(stub, "ps", "--json")) == {"models": models}


def test_devices(stub: Stub) -> None:
    offline = {**DEVICE, "name": "npu", "online": False, "error": "driver is gone"}
    silent = {**offline, "name": "tpu", "error": None}
    stub.say("GET /api/devices", {"devices": [DEVICE, offline, silent]})
    told = ran(stub, "devices")
    assert "gpu" in told
    assert "16000" in told
    assert "offline: driver is gone" in told
    assert "offline: no reason given" in told
    assert json.loads(ran(stub, "devices", "--json")) == {"devices": [DEVICE, offline, silent]}


@pytest.mark.parametrize("name", ["info", "ps", "devices"])
def test_nobody_there(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert "LLM-Manager is not running at http://127.0.0.1:1" in result.output


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_json_and_url_are_everywhere(command: Any) -> None:
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"--url", "--json"} <= names
    assert command.help


# ---- start and stop ----------------------------------------------------------------------------

READY = {**MODEL, "state": "ready"}
STARTING = {**MODEL, "state": "starting", "stage": "health check 1"}


def test_start_waits_and_shows_what_happens(stub: Stub) -> None:
    asked = threading.Event()

    def look() -> tuple[int, bytes]:
        asked.set()
        return 200, json.dumps(STARTING).encode()

    def load() -> tuple[int, bytes]:
        assert asked.wait(15)
        return 200, json.dumps(READY).encode()

    stub.answers["GET /api/models/chat/info"] = look
    stub.answers["POST /api/models/chat/start?wait=1"] = load
    told = ran(stub, "start", "chat")
    assert "chat: health check 1 (0 s)" in told
    assert told.endswith("chat is ready on port 10001 (CPU)\n")
    assert told.count("health check 1") == 1  # a line per stage, not per look


def test_start_as_json(stub: Stub) -> None:
    stub.say("POST /api/models/chat/start?wait=1", READY)
    stub.say("GET /api/models/chat/info", STARTING)
    assert json.loads(ran(stub, "start", "chat", "--json")) == READY


def test_a_start_that_fails_says_why(stub: Stub) -> None:
    why = "'chat' did not start: port 1 is taken\nlast lines of its log:\nout of memory"
    stub.refuse("POST /api/models/chat/start?wait=1", why)
    stub.say("GET /api/models/chat/info", MODEL)
    assert failed(stub, "start", "chat").endswith(why)


def test_a_start_that_fails_as_json(stub: Stub) -> None:
    stub.refuse("POST /api/models/chat/start?wait=1", "why not")
    stopped = {**MODEL, "state": "stopped"}
    stub.say("GET /api/models/chat/info", stopped)
    result = call(stub, "start", "chat", "--json")
    assert result.return_value == 1
    assert json.loads(result.stdout) == stopped
    assert result.stderr == "why not\n"


def test_a_start_that_ends_otherwise(stub: Stub) -> None:
    """Somebody stopped it in the moment in which it was ready."""
    stub.say("POST /api/models/chat/start?wait=1", {**MODEL, "state": "stopped"})
    stub.say("GET /api/models/chat/info", STARTING)
    assert failed(stub, "start", "chat").endswith("chat is stopped\n")


def test_start_without_waiting(stub: Stub) -> None:
    stub.say("POST /api/models/chat/start", STARTING, 202)
    assert ran(stub, "start", "chat", "--no-wait") == "chat is starting\n"
    assert stub.asked == ["POST /api/models/chat/start"]


@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "a b", "模型", "a?b=c#d", "100%", "../info"])
def test_any_name_goes_into_the_path(stub: Stub, name: str) -> None:
    path = f"/api/models/{quote(name, safe='')}"
    stub.say(f"POST {path}/start", STARTING, 202)
    stub.say(f"POST {path}/stop?wait=1", {**MODEL, "state": "stopped"})
    stub.say(f"GET {path}/logs?lines=200", {"lines": []})
    ran(stub, "start", name, "--no-wait")
    ran(stub, "stop", name)
    ran(stub, "logs", name)
    assert len(stub.asked) == 3


def test_stop(stub: Stub) -> None:
    stub.say("POST /api/models/chat/stop?wait=1", {**MODEL, "state": "stopped"})
    stub.say("POST /api/models/chat/stop", {**MODEL, "state": "draining"}, 202)
    assert ran(stub, "stop", "chat") == "chat is stopped\n"
    assert ran(stub, "stop", "chat", "--no-wait") == "chat is draining\n"
    assert json.loads(ran(stub, "stop", "chat", "--json"))["state"] == "stopped"


@pytest.mark.parametrize("name", ["start", "stop", "logs"])
def test_an_unknown_model(stub: Stub, name: str) -> None:
    assert "there is nothing at" in failed(stub, name, "nobody")


# ---- logs --------------------------------------------------------------------------------------


def test_logs(stub: Stub) -> None:
    answer = {"model": "chat", "lines": ["one", "[b]two[/b]", "三"]}
    stub.say("GET /api/models/chat/logs?lines=200", answer)
    stub.say("GET /api/models/chat/logs?lines=1", {"model": "chat", "lines": ["三"]})
    assert ran(stub, "logs", "chat") == "one\n[b]two[/b]\n三\n"
    assert ran(stub, "logs", "chat", "-n", "1") == "三\n"
    assert json.loads(ran(stub, "logs", "chat", "--json")) == answer


def test_logs_as_they_come(stub: Stub) -> None:
    stream = b': still here\n\ndata: {"line": "one"}\n\nevent: x\ndata: {"line": "two"}\n\n'
    stub.answers["GET /api/models/chat/logs/stream?lines=5"] = (200, stream)
    assert ran(stub, "logs", "chat", "-f", "-n", "5") == "one\ntwo\n"
    assert ran(stub, "logs", "chat", "-f", "-n", "5", "--json") == (
        '{"line": "one"}\n{"line": "two"}\n'
    )
