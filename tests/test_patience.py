"""Clients that stop in the middle of a request, and slow ones that do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from core import patience
from core.patience import FIRST_HEAD, LOOK, PACE, SILENCE, START, Doorkeeper, limit
from tests.fakes.site import Site, connected, error_code
from tests.fakes.waiting import until
from tests.scheduling.worlds import model, variant

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
BODY = json.dumps({"model": "nobody", "x": "x" * 4000}).encode()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site(model("a", variant(gpu=10)), gpu=1000) as running:
        yield running


@pytest.mark.parametrize(
    ("began", "now", "received", "until_when"),
    [
        (0, 0, 0, START),
        (0, 20, 0, START),
        (0, START, int(1000 * PACE), START + SILENCE),
        (0, 100, int(70 * PACE), 100),
        (0, 100, int(71 * PACE), 101),
        (50, 60, 1 << 26, 60 + SILENCE),
    ],
)
def test_how_long_the_next_piece_may_take(
    began: float, now: float, received: int, until_when: float
) -> None:
    assert limit(began, now, received) == until_when


async def test_a_body_that_does_not_come_is_an_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "START", 0.05)
    answer = await site.raw(HEAD % 1000 + b'{"model": ')
    assert error_code(answer) == (408, "request_too_slow")
    assert b"10 bytes" in answer


async def test_a_body_that_stops_half_way_is_an_answer(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "START", 1e9)
    monkeypatch.setattr(patience, "SILENCE", 0.05)
    assert error_code(await site.raw(HEAD % 1000 + b"{")) == (408, "request_too_slow")


async def test_a_body_in_many_pieces_is_read_whole(site: Site) -> None:
    """The last word on it comes from the list of models: it was understood."""
    async with asyncio.timeout(15), connected(site.port) as (reader, writer):
        writer.write(HEAD % len(BODY))
        for at in range(0, len(BODY), 100):
            writer.write(BODY[at : at + 100])
            await writer.drain()
        assert (await reader.readline()).split()[1] == b"404"


@pytest.fixture
async def server() -> AsyncIterator[tuple[web.Server, int]]:
    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(text="ok")

    server = web.Server(answer)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield server, runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc"])
async def test_who_never_ends_the_first_head_is_shown_out(
    server: tuple[web.Server, int], sent: bytes
) -> None:
    web_server, port = server
    now = 100.0
    keeper = Doorkeeper(lambda: web_server.connections, lambda: now)
    async with asyncio.timeout(15), connected(port) as (reader, writer):
        writer.write(sent)
        await until(lambda: web_server.connections)
        while now < 100 + FIRST_HEAD - LOOK - 1:
            keeper.look()
            assert not reader.at_eof()
            now += 1
        assert not web_server.connections[0]._force_close
        now += 1
        keeper.look()
        with contextlib.suppress(ConnectionResetError):  # it had not read what was sent
            assert await reader.read() == b""


async def test_who_has_asked_once_may_stay(server: tuple[web.Server, int]) -> None:
    web_server, port = server
    now = 100.0
    keeper = Doorkeeper(lambda: web_server.connections, lambda: now)
    async with asyncio.timeout(15), connected(port) as (reader, writer):
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"200" in await reader.readuntil(b"\r\n\r\nok")
            keeper.look()
            now += 10 * FIRST_HEAD
            keeper.look()


async def test_a_request_under_way_is_no_silence(server: tuple[web.Server, int]) -> None:
    """A connection is known from its first head on, however long the answer takes."""
    web_server, port = server
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.Response:
        begun.set()
        await release.wait()
        return web.Response(text="ok")

    web_server.request_handler = slow
    now = 100.0
    keeper = Doorkeeper(lambda: web_server.connections, lambda: now)
    async with asyncio.timeout(15), connected(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        for _ in range(3):
            keeper.look()
            now += 10 * FIRST_HEAD
        release.set()
        assert b"200" in await reader.readuntil(b"\r\n\r\nok")


async def test_the_gone_are_forgotten(server: tuple[web.Server, int]) -> None:
    web_server, port = server
    keeper = Doorkeeper(lambda: web_server.connections)
    async with connected(port):
        await until(lambda: web_server.connections)
        keeper.look()
        assert len(keeper._silent) == 1
    await until(lambda: not web_server.connections)
    keeper.look()
    assert not keeper._silent
