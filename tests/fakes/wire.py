"""Transports without sockets: a client that keeps what it is sent, a server that plays bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import h11

from core.exchange import Client, Exchange
from core.flights import InFlight
from core.proxy import Watch
from core.upstream import Upstream, UpstreamPool


class Wire(asyncio.Transport):
    """One end of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = False
        self.unsent = 0
        self.paused = False

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written to a closed transport"
        self.sent += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


async def taken() -> None:
    """The drain of a client that has taken everything."""


class Play:
    """One exchange between a client and a server that are only bytes."""

    def __init__(
        self,
        *,
        knows_chunks: bool = True,
        head_only: bool = False,
        extra_headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.pool = UpstreamPool(asyncio.get_running_loop(), "127.0.0.1", 1)
        self.server = Wire()
        self.upstream = Upstream(self.pool)
        self.upstream.connection_made(self.server)
        self.client = Wire()
        self.live = InFlight("fake", "/", "", 0.0)
        self.drain = taken
        self.exchange = Exchange(
            Client(self.client, knows_chunks=knows_chunks, head_only=head_only),
            self.pool,
            self.live,
            extra_headers,
        )

    async def run(self, pieces: list[bytes], *, end: str = "wait") -> None:
        """Let the server send `pieces`, then close (`eof`), break (`reset`) or `wait`."""
        loop = asyncio.get_running_loop()

        def play() -> None:
            for piece in pieces:
                if self.server.closed:
                    return
                self.upstream.data_received(piece)
            if end != "wait" and not self.server.closed:
                self.server.closed = True
                self.upstream.connection_lost(None if end == "eof" else ConnectionResetError())

        loop.call_soon(play)
        watch = Watch(self.exchange, lambda: self.drain())
        await watch.run(self.upstream, b"GET / HTTP/1.1\r\n\r\n", b"", repeatable=False)
        self.exchange.settle()


class Answer:
    """What an independent reader (h11) makes of the bytes of an answer."""

    def __init__(self, data: bytes, *, closed: bool, method: str = "GET") -> None:
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        self.body = b""
        self.whole = False
        self.wrong = False
        self.rest = b""
        reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        reader.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(data)
        if closed:
            reader.receive_data(b"")
        try:
            self._read(reader)
        except h11.RemoteProtocolError:
            self.wrong = True

    def _read(self, reader: h11.Connection) -> None:
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Response):
                self.status = event.status_code
                self.fields = dict(event.headers)
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.whole = True
                self.rest = reader.trailing_data[0]
                return
            elif isinstance(event, h11.ConnectionClosed):
                return
