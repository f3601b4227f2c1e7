"""What a start-up script may rely on."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from core.domain import DeviceReading
from core.script_environment import pick_port, script_env
from tests.scheduling.worlds import model, variant

CHAT = model("Qwen/Qwen3", variant("GPU", v100=10, rtx=5), env={"A": "b", "LLM_HOST": "mine"})


def reading(name: str, index: int | None) -> DeviceReading:
    return DeviceReading(name, True, 16, 16, index=index)


def test_the_names_of_the_contract() -> None:
    env = script_env(replace(CHAT, env={}), CHAT.variants[0], 10001, {})
    python = env.pop("LLM_MANAGER_PYTHON")
    assert env == {
        "LLM_PORT": "10001",
        "LLM_HOST": "127.0.0.1",
        "LLM_MODEL": "Qwen/Qwen3",
        "LLM_VARIANT": "GPU",
        "LLM_DEVICES": "v100,rtx",
        "PYTHONUTF8": "1",
    }
    assert python == sys.executable


@pytest.mark.parametrize(
    ("indices", "visible"),
    [
        ({"v100": 1, "rtx": 0}, "1,0"),
        ({"v100": 1, "rtx": None}, "1"),
        ({"v100": 0}, "0"),
        ({"v100": None, "rtx": None}, None),
        ({"other": 3}, None),
        ({}, None),
    ],
)
def test_visible_devices_where_they_know_their_number(
    indices: dict[str, int | None], visible: str | None
) -> None:
    readings = {name: reading(name, index) for name, index in indices.items()}
    env = script_env(CHAT, CHAT.variants[0], 1, readings)
    assert env.get("CUDA_VISIBLE_DEVICES") == visible
    assert env.get("CUDA_DEVICE_ORDER") == ("PCI_BUS_ID" if visible else None)


def test_the_model_has_the_last_word() -> None:
    env = script_env(CHAT, CHAT.variants[0], 1, {})
    assert (env["A"], env["LLM_HOST"]) == ("b", "mine")


def test_a_script_gets_the_python_that_has_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python.exe").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "pythonw.exe"))
    env = script_env(CHAT, CHAT.variants[0], 1, {})
    assert env["LLM_MANAGER_PYTHON"] == str(tmp_path / "python.exe")


def test_a_free_port() -> None:
    first = pick_port(CHAT, set())
    assert 0 < first < 65536
    assert pick_port(CHAT, {first}) != first


def test_a_port_of_its_own() -> None:
    port = pick_port(CHAT, set())  # below those that the system gives to anybody's connections
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(OSError, match=str(port)):
            pick_port(replace(CHAT, port=port), set())
    assert pick_port(replace(CHAT, port=port), set()) == port
