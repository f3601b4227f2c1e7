"""Configs, plugins and devices that change while the program runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.conftest import Start
from tests.fakes.program import HOME, Program, model, pid_in
from tests.fakes.saving import save
from tests.fakes.seed_plugins import MY_MODE
from tests.fakes.waiting import until_sync

CHAT = "/v1/chat/completions"
MY_MODE_PATH = "/v1/mymode/completions"


@pytest.fixture
def interfaces(tmp_path: Path) -> Path:
    """A folder of interface plugins that a test may change."""
    folder = tmp_path / "interfaces"
    shutil.copytree(HOME / "plugins" / "interfaces", folder)
    return folder


def edit(running: Program, **entries: Any) -> None:
    """Save the config with these entries as an editor does: a new file in the place of the old."""
    config = json.loads(running.config.read_text(encoding="utf-8"))
    config = {name: value for name, value in {**config, **entries}.items() if value is not None}
    save(running.config, json.dumps(config))


def problems(running: Program) -> list[str]:
    return list(running.ask("GET", "/api/info")[1]["config_problems"])


def plugin(running: Program, file: str) -> dict[str, Any] | None:
    plugins = running.ask("GET", "/api/plugins")[1]["interfaces"]["plugins"]
    return next((each for each in plugins if each["file"] == file), None)


def my_mode(running: Program) -> int:
    return running.ask("POST", MY_MODE_PATH, {"model": "mine", "prompt": "Hello"})[0]


def test_a_stream_goes_on_while_another_model_changes(start: Start, tmp_path: Path) -> None:
    before = model(tmp_path, "b")
    running = start({"a": model(tmp_path, "a"), "b": before})
    old, script = pid_in(running.chat("b")[1]), running.model("b")["pid"]
    body = {"model": "a", "messages": [], "stream": True, "max_tokens": 400, "fake_delay": 0.05}
    with running.stream(CHAT, body) as response:
        response.readline()
        first = running.model("a")
        edit(running, b={**before, "env": {"CHANGED": "1"}})
        until_sync(lambda: running.model("b")["pid"] not in (None, script))
        until_sync(lambda: running.state("b") == "ready")
        assert pid_in(running.chat("b")[1]) != old
        assert not psutil.pid_exists(old)
        assert running.model("a")["pending"] == 1
        assert response.readline() is not None
        assert running.model("a")["pid"] == first["pid"]
        assert running.model("a")["starts"] == 1
    until_sync(lambda: running.model("a")["pending"] == 0)


def test_the_running_answers_of_a_changed_model_are_finished(start: Start, tmp_path: Path) -> None:
    before = model(tmp_path, "a", stop_timeout=1)
    running = start({"a": before})
    running.chat("a")
    body = {"model": "a", "messages": [], "stream": True, "max_tokens": 60, "fake_delay": 0.1}
    with running.stream(CHAT, body) as response:
        response.readline()
        edit(running, a={**before, "env": {"CHANGED": "1"}})
        until_sync(lambda: running.state("a") == "draining")
        assert b"[DONE]" in response.read(), "six seconds, and a stop takes one"
    until_sync(lambda: running.model("a")["starts"] == 2)


def test_policy_changes_without_a_restart(start: Start, tmp_path: Path) -> None:
    before = model(tmp_path, "a")
    running = start({"a": before})
    old = pid_in(running.chat("a")[1])
    edit(running, a={**before, "pinned": True, "aliases": ["a", "other-name"]})
    until_sync(lambda: running.model("a")["pinned"])
    assert pid_in(running.chat("other-name")[1]) == old
    assert running.model("a")["starts"] == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "JSON"),
        ('{"program": {"prot": 1}}', "prot"),
        ('{"x": {"mode": "Chat"}}', "$.x"),
        ("", "JSON"),
    ],
    ids=["half written", "unknown key", "no aliases", "empty"],
)
def test_a_broken_config_changes_nothing(
    start: Start, tmp_path: Path, text: str, reason: str
) -> None:
    running = start({"a": model(tmp_path, "a")})
    old = pid_in(running.chat("a")[1])
    good = running.config.read_text(encoding="utf-8")
    save(running.config, text)
    until_sync(lambda: problems(running))
    assert any(reason in problem for problem in problems(running))
    assert pid_in(running.chat("a")[1]) == old
    save(running.config, good)
    until_sync(lambda: not problems(running))
    assert pid_in(running.chat("a")[1]) == old
    assert running.model("a")["starts"] == 1


def test_a_deleted_config_changes_nothing_until_it_returns(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    old = pid_in(running.chat("a")[1])
    text = running.config.read_text(encoding="utf-8")
    running.config.unlink()
    until_sync(lambda: any("cannot be read" in problem for problem in problems(running)))
    assert pid_in(running.chat("a")[1]) == old
    running.config.write_text(text, encoding="utf-8")
    until_sync(lambda: not problems(running))
    assert pid_in(running.chat("a")[1]) == old


def test_models_come_and_go_with_the_file(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    old = pid_in(running.chat("a")[1])
    assert running.chat("b")[0] == 404
    edit(running, b=model(tmp_path, "b"))
    until_sync(lambda: running.chat("b")[0] == 200)
    edit(running, a=None)
    until_sync(lambda: running.chat("a")[0] == 404)
    until_sync(lambda: not psutil.pid_exists(old))
    assert [each["id"] for each in running.ask("GET", "/v1/models")[1]["data"]] == ["b"]
    assert running.model("b")["starts"] == 1


def test_a_new_interface_plugin_makes_its_endpoint_reachable(
    start: Start, tmp_path: Path, interfaces: Path
) -> None:
    entry = model(tmp_path, "mine", mode="MyMode")
    running = start({"mine": entry}, interface_plugin_dir=str(interfaces))
    assert my_mode(running) == 404
    status, answer = running.chat("mine")
    assert status == 503
    assert "MyMode" in answer["error"]["message"]

    save(interfaces / "my_mode.py", MY_MODE)
    until_sync(lambda: my_mode(running) == 200)
    status, answer = running.chat("mine")
    assert (status, answer["error"]["code"]) == (400, "endpoint_not_supported")
    assert "'MyMode' 模式" in answer["error"]["message"], "the words of the plugin"


def test_a_broken_plugin_leaves_the_old_one_working(
    start: Start, tmp_path: Path, interfaces: Path
) -> None:
    save(interfaces / "my_mode.py", MY_MODE)
    entry = model(tmp_path, "mine", mode="MyMode")
    running = start({"mine": entry}, interface_plugin_dir=str(interfaces))
    assert my_mode(running) == 200

    save(interfaces / "my_mode.py", MY_MODE.replace("def health_check(", "def health_check("[:-1]))
    until_sync(lambda: (plugin(running, "my_mode.py") or {})["error"])
    found = plugin(running, "my_mode.py")
    assert found is not None
    assert "line 8" in found["error"]
    assert my_mode(running) == 200

    save(interfaces / "my_mode.py", MY_MODE.replace("v1/mymode/", "v1/yourmode/"))
    until_sync(lambda: my_mode(running) == 404)
    body = {"model": "mine"}
    assert running.ask("POST", "/v1/yourmode/completions", body)[0] == 200
    assert (plugin(running, "my_mode.py") or {})["error"] is None
    assert running.model("mine")["starts"] == 1


def test_a_model_whose_plugins_are_missing_says_so(start: Start, tmp_path: Path) -> None:
    running = start(
        {"a": model(tmp_path, "a", mode="Chet"), "b": model(tmp_path, "b", engine="vlmm")}
    )
    assert running.model("a")["startable"] == "no interface plugin provides the mode 'Chet'"
    assert running.model("b")["startable"] == "no engine plugin is named 'vlmm'"
    for name in ("a", "b"):
        status, answer = running.chat(name)
        assert (status, answer["error"]["code"]) == (503, "model_failed")
        assert str(running.model(name)["startable"]) in answer["error"]["message"]


def test_a_removed_plugin_is_gone(start: Start, tmp_path: Path, interfaces: Path) -> None:
    save(interfaces / "my_mode.py", MY_MODE)
    models = {"mine": model(tmp_path, "mine", mode="MyMode"), "a": model(tmp_path, "a")}
    running = start(models, interface_plugin_dir=str(interfaces))
    assert my_mode(running) == 200
    (interfaces / "my_mode.py").unlink()
    until_sync(lambda: my_mode(running) == 404)
    assert plugin(running, "my_mode.py") is None
    assert running.chat("a")[0] == 200


def test_the_next_start_takes_the_second_variant_when_the_device_is_gone(
    start: Start, tmp_path: Path
) -> None:
    entry = model(tmp_path, "a", memory={"gpu0": 1000})
    entry["W"] = {**entry["V"], "required_devices": ["gpu1"], "memory_mb": {"gpu1": 1000}}
    devices = {"gpu0": 16000, "gpu1": 16000}
    running = start({"a": entry}, devices=devices)
    running.chat("a")
    assert running.model("a")["variant"] == "V"
    unplugged = {**devices, "gpu0": {"total": 16000, "online": False}}
    save(tmp_path / "devices.json", json.dumps(unplugged))
    until_sync(lambda: not device(running, "gpu0")["online"])
    assert running.chat("a")[0] == 200, "what runs goes on"
    running.ask("POST", "/api/models/a/stop?wait=1")
    assert running.chat("a")[0] == 200
    assert running.model("a")["variant"] == "W"
    assert running.model("a")["memory_mb"] == {"gpu1": 1000}

    save(tmp_path / "devices.json", json.dumps({n: {"total": 1, "online": False} for n in devices}))
    until_sync(lambda: not device(running, "gpu1")["online"])
    running.ask("POST", "/api/models/a/stop?wait=1")
    assert running.chat("a")[1]["error"]["code"] == "no_device"


def device(running: Program, name: str) -> dict[str, Any]:
    devices = running.ask("GET", "/api/devices")[1]["devices"]
    return next(each for each in devices if each["name"] == name)
