"""A client's connection: aiohttp's own, with a short way for plain model requests.

aiohttp's parser reads every request. What the fast path takes is then answered from here; for
everything else aiohttp's loop (`RequestHandler.start`) is woken as if nothing had been there. It
sleeps meanwhile: a request is either its own or ours, never both. This reaches into attributes that
aiohttp keeps for itself (3.14; the tests of this file notice when they change).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from core.errors import LLMManagerError
from core.exchange import Client, Exchange
from core.fast_path import FastPath, FastRequest

BACKLOG = 1024
KEEP_ALIVE = 75.0
"""Seconds that a connection may be idle."""
BODY_FOLLOWS = 0.5
"""Seconds in which a plain request's body may follow its head; a later one is read by aiohttp."""


async def accept(
    server: web.Server,
    sockets: Iterable[socket.socket],
    fast_path: FastPath,
    render: Callable[[LLMManagerError], web.Response],
) -> list[asyncio.Server]:
    """Accept clients on bound sockets; `server` is aiohttp's, which knows the open connections."""
    loop = asyncio.get_running_loop()

    def connection() -> ClientConnection:
        return ClientConnection(
            server, fast_path, render, loop=loop, access_log=None, keepalive_timeout=KEEP_ALIVE
        )

    return [await loop.create_server(connection, sock=s, backlog=BACKLOG) for s in sockets]


class ClientConnection(web.RequestHandler):
    """One connection to a client; serves one request at a time, in the order in which they come."""

    __slots__ = (
        "_behind",
        "_body_timer",
        "_fast_path",
        "_render",
        "_request",
        "client",
        "remote",
    )

    def __init__(
        self,
        server: web.Server,
        fast_path: FastPath,
        render: Callable[[LLMManagerError], web.Response],
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self._fast_path = fast_path
        self._render = render
        self._request: FastRequest | None = None
        """What is being answered on the short way."""
        self._behind: Exchange | None = None
        """It waits until the client has caught up."""
        self._body_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.client = Client(transport)
        peer = self.peername
        self.remote = str(peer[0]) if isinstance(peer, tuple) else ""

    def data_received(self, data: bytes) -> None:
        sleeper = self._waiter
        if sleeper is None or sleeper.done():  # aiohttp is at work: what has come is for it
            super().data_received(data)
            return
        self._waiter = None  # let it sleep while its parser reads
        try:
            super().data_received(data)
        finally:
            self._waiter = sleeper
        if self._request is None and self._messages and not self._answer_now():
            self._wake_aiohttp()

    def _answer_now(self) -> bool:
        """Answer the only request that is there, or wait for its body; False: it is not plain."""
        if len(self._messages) > 1 or self._buffer_paused or self._reading_paused or self._paused:
            return False
        message, payload = self._messages[0]
        if (
            not isinstance(message, RawRequestMessage)
            or payload.exception() is not None
            or not self._fast_path.takes(message)
        ):
            return False
        if not payload.is_eof():  # many clients send head and body apart
            if self._body_timer is None:
                self._body_timer = self._loop.call_later(BODY_FOLLOWS, self._wake_aiohttp)
            return True
        self._forget_timer()
        self._messages.clear()
        body = payload.read_nowait()
        self._request_in_progress = True
        self._request = self._fast_path.begin(self, message, body)
        if self._request is None:
            self._request_in_progress = False
            self._messages.append((message, self._whole(body)))
            return False
        return True

    def _whole(self, body: bytes) -> StreamReader:
        """The body as aiohttp's handlers read it."""
        payload = StreamReader(self, max(len(body), 1), loop=self._loop)
        if body:
            payload.feed_data(body)
        payload.feed_eof()
        return payload

    # ---- what the request on the short way tells -----------------------------------------------

    def answered(self, *, keep_alive: bool) -> None:
        self._done()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._manager is not None:
            self._manager.requests_count += 1
        if not keep_alive or self._close or self._waiter is None:
            self.force_close()
            return
        self._not_idle()
        if self._messages:
            self._wake_aiohttp()

    def refused(self, error: LLMManagerError) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_bytes_of(self._render(error)))
        self.answered(keep_alive=True)

    def start_over(self, message: RawRequestMessage, body: bytes) -> None:
        self._done()
        if self._waiter is None:  # it is being closed
            self.force_close()
            return
        self._messages.appendleft((message, self._whole(body)))
        self._wake_aiohttp()

    def when_caught_up(self, exchange: Exchange) -> None:
        if self._paused:
            self._behind = exchange
        else:  # it has caught up meanwhile
            self._loop.call_soon(exchange.resume)

    def break_off(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _done(self) -> None:
        self._request = self._behind = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)  # the end of the program waits for it

    def _wake_aiohttp(self) -> None:
        self._forget_timer()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _forget_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    # ---- what the transport and aiohttp's clock tell -------------------------------------------

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._behind is not None:
            exchange, self._behind = self._behind, None
            exchange.resume()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp calls it at every read of a body; mostly nothing is paused."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._forget_timer()
        request, self._request = self._request, None
        super().connection_lost(exc)
        if request is not None:
            request.leave()

    def _process_keepalive(self) -> None:
        if self._request is not None:  # aiohttp sleeps, but the connection is not idle
            self._not_idle()
        super()._process_keepalive()

    def _not_idle(self) -> None:
        """Let aiohttp's clock begin anew."""
        close_at = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_at
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_at, self._process_keepalive)


def _bytes_of(response: web.Response) -> bytes:
    """A small whole answer as it goes over the wire."""
    body = response.body
    assert isinstance(body, bytes)
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("utf-8") + body
