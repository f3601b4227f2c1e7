"""One running program, seen from outside: every way in which it can fail to answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from core import client
from core.client import Client, NotRunning, Refused, default_url
from core.launchers.ports import free_port
from tests.fakes.stub import Stub, running


@pytest.fixture
def stub() -> Iterator[Stub]:
    with running() as stub:
        yield stub


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("mypc", "http://mypc"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_addresses(given: str, url: str) -> None:
    assert Client(given).url == url


@pytest.mark.parametrize("given", ["http://x:abc", "http://x:99999", "https://x", "http://", "//["])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(click.BadParameter):
        Client(given)


def test_answers(stub: Stub) -> None:
    stub.say("GET /api/info", {"name": "模型"})
    stub.say("POST /x/start", 1)
    stub.say("POST /x/start?wait=1", 2)
    there = Client(stub.url)
    assert there.get("/api/info") == {"name": "模型"}
    assert there.post("/x/start") == 1
    assert there.post("/x/start", wait=True) == 2


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port(())}"
    with pytest.raises(NotRunning) as caught:
        Client(url).get("/api/info")
    assert f"LLM-Manager is not running at {url}" in caught.value.message
    assert "--url" in caught.value.message
    assert caught.value.exit_code == 1


def test_the_program_s_own_words(stub: Stub) -> None:
    stub.refuse("POST /x", "'x' did not start: no memory")
    with pytest.raises(Refused, match="'x' did not start: no memory"):
        Client(stub.url).post("/x")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>nginx", "<html>nginx"),
        (b"", "the program answered with an error"),
        (b"[]", "[]"),
        (b'{"error": "plain"}', '{"error": "plain"}'),
        (b"\xff" * 1000, "\ufffd" * 500),
    ],
)
def test_an_error_of_another_kind(stub: Stub, body: bytes, words: str) -> None:
    stub.answers["GET /x"] = (502, body)
    with pytest.raises(Refused) as caught:
        Client(stub.url).get("/x")
    assert caught.value.message == words


def test_another_program(stub: Stub) -> None:
    stub.answers["GET /x"] = (200, b"<html>It works!")
    with pytest.raises(Refused, match="is not LLM-Manager"):
        Client(stub.url).get("/x")


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-OpenSSH\r\n"])
def test_no_http(stub: Stub, raw: bytes) -> None:
    stub.answers["GET /x"] = (0, raw)
    with pytest.raises(NotRunning):
        Client(stub.url).get("/x")


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
CUT_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n9"


def test_an_answer_that_breaks_off(stub: Stub) -> None:
    stub.answers["GET /x"] = (0, CUT)
    with pytest.raises(NotRunning, match="was lost"):
        Client(stub.url).get("/x")


def test_a_stream(stub: Stub) -> None:
    stub.answers["GET /x"] = (200, "data: 1\n\ndata: ä\r\n\n".encode())
    assert list(Client(stub.url).lines("/x")) == ["data: 1", "", "data: ä", ""]


def test_a_stream_that_breaks_off(stub: Stub) -> None:
    stub.answers["GET /x"] = (0, CUT_CHUNKS)
    lines = Client(stub.url).lines("/x")
    assert next(lines) == "data: 1"
    with pytest.raises(NotRunning, match="was lost"):
        list(lines)


# ---- where it is by itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "env", "url"),
    [
        ({}, {}, "http://127.0.0.1:8080"),
        ({"port": 9000}, {}, "http://127.0.0.1:9000"),
        ({"host": "0.0.0.0", "port": 9000}, {}, "http://127.0.0.1:9000"),
        ({"host": "::"}, {}, "http://127.0.0.1:8080"),
        ({"host": "localhost"}, {}, "http://127.0.0.1:8080"),
        ({"host": "192.168.1.5"}, {}, "http://192.168.1.5:8080"),
        ({"host": "fd00::5"}, {}, "http://[fd00::5]:8080"),
        ({"port": 9000}, {"LLM_MANAGER_PORT": "9001"}, "http://127.0.0.1:9001"),
        (None, {}, "http://127.0.0.1:8080"),
        (None, {"LLM_MANAGER_PORT": "9001"}, "http://127.0.0.1:9001"),
        ("broken", {}, "http://127.0.0.1:8080"),
    ],
)
def test_where_the_config_says(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: object,
    env: dict[str, str],
    url: str,
) -> None:
    monkeypatch.setattr(client, "HOME", tmp_path)
    for name in ("LLM_MANAGER_PORT", "LLM_MANAGER_HOST", "LLM_MANAGER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    if program is not None:
        (tmp_path / "config.json").write_text(json.dumps({"program": program}))
    assert default_url() == url
    assert Client(default_url()).url == url
