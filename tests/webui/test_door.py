"""Closing the program to other machines, from the dashboard's button to the config file."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.webui.program import Program

PATH = "/api/only-this-machine"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path, host="0.0.0.0")
    program.model("chat", "Chat")
    program.write_config()
    yield program
    program.stop()


def host_in_file(program: Program) -> str:
    return str(json.loads((program.folder / "config.json").read_text())["program"]["host"])


def refusal(program: Program, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(program.address + PATH, b"", headers, method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    with caught.value as answer:
        return answer.code, json.load(answer)["error"]["message"]


def test_the_door_is_closed_for_the_next_start_by_our_own_pages_alone(program: Program) -> None:
    program.start()
    status, message = refusal(program, Origin="http://evil.example")
    assert (status, host_in_file(program)) == (403, "0.0.0.0")
    assert "evil.example" in message
    assert program.post(PATH) == {"after_restart": True}
    assert host_in_file(program) == "127.0.0.1"
    assert program.get("/api/health")["status"] == "ok"


def test_a_host_of_the_command_line_is_closed_there(program: Program) -> None:
    program.start(0, "--host", "127.0.0.1")
    assert refusal(program) == (
        409,
        "the address stays as it was: --host decides the address: change it there.",
    )
    assert host_in_file(program) == "0.0.0.0"
