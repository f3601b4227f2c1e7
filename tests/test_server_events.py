"""Event streams end when they should, and tell their sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from core import server_events
from core.server_events import send_events
from tests.fakes.waiting import until


class Source:
    """Yields what it is given, and knows when it was closed."""

    def __init__(self) -> None:
        self.texts: asyncio.Queue[str] = asyncio.Queue()
        self.closed = False

    async def events(self) -> AsyncGenerator[str, None]:
        try:
            while text := await self.texts.get():
                yield text
        finally:
            self.closed = True


@pytest.fixture
def sources() -> list[Source]:
    return [Source(), Source()]


@pytest.fixture
def closing() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def client(
    sources: list[Source], closing: asyncio.Event
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await send_events(request, closing, *(s.events() for s in sources))

    app = web.Application()
    app.router.add_get("/", handle)
    async with TestClient(TestServer(app, handler_cancellation=True)) as client:
        yield client


Client = TestClient[web.Request, web.Application]


async def test_events_of_all_sources_come_through(client: Client, sources: list[Source]) -> None:
    answer = await client.get("/")
    assert answer.headers["Content-Type"] == "text/event-stream"
    for number, source in enumerate(sources):
        source.texts.put_nowait(f"data: {number}\n\n")
        assert await answer.content.readline() == f"data: {number}\n".encode()
        await answer.content.readline()
    answer.close()


async def test_the_end_of_a_source_ends_the_stream(client: Client, sources: list[Source]) -> None:
    answer = await client.get("/")
    sources[0].texts.put_nowait("")
    assert await answer.read() == b""
    await until(lambda: all(source.closed for source in sources))


async def test_the_end_of_the_program_ends_the_stream(
    client: Client, sources: list[Source], closing: asyncio.Event
) -> None:
    answer = await client.get("/")
    closing.set()
    assert await answer.read() == b""
    await until(lambda: all(source.closed for source in sources))


async def test_a_client_that_leaves_closes_the_sources(
    client: Client, sources: list[Source]
) -> None:
    answer = await client.get("/")
    answer.close()
    await until(lambda: all(source.closed for source in sources))


async def test_silence_is_filled_with_comments(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_events, "KEEP_ALIVE", 0.01)
    answer = await client.get("/")
    assert await answer.content.readline() == b": still here\n"
    answer.close()
