"""Connections to a server: kept, dropped, ended."""

from __future__ import annotations

import asyncio
import socket

import pytest

from core.errors import ServerUnreachable
from core.upstream import SLICE, Upstream, UpstreamPool
from tests.fakes.upstream import Connection, close, scripted, until_left
from tests.fakes.waiting import until

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Reader:
    """Collects what a connection brings."""

    def __init__(self) -> None:
        self.got = b""
        self.lost: str | None = None

    def sink(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, reason: str, *, clean: bool) -> None:
        self.lost = reason

    def ask(self, upstream: Upstream, body: bytes = b"") -> None:
        upstream.send(REQUEST % len(body), body, self, self.sink)


def pool_to(port: int, idle_limit: float = 4.0) -> UpstreamPool:
    return UpstreamPool(asyncio.get_running_loop(), "127.0.0.1", port, idle_limit=idle_limit)


async def answered(pool: UpstreamPool) -> Upstream:
    """A connection that has carried one request and was given back."""
    upstream, reader = await pool.connect(), Reader()
    reader.ask(upstream)
    await until(lambda: reader.got == ANSWER)
    upstream.release(reusable=True)
    return upstream


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with scripted((ANSWER,)) as server:
        pool = pool_to(server.port)
        upstream = await answered(pool)
        assert pool.take() is upstream
        assert pool.take() is None
        pool.close()


async def test_the_last_one_used_is_taken_first() -> None:
    async with scripted((ANSWER,)) as server:
        pool = pool_to(server.port)
        first, second = await pool.connect(), await pool.connect()
        first.release(reusable=True)
        second.release(reusable=True)
        assert pool.take() is second
        pool.close()


async def test_small_writes_are_not_delayed() -> None:
    async with scripted((ANSWER,)) as server:
        pool = pool_to(server.port)
        upstream = await pool.connect()
        sock = upstream.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        pool.close()


async def test_what_is_idle_too_long_is_closed() -> None:
    async with scripted((ANSWER,)) as server:
        pool = pool_to(server.port, idle_limit=0.05)
        upstream = await answered(pool)
        await until(lambda: upstream.transport.is_closing())
        await until(lambda: server.connections[0].ended.is_set())
        assert pool.take() is None


async def test_what_was_idle_too_long_is_not_taken_even_if_nobody_swept_yet() -> None:
    now = 100.0
    async with scripted((ANSWER,)) as server:
        loop = asyncio.get_running_loop()
        pool = UpstreamPool(loop, "127.0.0.1", server.port, clock=lambda: now)
        upstream = await answered(pool)
        now += 4.0
        assert pool.take() is None
        assert upstream.transport.is_closing()
        pool.close()


@pytest.mark.parametrize("event", [b"surprise", close])
async def test_an_idle_connection_that_says_anything_is_dropped(event: bytes) -> None:
    late = asyncio.Event()
    async with scripted((ANSWER, late, event, until_left)) as server:
        pool = pool_to(server.port)
        upstream = await answered(pool)
        late.set()
        await until(lambda: upstream.transport.is_closing())
        assert pool.take() is None
        pool.close()


async def test_a_connection_that_has_not_sent_all_of_its_request_is_not_kept() -> None:
    async def ignore(connection: Connection) -> None:
        await connection.ended.wait()

    async with scripted((ANSWER, ignore)) as server:
        server.read_body = False
        pool = pool_to(server.port)
        upstream, reader = await pool.connect(), Reader()
        reader.ask(upstream, b"x" * (64 << 20))
        await until(lambda: reader.got == ANSWER)
        upstream.release(reusable=True)
        assert upstream.transport.is_closing()
        assert pool.take() is None
        server.connections[0].ended.set()


@pytest.mark.parametrize("size", [0, 1, SLICE - 1, SLICE, SLICE + 1, 5 * SLICE + 7])
async def test_bodies_of_every_size_arrive_whole(size: int) -> None:
    body = bytes(number % 251 for number in range(1000)) * (size // 1000 + 1)
    body = body[:size]
    async with scripted((ANSWER,)) as server:
        pool = pool_to(server.port)
        upstream, reader = await pool.connect(), Reader()
        reader.ask(upstream, body)
        await until(lambda: reader.got == ANSWER)
        assert server.requests == [REQUEST % size + body]
        upstream.release(reusable=True)
        assert pool.take() is upstream
        pool.close()


async def test_a_large_body_is_handed_over_in_pieces() -> None:
    """The transport never holds much of it: some transports would copy it."""

    async def hold(connection: Connection) -> None:
        await connection.ended.wait()

    async with scripted((hold,)) as server:
        server.read_body = False
        pool = pool_to(server.port)
        upstream, reader = await pool.connect(), Reader()
        reader.ask(upstream, b"x" * (64 << 20))
        assert upstream.transport.get_write_buffer_size() <= 2 * SLICE
        await until(lambda: server.requests)
        assert upstream.transport.get_write_buffer_size() <= 2 * SLICE
        pool.close()
        server.connections[0].ended.set()


async def test_close_ends_every_connection_at_once() -> None:
    async with scripted((until_left,)) as server:
        pool = pool_to(server.port)
        idle, busy, reader = await pool.connect(), await pool.connect(), Reader()
        idle.release(reusable=True)
        reader.ask(busy)
        assert pool.active == 1
        pool.close()
        assert reader.lost
        assert pool.active == 0
        await until(lambda: all(connection.ended.is_set() for connection in server.connections))
        with pytest.raises(ServerUnreachable):
            await pool.connect()
        pool.close()


async def test_a_connection_that_comes_up_after_the_close_is_not_used() -> None:
    async with scripted((until_left,)) as server:
        pool = pool_to(server.port)

        async def close_soon() -> None:
            pool.close()

        outcome, _ = await asyncio.gather(pool.connect(), close_soon(), return_exceptions=True)
        assert isinstance(outcome, ServerUnreachable)
        await until(lambda: all(connection.ended.is_set() for connection in server.connections))


async def test_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1"):
            await pool_to(sock.getsockname()[1]).connect()


async def test_a_connection_lost_under_a_request_is_told() -> None:
    async with scripted((close,)) as server:
        pool = pool_to(server.port)
        upstream, reader = await pool.connect(), Reader()
        reader.ask(upstream)
        await until(lambda: reader.lost)
        assert pool.active == 0
        pool.close()
