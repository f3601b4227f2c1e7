"""A server that answers by script, byte for byte, and a proxy in front of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from core.errors import LLMManagerError
from core.exchange import reset as reset_connection
from core.flights import InFlight
from core.proxy import DROPPED, Forwarded, forward
from core.upstream import UpstreamPool
from tests.fakes.waiting import until

Step = bytes | asyncio.Event | Callable[["Connection"], Awaitable[None]]
"""Bytes to send, an event to wait for, or something to do with the connection."""
Script = tuple[Step, ...]


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """The other side closed or reset it, or the test is over."""
    served: bool = False


async def close(connection: Connection) -> None:
    """A clean end, as of a process that exits."""
    connection.writer.close()


async def reset(connection: Connection) -> None:
    """RST, as of a process that is killed with unread data, after all that was written."""
    transport = connection.writer.transport
    await until(lambda: not transport.get_write_buffer_size())
    reset_connection(transport)


async def until_left(connection: Connection) -> None:
    """Wait until the other side is gone."""
    with contextlib.suppress(ConnectionError):
        while await connection.reader.read(65536):
            pass
    connection.ended.set()


class ScriptedServer:
    """Plays one script per request, in order; the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = deque(scripts)
        self.connections: list[Connection] = []
        self.port = 0
        self.read_body = True
        """False: answer as soon as the head is there."""

    @property
    def requests(self) -> list[bytes]:
        return [request for connection in self.connections for request in connection.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self.connections.append(connection)
        try:
            while not writer.is_closing():
                connection.requests.append(await self._request(reader))
                script = self.scripts.popleft() if len(self.scripts) > 1 else self.scripts[0]
                for step in script:
                    await self._do(step, connection)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            connection.ended.set()
            connection.served = True
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return head + (await reader.readexactly(length) if self.read_body else b"")

    async def _do(self, step: Step, connection: Connection) -> None:
        if isinstance(step, bytes):
            connection.writer.write(step)
            await connection.writer.drain()
        elif isinstance(step, asyncio.Event):
            await step.wait()
        else:
            await step(connection)


@contextlib.asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[ScriptedServer]:
    fake = ScriptedServer(*scripts)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0, limit=1 << 20)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        for connection in fake.connections:
            connection.writer.transport.abort()
            connection.ended.set()
        await until(lambda: all(connection.served for connection in fake.connections))


@dataclass
class Proxy:
    """An aiohttp server whose only handler forwards to one pool."""

    port: int
    pool: UpstreamPool
    flights: list[InFlight] = field(default_factory=list)
    answers: list[Forwarded] = field(default_factory=list)
    extra_headers: tuple[tuple[bytes, bytes], ...] = ()
    dropped: frozenset[bytes] = DROPPED
    finished: int = 0
    """Handlers that ended, whichever way."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        live = InFlight("fake", request.raw_path, "127.0.0.1", self.pool.clock())
        self.flights.append(live)
        try:
            answer = await forward(
                request,
                body,
                self.pool,
                live,
                extra_headers=self.extra_headers,
                dropped=self.dropped,
            )
        except LLMManagerError as error:
            return web.json_response(error.as_json(), status=error.status)
        finally:
            self.finished += 1
        self.answers.append(answer)
        return answer

    async def connect(self, limit: int = 1 << 20) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        return Connection(reader, writer)


@contextlib.asynccontextmanager
async def proxy_to(
    port: int, *, idle_limit: float = 4.0, keepalive_timeout: float = 75.0
) -> AsyncIterator[Proxy]:
    loop = asyncio.get_running_loop()
    proxy = Proxy(0, UpstreamPool(loop, "127.0.0.1", port, idle_limit=idle_limit))
    app = web.Application(client_max_size=1 << 28)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        auto_decompress=False,
        shutdown_timeout=1,
        keepalive_timeout=keepalive_timeout,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.port = runner.addresses[0][1]
        yield proxy
    finally:
        proxy.pool.close()
        await runner.cleanup()
