"""Requests through the whole program to real child processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import re
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.exchange import STALE_WITHIN
from tests.e2e.conftest import Start
from tests.fakes.program import Program, model
from tests.fakes.waiting import DEADLINE, until_sync


def test_two_hundred_clients_on_a_cold_model(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a", "slow_load=0.3")})
    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: running.chat("a", max_tokens=2), range(200)))
    assert {status for status, _ in answers} == {200}
    assert running.model("a")["starts"] == 1
    assert len({answer["choices"][0]["message"]["content"] for _, answer in answers}) == 1
    assert running.model("a")["pending"] == 0


def test_errors_have_their_codes(start: Start, tmp_path: Path) -> None:
    running = start(
        {
            "a": model(tmp_path, "a"),
            "e": model(tmp_path, "e", mode="Embedding"),
            "huge": model(tmp_path, "huge", memory={"gpu0": 99_000}),
            "off": model(tmp_path, "off", memory={"v100": 10}),
            "odd": model(tmp_path, "odd", mode="NoSuchMode"),
            "slow": model(tmp_path, "slow", "never_healthy", start_timeout=1),
        }
    )
    chat = "/v1/chat/completions"
    rows: list[tuple[str, str, Any, int, str]] = [
        ("POST", chat, b"{not json", 400, "invalid_json"),
        ("POST", chat, {"messages": []}, 400, "missing_model"),
        ("POST", chat, {"model": "nobody"}, 404, "model_not_found"),
        ("POST", chat, {"model": "e"}, 400, "endpoint_not_supported"),
        ("POST", "/v1/no/such", {"model": "a"}, 404, "not_found"),
        ("POST", chat, {"model": "huge"}, 503, "insufficient_memory"),
        ("POST", chat, {"model": "off"}, 503, "no_device"),
        ("POST", chat, {"model": "slow"}, 504, "start_timeout"),
        ("GET", "/v1/models/nobody", None, 404, "model_not_found"),
        ("GET", chat, None, 405, "method_not_allowed"),
        ("POST", "/api/models/nobody/start", None, 404, "model_not_found"),
    ]
    for method, path, body, status, code in rows:
        got, answer = running.ask(method, path, body)
        assert (got, answer["error"]["code"]) == (status, code), (path, body, answer)
        assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert "99000 MB" in running.chat("huge")[1]["error"]["message"]
    assert "16000 MB" in running.chat("huge")[1]["error"]["message"]


def test_a_server_that_dies_before_its_answer_is_an_upstream_error(
    start: Start, tmp_path: Path
) -> None:
    running = start({"a": model(tmp_path, "a")})
    running.ask("POST", "/api/models/a/start?wait=1")
    port = running.model("a")["port"]
    # Not asked: a connection that was used before would be tried once more.
    said = "\n".join(running.ask("GET", "/api/models/a/logs")[1]["lines"])
    found = re.search(r"fake server a \S+ pid (\d+)", said)
    assert found, said
    server = psutil.Process(int(found[1]))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(running.chat, "a", fake_wait=60)
        until_sync(lambda: _stats(port)["active"] == 1)
        # Old enough that nobody takes a kept connection for one that had gone stale.
        until_sync(lambda: _first_seconds(running) > 2 * STALE_WITHIN)
        server.kill()
        status, body = answer.result()
    assert (status, body["error"]["code"]) == (502, "upstream_error")
    # Dead, and seen to be: a process on its way out may still be connected to, and reset it.
    until_sync(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    until_sync(lambda: running.model("a")["pid"] is None)
    assert running.chat("a")[0] == 200


@pytest.mark.parametrize("shape", ["exec", "plain", "setsid"])
def test_a_crash_while_loading_is_told_to_everybody(
    start: Start, tmp_path: Path, shape: str
) -> None:
    crash = model(tmp_path, "c", "crash_during_load=0.2", "exit_code=7", shape=shape)
    running = start({"c": crash})
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: running.chat("c"), range(50)))
    for status, answer in answers:
        assert status == 503
        assert answer["error"]["code"] == "model_failed"
        if shape != "leaves_child":
            assert "exit code 7" in answer["error"]["message"]
    failure = running.model("c")["failure"]
    assert failure["log_tail"]
    assert running.model("c")["starts"] == 1
    assert running.model("c")["memory_mb"] == {}


def test_a_stream_arrives_chunk_by_chunk(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    running.chat("a")
    body = {"model": "a", "messages": [], "stream": True, "max_tokens": 3, "fake_delay": 0.3}
    with running.stream("/v1/chat/completions", body) as response:
        assert response.readline().startswith(b"data:")
        assert running.model("a")["pending"] == 1
        assert b"[DONE]" in response.read()


def test_a_server_that_dies_in_its_answer_never_ends_it_cleanly(
    start: Start, tmp_path: Path
) -> None:
    running = start({"a": model(tmp_path, "a", "crash_mid_stream=2")})
    body = {"model": "a", "messages": [], "stream": True, "max_tokens": 9}
    with running.stream("/v1/chat/completions", body) as response:
        with pytest.raises(http.client.IncompleteRead) as broken:
            response.read()
    text = broken.value.partial
    assert b"event: error" in text
    assert b"upstream_error" in text
    assert b"[DONE]" not in text
    until_sync(lambda: running.model("a")["pending"] == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_upstream_request(
    start: Start, tmp_path: Path, stream: bool
) -> None:
    running = start({"a": model(tmp_path, "a")})
    running.chat("a")
    port = running.model("a")["port"]
    delays = {"fake_delay": 0.2} if stream else {"fake_wait": 60}
    body = json.dumps({"model": "a", "messages": [], "stream": stream, "max_tokens": 500, **delays})
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
        )
        client.sendall(f"{head}\r\n\r\n{body}".encode())
        until_sync(lambda: _stats(port)["active"] == 1)
    until_sync(lambda: _stats(port)["active"] == 0)
    until_sync(lambda: running.model("a")["pending"] == 0)


def test_upstream_model_renames_and_leaves_the_rest_alone(start: Start, tmp_path: Path) -> None:
    entry = model(tmp_path, "a", upstream_model="real-name")
    running = start({"a": entry})
    raw = b'{"n": 1.000, "model":"a", "messages":[], "big": 12345678901234567890}'
    assert running.ask("POST", "/v1/chat/completions", raw)[0] == 200
    seen = _get(running.model("a")["port"], "/last")["body"]
    assert json.loads(seen)["model"] == "real-name"
    assert "1.000" in seen
    assert "12345678901234567890" in seen


def test_who_never_ends_a_request_is_shown_out_and_who_uploads_slowly_is_not(
    start: Start, tmp_path: Path
) -> None:
    running = start({"a": model(tmp_path, "a")})
    running.chat("a")
    body = b'{"model": "a", "messages": []}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    with contextlib.ExitStack() as stack:
        silent, half, kept, slow = (
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=60))
            for _ in range(4)
        )
        half.sendall(head[:40])
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in kept.recv(65536)
        slow.sendall(head % len(body) + body[:9])
        for never in (silent, half):
            with contextlib.suppress(ConnectionResetError):
                assert never.recv(1) == b""
        slow.sendall(body[9:])
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")
        kept.sendall(head % len(body) + body)
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_the_body_goes_through_byte_by_byte(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a")})
    raw = '{ "messages" : [],\n\t"model": "a", "odd": "\\u00e4 ä 中" }'.encode()
    assert running.ask("POST", "/v1/chat/completions", raw)[0] == 200
    assert _get(running.model("a")["port"], "/last")["body"].encode() == raw


def test_room_is_made_and_memory_comes_back(start: Start, tmp_path: Path) -> None:
    running = start(
        {
            name: model(tmp_path, name, memory={"gpu0": 10_000}, stop_timeout=5)
            for name in ("a", "b")
        },
        devices={"gpu0": 16_000},
    )
    for name in ("a", "b", "a"):
        assert running.chat(name)[0] == 200
    assert running.state("b") == "stopped"
    device = running.ask("GET", "/api/devices")[1]["devices"][0]
    assert device["reserved_mb"] == 10_000


def test_start_stop_and_logs_over_the_control_api(start: Start, tmp_path: Path) -> None:
    running = start({"a": model(tmp_path, "a", "print=3")})
    status, answer = running.ask("POST", "/api/models/a/start?wait=1")
    assert (status, answer["state"]) == (200, "ready")
    assert running.ask("GET", "/api/models/a/logs?lines=500")[1]["lines"]
    status, answer = running.ask("POST", "/api/models/a/stop?wait=1")
    assert (status, answer["state"]) == (200, "stopped")
    status, answer = running.ask("POST", "/api/models/a/start")
    assert (status, answer["state"]) == (202, "starting")
    assert running.ask("POST", "/api/models/stop-all?wait=1")[0] == 200
    until_sync(lambda: running.state("a") == "stopped")


def test_v1_models_lists_primary_names(start: Start, tmp_path: Path) -> None:
    running = start({"key": {**model(tmp_path, "a"), "aliases": ["first", "second"]}})
    data = running.ask("GET", "/v1/models")[1]["data"]
    assert [(m["id"], m["aliases"], m["mode"]) for m in data] == [
        ("first", ["first", "second"], "Chat")
    ]
    assert running.ask("GET", "/v1/models/second")[1]["id"] == "first"
    assert running.chat("second")[0] == 200


def _first_seconds(running: Program) -> float:
    """How long the oldest request has been under way."""
    flights = running.ask("GET", "/api/requests")[1]["requests"]
    return max((float(each["seconds"]) for each in flights), default=0.0)


def _stats(port: int) -> Any:
    return _get(port, "/stats")


def _get(port: int, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
