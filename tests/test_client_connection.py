"""The connection: order, slow clients, idle time and the end of the program on the short way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.client_connection import ClientConnection
from tests.fakes.site import connected
from tests.fakes.upstream import until_left
from tests.fakes.waiting import until
from tests.test_fast_path import EVENT, OK, SSE, Stage, post, read_answer, stage, warm

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def line(at: Stage) -> ClientConnection:
    """The only connection."""
    (connection,) = at.site.server.connections
    assert isinstance(connection, ClientConnection)
    return connection


@contextlib.asynccontextmanager
async def streaming(
    monkeypatch: pytest.MonkeyPatch, go: asyncio.Event
) -> AsyncIterator[tuple[Stage, asyncio.StreamReader, asyncio.StreamWriter]]:
    """An answer on the short way that goes on when `go` is set."""
    script = (SSE, EVENT, go, b"0\r\n\r\n")
    async with stage(script, (OK,), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
        writer.write(post())
        assert await reader.readuntil(EVENT) == SSE + EVENT
        assert (at.long_way, line(at)._request is not None) == ([], True)
        yield at, reader, writer


@pytest.mark.parametrize("pieces", [1, 7])
async def test_requests_that_do_not_wait_for_each_other_are_answered_in_order(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    go = asyncio.Event()
    async with streaming(monkeypatch, go) as (at, reader, writer):
        next_two = HEALTH + post()
        step = -(-len(next_two) // pieces)
        for begin in range(0, len(next_two), step):
            writer.write(next_two[begin : begin + step])
            await writer.drain()
        await until(lambda: line(at)._messages)
        assert len(at.server.requests) == 1
        go.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        assert b'"ok"' in await read_answer(reader)
        assert await read_answer(reader) == OK


async def test_head_and_body_may_come_in_any_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.client_connection.BODY_FOLLOWS", 60.0)
    async with stage((OK,), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
        connection, whole = line(at), post()
        for cut in range(1, len(whole)):
            connection.data_received(whole[:cut])
            writer.write(whole[cut:])
            assert await read_answer(reader) == OK
        for byte in whole[:-1]:
            connection.data_received(bytes((byte,)))
        writer.write(whole[-1:])
        assert await read_answer(reader) == OK
        assert at.long_way == []
        assert len(set(at.server.requests)) == 1


async def test_a_body_that_comes_late_is_read_in_the_usual_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.client_connection.BODY_FOLLOWS", 0.01)
    async with stage((OK,), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
        connection, whole = line(at), post()
        connection.data_received(whole[:-5])
        assert connection._body_timer is not None
        assert at.site.gateway.flights.in_flight == {}
        await until(lambda: at.long_way)
        writer.write(whole[-5:])
        assert await read_answer(reader) == OK
        assert (len(at.server.requests), connection._body_timer) == (1, None)


async def test_a_client_that_leaves_before_its_body_came(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage((OK,), monkeypatch=monkeypatch) as at:
        async with warm(at):
            connection = line(at)
            connection.data_received(post()[:-5])
        await until(lambda: not at.site.server.connections)
        assert (connection._body_timer, at.server.requests, at.ended) == (None, [], [])


async def test_a_large_body_goes_the_usual_way(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"model": "chat", "x": "%b"}' % (b"x" * 3_000_000)
    async with stage((OK,), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
        writer.write(post(body=body))
        assert await read_answer(reader) == OK
        assert at.server.requests[0].endswith(b"\r\n\r\n" + body)
        assert at.long_way == ["/v1/chat/completions"]


async def test_a_client_that_reads_nothing_stops_the_server_and_goes_on_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = 0
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    count = 400  # far more than the sockets take

    async def much(connection: Any) -> None:
        nonlocal sent
        for _ in range(count):
            connection.writer.write(chunk)
            await connection.writer.drain()
            sent += 1
        connection.writer.write(b"0\r\n\r\n")

    async with stage((SSE, much), monkeypatch=monkeypatch) as at, warm(at) as (reader, writer):
        writer.write(post())
        await until(lambda: line(at)._behind is not None)
        (upstream,) = at.pool._open
        assert at.long_way == []
        assert sent < count
        assert upstream.busy
        assert line(at).transport is not None
        body = 0
        await reader.readuntil(b"\r\n\r\n")
        while body < count * len(chunk) + 5:
            data = await reader.read(1 << 20)
            assert data
            body += len(data)
        await until(at.at_rest)
        assert [e.outcome for e in at.ended] == ["ok"]
        writer.write(HEALTH)
        assert b'"ok"' in await read_answer(reader)


async def test_aiohttp_s_clock_closes_idle_connections_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = asyncio.Event()
    async with streaming(monkeypatch, go) as (at, reader, _):
        connection = line(at)
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()  # its time is over, but an answer is on its way
        go.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        await until(lambda: connection._request is None)
        assert connection._next_keepalive_close_time > asyncio.get_running_loop().time()
        assert connection._keepalive_handle is not None
        connection._next_keepalive_close_time = 0.0
        connection._process_keepalive()
        assert await reader.read() == b""


async def test_a_connection_may_end_after_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    go = asyncio.Event()
    async with streaming(monkeypatch, go) as (at, reader, _):
        at.site.server.pre_shutdown()  # the program is about to end
        go.set()
        assert await reader.read() == b"0\r\n\r\n"
        await until(at.at_rest)
        assert [e.outcome for e in at.ended] == ["ok"]


@pytest.mark.parametrize("patient", [True, False])
async def test_the_end_of_the_program_waits_for_an_answer(
    monkeypatch: pytest.MonkeyPatch, patient: bool
) -> None:
    go = asyncio.Event()
    async with streaming(monkeypatch, go) as (at, reader, _):
        at.site.server.pre_shutdown()
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(line(at).shutdown(15.0 if patient else 0.01))
            if patient:
                await asyncio.sleep(0)
                assert not ending.done()
                go.set()
        rest = await reader.read()
        assert rest == (b"0\r\n\r\n" if patient else b"")
        await until(lambda: not at.site.gateway.flights.in_flight)
        assert at.ended[0].outcome == ("ok" if patient else "client_closed")
        go.set()


async def test_clients_may_come_and_go_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage((SSE, until_left), monkeypatch=monkeypatch) as at:
        for _ in range(20):
            async with connected(at.site.port):
                pass
        await until(lambda: not at.site.server.connections)
        assert at.long_way == []
