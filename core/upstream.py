"""Connections to one server, kept for the next request while they are good."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from core.errors import ServerUnreachable

CONNECT_TIMEOUT = 30.0
IDLE_LIMIT = 4.0
"""Seconds; uvicorn, and so vLLM, closes an idle connection after 5."""
SLICE = 256 * 1024
"""A larger body is handed to the transport piece by piece: some of them would copy it."""


class Receiver(Protocol):
    """Whoever sent a request on a connection and waits for its answer."""

    def connection_lost(self, reason: str, *, clean: bool) -> None:
        """No more bytes will come; `clean`: the server said so itself."""


class Upstream(asyncio.Protocol):
    """One connection; carries one request at a time."""

    __slots__ = ("_pool", "_receiver", "_unsent", "_writable", "idle_since", "sink", "transport")

    transport: asyncio.Transport

    def __init__(self, pool: UpstreamPool) -> None:
        self._pool = pool
        self._receiver: Receiver | None = None
        self._unsent: memoryview | None = None
        self._writable = True
        self.idle_since = 0.0
        self.sink: Callable[[bytes], None] | None = None
        """Where the bytes go that arrive; None: nobody asked for any."""

    def send(
        self, head: bytes, body: bytes, receiver: Receiver, sink: Callable[[bytes], None]
    ) -> None:
        """Send one request; its answer goes to `sink`, its end by accident to `receiver`."""
        self._receiver = receiver
        self.sink = sink
        if len(body) <= SLICE:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self._unsent = memoryview(body)
            self._send_more()

    def _send_more(self) -> None:
        while self._unsent and self._writable:
            part = self._unsent[:SLICE]
            self._unsent = self._unsent[SLICE:]
            self.transport.write(part)
        if not self._unsent:
            self._unsent = None

    @property
    def busy(self) -> bool:
        """It carries a request."""
        return self._receiver is not None

    def release(self, *, reusable: bool) -> None:
        """The answer is complete: keep the connection for the next request, or close it."""
        self._receiver = None
        self.sink = None
        if reusable and self._unsent is None and not self.transport.get_write_buffer_size():
            self._pool.give_back(self)
        else:
            self.abort()

    def abort(self, reason: str = "") -> None:
        """Close at once; a receiver that still waits is told `reason`."""
        receiver = self._receiver
        self._receiver = None
        self._unsent = None
        self.sink = None
        self.transport.abort()
        if receiver is not None:
            receiver.connection_lost(reason, clean=False)

    def leave(self) -> None:
        """The receiver wants nothing more of the answer."""
        self._receiver = None
        self.abort()

    def pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        sink = self.sink
        if sink is None:
            self.transport.abort()
        else:
            sink(data)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._send_more()

    def connection_lost(self, exc: Exception | None) -> None:
        receiver = self._receiver
        self._receiver = None
        self._unsent = None
        self.sink = None
        self._pool.lost(self)
        if receiver is not None:
            reason = "it closed the connection" if exc is None else "its connection broke"
            receiver.connection_lost(reason, clean=exc is None)


class UpstreamPool:
    """All connections to the server of one Instance."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        host: str,
        port: int,
        *,
        idle_limit: float = IDLE_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.closed = False
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.request_line_end = f" HTTP/1.1\r\nHost: {authority}\r\n".encode("ascii")
        self._address = authority
        self._host = host
        self._port = port
        self._idle_limit = idle_limit
        self._open: set[Upstream] = set()
        self._idle: deque[Upstream] = deque()
        """The longest idle one first."""
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def active(self) -> int:
        """Connections that carry a request."""
        return sum(upstream.busy for upstream in self._open)

    def take(self) -> Upstream | None:
        """The connection that was used last, if it is still good."""
        while self._idle:
            upstream = self._idle.pop()
            fresh = self.clock() - upstream.idle_since < self._idle_limit
            if fresh and not upstream.transport.is_closing():
                return upstream
            upstream.abort()
        return None

    async def connect(self) -> Upstream:
        """A new connection. Raises ServerUnreachable where the server takes none."""
        if not self.closed:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    _, upstream = await self.loop.create_connection(
                        lambda: Upstream(self), self._host, self._port
                    )
            except OSError as error:
                raise ServerUnreachable(
                    f"The server at {self._address} takes no connection: {error}"
                ) from error
            if not upstream.transport.is_closing():
                return upstream
        raise ServerUnreachable("The server is being stopped.")

    def give_back(self, upstream: Upstream) -> None:
        if self.closed or upstream.transport.is_closing():
            upstream.abort()
            return
        upstream.idle_since = self.clock()
        self._idle.append(upstream)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(self._idle_limit, self._sweep)

    def drop_idle(self) -> None:
        """Close every connection that waits for a request."""
        while self._idle:
            self._idle.pop().abort()

    def _sweep(self) -> None:
        """Close what has been idle too long, and come back when the next one will have been."""
        self._sweeper = None
        limit = self.clock() - self._idle_limit
        while self._idle and self._idle[0].idle_since <= limit:
            self._idle.popleft().abort()
        if self._idle:
            wait = max(0.001, self._idle[0].idle_since - limit)
            self._sweeper = self.loop.call_later(wait, self._sweep)

    def close(self) -> None:
        """End every connection at once and allow no new one; requests under way break."""
        self.closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for upstream in tuple(self._open):
            upstream.abort("it is being stopped")

    def opened(self, upstream: Upstream) -> None:
        self._open.add(upstream)
        if self.closed:
            upstream.abort()

    def lost(self, upstream: Upstream) -> None:
        self._open.discard(upstream)
        if upstream in self._idle:
            self._idle.remove(upstream)
