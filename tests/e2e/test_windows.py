"""The program on Windows: hasty clients, a second double click, every end, the demo models."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.launchers import leftovers
from tests.e2e.conftest import Start
from tests.fakes.program import HOME, Program, model, program
from tests.fakes.waiting import until_sync

assert sys.platform == "win32"
pytestmark = pytest.mark.timeout(120)

AT_ONCE = struct.pack("hh", 1, 0)
"""SO_LINGER: closing resets the connection."""


def reset(port: int) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        client.connect(("127.0.0.1", port))


def test_fifty_requests_after_fifty_resets(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    served = 0
    for _ in range(50):
        reset(running.port)
        served += running.ask("GET", "/health")[0] == 200
    assert served == 50
    assert running.chat("a")[0] == 200
    assert running.end(signal.SIGINT) == 0
    assert "ERROR" not in running.log()


def survivors(running: Program) -> list[int]:
    mark = f"{running.process.pid}."
    return [process.pid for process in leftovers.marked() if process.mark.startswith(mark)]


@pytest.mark.parametrize("way", ["SIGINT", "SIGBREAK", "TerminateProcess"])
def test_every_end_leaves_nothing(start: Start, tmp_path: Path, way: str) -> None:
    models = {
        shape: model(tmp_path, shape, "kids=1", shape=shape)
        for shape in ("plain", "daemon", "leaves_child")
    }
    running = start(models)
    for name in models:
        assert running.chat(name)[0] == 200
    assert len(survivors(running)) >= 6
    if way == "TerminateProcess":
        running.process.kill()
        running.process.wait()
    else:
        assert running.end(signal.Signals[way]) == 0
        assert not [line for line in running.lines if "Traceback" in line]
    until_sync(lambda: not survivors(running))


def pythonw(config: Path, logs: Path, port: int, **env: str) -> subprocess.CompletedProcess[bytes]:
    """A double click: no console, no stdout, no stderr."""
    quiet = Path(sys.executable).with_name("pythonw.exe")
    arguments = ["--headless", "--config", str(config), "--logs", str(logs), "--port", str(port)]
    return subprocess.run(
        [str(quiet), str(HOME / "main.py"), *arguments],
        env={**os.environ, **env},
        timeout=60,
        creationflags=subprocess.DETACHED_PROCESS,
    )


def test_the_second_double_click_shows_the_dashboard_of_the_first(
    start: Start, tmp_path: Path
) -> None:
    running = start({})
    shown = tmp_path / "shown.txt"
    browser = tmp_path / "browser.bat"
    browser.write_bytes(f'@echo off\r\necho %1>"{shown}"\r\n'.encode())
    second = pythonw(running.config, tmp_path / "other", running.port, BROWSER=str(browser))
    assert second.returncode == 0
    assert until_sync(lambda: shown.exists() and shown.read_text().strip()) == running.url
    assert not (tmp_path / "other").exists()


def test_an_edit_while_an_editor_holds_the_config(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    old = running.config.read_bytes()
    with running.config.open("rb"):
        status, answer = running.ask("POST", "/api/models/a/pin")
    assert status == 409
    assert "another program holds it open" in answer["error"]["message"]
    assert running.config.read_bytes() == old
    assert running.ask("POST", "/api/models/a/pin")[0] == 200
    assert json.loads(running.config.read_bytes())["a"]["pinned"] is True


def test_output_in_the_code_page_of_this_windows(start: Start, tmp_path: Path) -> None:
    """A program that knows nothing of UTF-8, before a server that does."""
    entry = model(tmp_path, "a")
    old = tmp_path / "old.py"
    known = "模型 é".encode("mbcs", "replace")
    old.write_text(f"import sys; sys.stdout.buffer.write({known!r} + b' said\\n')")
    script = tmp_path / "a.bat"
    command = f'"{sys.executable}" -I -S "{old}"'.encode()
    script.write_bytes(script.read_bytes().replace(b"@echo off", b"@echo off\r\n" + command))
    running = start({"a": entry})
    assert running.chat("a")[0] == 200
    lines = running.ask("GET", "/api/models/a/logs")[1]["lines"]
    assert f"{known.decode('mbcs')} said" in lines


# ---- the demo models ---------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path) -> Any:
    """The program with the config it is delivered with."""
    config = json.loads((HOME / "config.json").read_text(encoding="utf-8"))
    for name, entry in config.items():
        for variant in entry.values() if name.startswith("demo") else ():
            if isinstance(variant, dict):
                variant["bat_path"] = str(HOME / variant["bat_path"])
    plugins = {
        name: str(HOME / "plugins" / f"{name.split('_')[0]}s")
        for name in ("device_plugin_dir", "interface_plugin_dir", "engine_plugin_dir")
    }
    scripts = [str(HOME / "Model_startup_script" / "demo")]
    config["program"] = {"host": "127.0.0.1", "script_dirs": scripts, **plugins}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    with program(path, tmp_path / "logs") as running:
        yield running


def post(running: Program, path: str, body: dict[str, Any]) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=100)
    connection.request("POST", path, json.dumps(body))
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 200, answer
    return answer


def test_the_demo_models_answer(shipped: Program) -> None:
    chat = post(
        shipped,
        "/v1/chat/completions",
        {
            "model": "demo-chat",
            "messages": [{"role": "user", "content": "Hello"}],
            "temperature": 0,
        },
    )
    assert chat["choices"][0]["message"]["content"].startswith("The server ")
    embedded = post(shipped, "/v1/embeddings", {"model": "demo-embedding", "input": "the dog"})
    assert len(embedded["data"][0]["embedding"]) == 64
    ranked = post(
        shipped,
        "/v1/rerank",
        {"model": "demo-reranker", "query": "the dog", "documents": ["the dog sleeps", "tokens"]},
    )
    assert sorted(result["index"] for result in ranked["results"]) == [0, 1]
    assert shipped.end(signal.SIGINT) == 0
    assert not survivors(shipped)
