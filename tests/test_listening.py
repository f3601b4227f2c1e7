"""The program's own address, or a clear sentence why not."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from core import listening
from core.listening import AddressTaken, Listener, listen
from tests.fakes.waiting import DEADLINE
from tests.windows.here import under_wine


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


@pytest.fixture
def opened() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def open_one(host: str, port: int = 0) -> Listener:
        made.append(listen(host, port))
        return made[-1]

    yield open_one
    for listener in made:
        for sock in listener.sockets:
            sock.close()


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=DEADLINE).close()
    except OSError:
        return False
    return True


class Stub(BaseHTTPRequestHandler):
    """Some other program, or another LLM-Manager."""

    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def program() -> Iterator[Callable[[Any], int]]:
    """Serves this text at a port of its own."""
    made: list[tuple[HTTPServer, threading.Thread]] = []

    def serve(text: Any) -> int:
        kind = type("Kind", (Stub,), {"body": text.encode()})
        server = HTTPServer(("127.0.0.1", 0), kind)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        made.append((server, thread))
        return int(server.server_address[1])

    yield serve
    for server, thread in made:
        server.shutdown()
        server.server_close()
        thread.join()


# ---- what is bound -----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_any_free_port(opened: Callable[..., Listener], host: str) -> None:
    listener = opened(host)
    assert listener.port > 0
    assert answers("127.0.0.1", listener.port)
    for sock in listener.sockets:
        assert sock.proto == socket.IPPROTO_TCP  # else the loops leave Nagle's algorithm on
        assert not sock.getblocking()


@ipv6
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::"])
def test_localhost_is_answered_in_both_families(opened: Callable[..., Listener], host: str) -> None:
    listener = opened(host)
    assert answers("127.0.0.1", listener.port)
    assert answers("::1", listener.port)


@ipv6
def test_ipv6_alone(opened: Callable[..., Listener]) -> None:
    listener = opened("::1")
    assert len(listener.sockets) == 1
    assert answers("::1", listener.port)
    assert listener.address == f"http://[::1]:{listener.port}"


@ipv6
def test_a_companion_that_is_taken_is_done_without(opened: Callable[..., Listener]) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
        listener = opened("127.0.0.1", other.getsockname()[1])
        assert len(listener.sockets) == 1


def test_localhost_is_ipv4_whatever_is_looked_up_first(
    opened: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line looks there."""
    look_up = socket.getaddrinfo

    def ipv6_first(host: str, *args: Any, **more: Any) -> Any:
        return look_up("::1" if host == "localhost" else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", ipv6_first)
    assert answers("127.0.0.1", opened("localhost").port)


@pytest.mark.parametrize(
    ("host", "address", "network"),
    [
        ("127.0.0.1", "http://127.0.0.1:8", False),
        ("127.0.0.9", "http://127.0.0.9:8", False),
        ("localhost", "http://localhost:8", False),
        ("::1", "http://[::1]:8", False),
        ("0.0.0.0", "http://127.0.0.1:8", True),
        ("::", "http://127.0.0.1:8", True),
        ("192.168.1.5", "http://192.168.1.5:8", True),
        ("fd00::5", "http://[fd00::5]:8", True),
        ("mypc", "http://mypc:8", True),
    ],
)
def test_what_a_person_types(host: str, address: str, network: bool) -> None:
    listener = Listener((), host, 8)
    assert listener.address == address
    assert listener.reachable_from_network is network


# ---- why not -----------------------------------------------------------------------------------


def refusal(host: str, port: int) -> AddressTaken:
    with pytest.raises(AddressTaken) as caught:
        listen(host, port)
    return caught.value


def test_a_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        # Nobody serves it: the question whether it is an LLM-Manager must not take for ever.
        error = refusal("127.0.0.1", port)
    assert f"port {port} is taken by" in str(error)
    assert under_wine() or str(os.getpid()) in str(error)  # wine cannot tell whose socket it is
    assert "--port" in str(error)
    assert error.ours is None


def test_another_llm_manager_is_recognised(program: Callable[[Any], int]) -> None:
    port = program(json.dumps({"name": "LLM-Manager", "pid": 4711}))
    error = refusal("127.0.0.1", port)
    assert str(error) == f"LLM-Manager is already running at http://127.0.0.1:{port} (pid 4711)"
    assert error.ours == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        "[]",
        "null",
        '{"name": "LLM-Manager"}',
        '{"name": "LLM-Manager", "pid": null}',
        '{"name": "LLM-Manager", "pid": []}',
        '{"name": "other", "pid": 1}',
        "x" * 100_000,
    ],
)
def test_any_other_program_is_not(program: Callable[[Any], int], text: str) -> None:
    error = refusal("127.0.0.1", program(text))
    assert error.ours is None
    assert "is taken by" in str(error)


@pytest.mark.parametrize("host", ["192.0.2.1", "", "a b", "x" * 300, "."])
def test_an_address_of_another_machine(program: Callable[[Any], int], host: str) -> None:
    port = program(json.dumps({"name": "LLM-Manager", "pid": 4711}))
    assert "is not an address of this machine" in str(refusal(host, port))


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
def test_a_port_that_cannot_be(port: int) -> None:
    assert "is not an address" in str(refusal("127.0.0.1", port))


def test_a_port_that_one_may_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(host: str, port: int) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(listening, "_bind", refused)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert (
        str(refusal("127.0.0.1", port)) == f"cannot listen on 127.0.0.1:{port}: Permission denied"
    )


def test_nothing_is_left_open_after_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        refusal("127.0.0.1", other.getsockname()[1])  # an unclosed socket is a warning: an error
