"""The health checks of the shipped interfaces against servers in every mood."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from plugins.interfaces.base import BaseInterface
from plugins.interfaces.Base_Class import InterfacePlugin
from plugins.interfaces.chat import ChatInterface
from plugins.interfaces.embedding import EmbeddingInterface
from plugins.interfaces.reranker import RerankerInterface

PLUGINS: list[tuple[type[Any], str, dict[str, Any], dict[str, Any]]] = [
    (
        ChatInterface,
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
        {"choices": []},
    ),
    (BaseInterface, "/v1/completions", {"prompt": "hi", "max_tokens": 1}, {"choices": []}),
    (EmbeddingInterface, "/v1/embeddings", {"input": "hi"}, {"data": []}),
    (
        RerankerInterface,
        "/v1/rerank",
        {"query": "hi", "documents": ["hi"], "top_n": 1},
        {"results": []},
    ),
]


class Server(ThreadingHTTPServer):
    """Answers every request with `answer`, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self, status: int, answer: Any, health: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.answer, self.health = status, answer, health
        self.asked: list[tuple[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, body))
        self.reply(self.server.status, self.server.answer)

    def do_GET(self) -> None:
        self.server.asked.append((self.path, None))
        self.reply(self.server.health, {"error": {"message": "Loading model"}})

    def reply(self, status: int, answer: Any) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def serving(status: int, answer: Any, health: int = 404) -> Iterator[Server]:
    server = Server(status, answer, health)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def check(port: int, plugin: InterfacePlugin | None = None) -> tuple[bool, str]:
    return (plugin or ChatInterface()).health_check("the-model", port, 0.0, 300)


@pytest.mark.parametrize(("plugin", "path", "body", "answer"), PLUGINS)
def test_one_real_request_of_the_smallest_kind(
    plugin: type[Any], path: str, body: dict[str, Any], answer: dict[str, Any]
) -> None:
    with serving(200, answer) as server:
        ok, message = check(server.server_port, plugin())
    assert ok, message
    assert message.startswith("answered in 0.")
    assert server.asked == [(path, {"model": "the-model", **body})]


@pytest.mark.parametrize(("plugin", "path"), [each[:2] for each in PLUGINS])
def test_requests_go_to_their_own_endpoints_only(plugin: type[Any], path: str) -> None:
    interface = plugin()
    assert interface.validate_request(path, "m") == (True, "")
    assert interface.validate_request(path.strip("/"), "m") == (True, "")
    ok, message = interface.validate_request("v1/responses", "m")
    assert not ok
    assert f"模型 'm' 是 '{interface.interface_name}' 模式, 只支持 /" in message
    assert f"model 'm' is a {interface.interface_name} model and serves only /" in message
    assert path in message


def test_a_chat_model_also_completes_texts_but_not_the_other_way_round() -> None:
    assert ChatInterface().validate_request("v1/completions", "m")[0]
    assert not BaseInterface().validate_request("v1/chat/completions", "m")[0]


LLAMA = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}


@pytest.mark.parametrize(
    ("status", "answer", "ok", "words"),
    [
        (503, LLAMA, False, "loading: 503 Loading model"),
        (503, b"<html>busy", False, "loading: 503 <html>busy"),
        (500, {"error": {"message": "no logits"}}, False, "error: 500 no logits"),
        (404, {"error": {"message": "no model x"}}, False, "'the-model': 404 no model x"),
        (404, {"detail": "Not Found"}, False, "does not serve /v1/chat/completions"),
        (501, {"error": {"message": "no such"}}, False, "does not serve /v1/chat/completions"),
        (405, b"", False, "does not serve"),
        (400, {"error": "no chat template"}, True, "refused the test request: 400 no chat"),
        (422, {"detail": [{"msg": "x"}]}, True, "refused the test request: 422"),
        (400, b"Bad Request", False, "error: 400 Bad Request"),
        (401, {"error": {"message": "Invalid API Key"}}, True, ": 401 Invalid API Key"),
        (429, b"", True, ": 429"),
        (302, b"", False, "error: 302"),
        (200, b"<html>router</html>", False, "200 without 'choices'"),
        (200, {"choice": 1}, False, "200 without 'choices'"),
        (200, ["choices"], False, "200 without 'choices'"),
    ],
)
def test_what_each_answer_means(status: int, answer: Any, ok: bool, words: str) -> None:
    with serving(status, answer) as server:
        healthy, message = check(server.server_port)
    assert (healthy, words in message) == (ok, True), message


def test_a_server_with_a_key_may_still_be_loading() -> None:
    with serving(401, {}, health=503) as server:
        assert check(server.server_port) == (False, "loading: 503 Loading model")
    assert [path for path, _ in server.asked] == ["/v1/chat/completions", "/health"]


def test_nobody_there() -> None:
    with socket.socket() as bound:  # bound, but it does not listen
        bound.bind(("127.0.0.1", 0))
        ok, message = check(bound.getsockname()[1])
    assert not ok
    assert message in ("connection refused", "no answer within 2 s")


class Hasty(ChatInterface):
    answer_limit = 0.1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_server_that_accepts_and_is_silent(listener: socket.socket) -> None:
    assert check(listener.getsockname()[1], Hasty()) == (False, "no answer within 0 s")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n\x00"])
def test_something_else_than_http(listener: socket.socket, said: bytes) -> None:
    def answer() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(said)

    thread = threading.Thread(target=answer)
    thread.start()
    ok, message = check(listener.getsockname()[1])
    thread.join()
    assert not ok
    assert message.startswith(("no proper answer", "200 without", "no answer"))


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with serving(200, {"choices": "x" * (1 << 21)}) as server:
        assert check(server.server_port)[0] is False
