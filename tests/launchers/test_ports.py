"""Free ports, taken ports, and whose port it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core.launchers import ports
from tests.windows.here import under_wine

ME = os.getpid()
names_holders = pytest.mark.skipif(under_wine(), reason="wine cannot tell whose socket it is")


@contextmanager
def listening(address: str = "127.0.0.1", port: int = 0, *, shared: bool = False) -> Iterator[int]:
    """Not at a port that the system picks: once it is free again, the next connection of anybody
    on this machine may get it."""
    port = port or ports.free_port(())
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address, port))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_is_not_taken_and_can_be_bound() -> None:
    port = ports.free_port(())
    assert ports.FIRST <= port <= ports.LAST
    with listening(port=port):
        pass


def test_a_free_port_avoids_those_in_use_and_those_promised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = ports.free_port(())
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports, "LAST", first + 2)
    assert ports.free_port({first + 1}) == first
    with listening(port=first), pytest.raises(OSError, match="no free port"):
        ports.free_port({first + 1})


@names_holders
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_the_probe_names_who_has_the_port(address: str) -> None:
    try:
        with listening(address) as port:
            name = ports.port_holder(port)
            assert name
            assert f"(pid {ME})" in name
            with pytest.raises(OSError, match=f"port {port} is taken by .*pid {ME}"):
                ports.bind_probe(port)
    except OSError:
        if address != "::":
            raise
        pytest.skip("no IPv6 on this machine")
    ports.bind_probe(port)
    assert ports.port_holder(port) is None


def test_connections_of_the_last_server_are_no_obstacle() -> None:
    port = ports.free_port(())
    with socket.create_server(("127.0.0.1", port)) as server:
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # we close first: the port lingers in TIME_WAIT
    ports.bind_probe(port)


def test_a_port_of_the_tree_is_ours() -> None:
    with listening() as port:
        assert ports.stranger_on(port, [ME]) is None


def test_a_port_that_nobody_serves() -> None:
    port = ports.free_port(())
    assert ports.stranger_on(port, []) == f"nobody listens on 127.0.0.1:{port}"


@names_holders
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_tree_that_listens_elsewhere_is_told_where(address: str) -> None:
    try:
        other = listening(address)
        with other as elsewhere:
            port = ports.free_port({elsewhere})
            sentence = ports.stranger_on(port, [ME])
    except OSError:
        if address == "127.0.0.1":
            raise
        pytest.skip("no IPv6 on this machine")
    place = f"[::1]:{elsewhere}" if ":" in address else f"127.0.0.1:{elsewhere}"
    assert sentence is not None
    assert f"nobody listens on 127.0.0.1:{port}, but its processes on " in sentence
    assert place in sentence
    assert "LLM_PORT" in sentence


@names_holders
def test_the_right_port_of_the_wrong_address_is_not_said_to_be_a_strangers() -> None:
    try:
        with listening("::1") as port:
            sentence = ports.stranger_on(port, [ME])
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert sentence is not None
    assert sentence.startswith(f"nobody listens on 127.0.0.1:{port}, but its processes on ")
    assert f"[::1]:{port}" in sentence


@names_holders
def test_a_port_of_somebody_else_is_told_with_the_name() -> None:
    with listening() as port:
        sentence = ports.stranger_on(port, [os.getppid()])
    assert sentence is not None
    assert f"port {port} is answered by" in sentence
    assert f"(pid {ME})" in sentence


async def test_it_is_known_beforehand_where_a_refusal_takes_long() -> None:
    with listening() as port:
        assert not await ports.refuses_slowly(port)
    free = ports.free_port(())
    assert await ports.refuses_slowly(free) == (sys.platform == "win32")


def test_a_forwarder_stands_for_the_server_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_name", lambda pid: "docker-proxy")
    with listening() as port:
        assert ports.stranger_on(port, [os.getppid()]) is None


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only: Windows names every holder")
@pytest.mark.parametrize(("running", "ours"), [("docker-proxy", True), ("nginx", False)])
def test_a_holder_that_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch, running: str, ours: bool
) -> None:
    monkeypatch.setattr(ports, "_holders", lambda port: [0])
    monkeypatch.setattr(ports, "_name", lambda pid: running)
    with listening() as port:
        sentence = ports.stranger_on(port, [os.getppid()])
    assert sentence is None if ours else "is answered by another program" in str(sentence)


SHARING = """
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(); print("up", flush=True); sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="POSIX only: the rule of Linux")
def test_the_most_exact_address_decides_whose_port_it_is() -> None:
    with listening("0.0.0.0", shared=True) as port:
        assert ports.stranger_on(port, [ME]) is None
        with subprocess.Popen(
            [sys.executable, "-c", SHARING, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout
            other.stdout.readline()
            assert ports.stranger_on(port, [ME]) is not None
            assert ports.stranger_on(port, [other.pid]) is None
            assert other.stdin
            other.stdin.close()
