"""One answer on its way from a server to a client: read once, written at once, never kept."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from core.answer_head import BadAnswer, Head, hopeless, parse_head
from core.errors import UpstreamError
from core.event_stream import error_event, is_complete
from core.flights import InFlight
from core.framing import (
    Body,
    ChunkedBody,
    CountedBody,
    RechunkedBody,
    UnchunkedBody,
    UnframedBody,
)
from core.upstream import Upstream, UpstreamPool
from core.usage import OPENING, REACH, read_usage, without_borders

HIGH = 256 * 1024
"""Bytes that a client has not taken yet above which the server is no longer read."""
LOOK_AFTER = 32 * 1024
"""Bytes after which that is looked at again: asking the transport at every piece would cost."""
LAST_READS = 16
STALE_WITHIN = 0.25
"""Seconds in which a kept connection that the server had closed breaks; a server that worked on the
request for longer has died of it, and a second try could kill the next one."""
MAX_INTERIM = 16

_NOTHING: frozenset[bytes] = frozenset()
_BODILESS = frozenset({204, 304})
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode("ascii")
    for status in HTTPStatus
}
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER with no time: the close is a reset."""


def reset(transport: asyncio.Transport) -> None:
    """End the connection so that nobody takes that for the end of the answer."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
    if sock is not None and sys.platform == "win32":
        sock._sock.close()  # that loop would say goodbye (shutdown) before it closes


class Client(NamedTuple):
    """The side that waits for the answer."""

    transport: asyncio.Transport
    knows_chunks: bool = True
    """It speaks HTTP/1.1."""
    keep_alive: bool = True
    head_only: bool = False
    """It asked with HEAD."""


class Exchange:
    """Carries one answer; the connection to the server calls it.

    It tells its watcher (`turn`) when it is over, and when it has stopped reading because the
    client has fallen behind; then it waits for `resume`.
    """

    __slots__ = (
        "_body",
        "_client",
        "_extra",
        "_head",
        "_held",
        "_interim",
        "_live",
        "_look_at",
        "_opening",
        "_pool",
        "_reads",
        "_repeatable_until",
        "_transport",
        "_turn",
        "_upstream",
        "failure",
        "keep_alive",
        "over",
        "stale",
    )

    def __init__(
        self,
        client: Client,
        pool: UpstreamPool,
        live: InFlight,
        extra_headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self._client = client
        self._transport = client.transport
        self._pool = pool
        self._live = live
        self._extra = extra_headers
        self._head: Head | None = None
        self._body: Body = CountedBody(0)
        self._held = b""
        self._interim = 0
        self._opening = b""
        self._reads: deque[bytes] = deque(maxlen=LAST_READS)
        self._look_at = 0
        self._repeatable_until = 0.0
        self._upstream: Upstream | None = None
        self._turn: Callable[[], None] = _nobody
        self.over = False
        self.keep_alive = client.keep_alive
        """The client's connection stays open after this answer."""
        self.failure = ""
        """Why no answer began."""
        self.stale = False
        """A kept connection was closed before it brought a byte: try a new one."""

    def begin(
        self,
        upstream: Upstream,
        head: bytes,
        body: bytes,
        turn: Callable[[], None],
        *,
        repeatable: bool,
    ) -> None:
        """Send the request; from now on everything happens by itself, until `over`."""
        self._upstream = upstream
        self._repeatable_until = self._pool.loop.time() + STALE_WITHIN if repeatable else 0.0
        self._turn = turn
        self.over = self.stale = False
        upstream.send(head, body, self, self._read_head)

    def resume(self) -> None:
        """The client has caught up."""
        if self._upstream is not None:
            self._upstream.resume()

    def leave(self) -> None:
        """The client is gone: the server need not go on."""
        if not self.over:
            if self._upstream is not None:
                self._upstream.leave()
            self.keep_alive = False
            self._finish("client_closed")

    def settle(self) -> None:
        """Look for the usage in what is left of the answer."""
        head = self._head
        if head is None or head.encoded or not self._reads:
            return
        ending = b"".join(self._reads)[-REACH:]
        if head.chunked:
            ending = without_borders(ending)
        self._live.usage = read_usage(self._opening or ending[:OPENING], ending)

    def _read_head(self, data: bytes) -> None:
        """The sink until the head of the answer is whole."""
        self._repeatable_until = 0.0
        if self._held:
            data = self._held + data
        try:
            while (end := data.find(b"\r\n\r\n")) >= 0:
                head = parse_head(data[: end + 2], self._owned())
                data = data[end + 4 :]
                if head.status >= 200:
                    self._begin(head, data)
                    return
                self._interim += 1
                if head.status == 101 or self._interim > MAX_INTERIM:
                    raise BadAnswer("it changed the protocol")
            if problem := hopeless(data):
                raise BadAnswer(problem)
        except BadAnswer as error:
            self._fail(str(error))
            return
        self._held = data

    def _owned(self) -> frozenset[bytes]:
        """Names of the fields that only we set."""
        return frozenset(name.lower() for name, _ in self._extra) if self._extra else _NOTHING

    def _begin(self, head: Head, data: bytes) -> None:
        """Pass on the head and what came with it of the body, in one write."""
        upstream = self._upstream
        if upstream is None or self._transport.is_closing():
            self.leave()
            return
        live = self._live
        live.status = head.status
        live.first_byte_at = self._pool.clock()
        self._head = head
        self._held = b""
        out = self._begin_body(head)
        body = self._body
        if body.over:
            body.surplus = bool(data)
        elif data:
            out += body.feed(data)
            live.reads = 1
            live.bytes = len(data)
            self._reads.append(data if len(data) <= REACH else self._end_of(data))
        self._transport.write(out)
        if body.over:
            self._end(upstream, body)
        else:
            upstream.sink = self._read_body

    def _begin_body(self, head: Head) -> bytes:
        """Choose the framing towards the client; return the head in it."""
        lines = [_STATUS_LINES.get(head.status) or b"HTTP/1.1 %d " % head.status]
        lines += head.lines
        client = self._client
        if client.head_only or head.status in _BODILESS:
            if head.length is not None and head.status != 204:
                lines.append(b"Content-Length: %d" % head.length)
        elif head.length is not None:
            lines.append(b"Content-Length: %d" % head.length)
            self._body = CountedBody(head.length)
        elif client.knows_chunks:
            lines.append(b"Transfer-Encoding: chunked")
            self._body = ChunkedBody() if head.chunked else RechunkedBody()
        else:
            self.keep_alive = False
            self._body = UnchunkedBody() if head.chunked else UnframedBody()
        if not self.keep_alive:
            lines.append(b"Connection: close")
        elif not client.knows_chunks:
            lines.append(b"Connection: keep-alive")
        for name, value in self._extra:
            lines.append(name + b": " + value)
        lines.append(b"\r\n")
        return b"\r\n".join(lines)

    def _read_body(self, data: bytes) -> None:
        """The sink for the rest of the answer: the hot path of every stream."""
        transport = self._transport
        if transport.is_closing():
            self.leave()
            return
        live = self._live
        live.reads += 1
        live.bytes = passed = live.bytes + len(data)
        self._reads.append(data if len(data) <= REACH else self._end_of(data))
        body = self._body
        transport.write(body.feed(data))
        if body.over:
            if self._upstream is not None:
                self._end(self._upstream, body)
        elif passed >= self._look_at:
            self._look_at = passed + LOOK_AFTER
            if transport.get_write_buffer_size() > HIGH:
                self._pause()

    def _end_of(self, data: bytes) -> bytes:
        """What may hold the usage in a piece too large to be kept."""
        if not self._opening and self._live.reads == 1:
            self._opening = data[:OPENING]
        return data[-REACH:]

    def _pause(self) -> None:
        """Read no more until the client has taken what is there."""
        if self._upstream is not None:
            self._upstream.pause()
            self._turn()

    def _end(self, upstream: Upstream, body: Body) -> None:
        """The body is over: complete, or in pieces that make no sense."""
        if body.error:
            upstream.leave()
            self._break(body.error)
            return
        head = self._head
        upstream.release(reusable=head is not None and head.reusable and not body.surplus)
        self._finish("ok")

    def _fail(self, reason: str) -> None:
        """No answer began."""
        if self._upstream is not None:
            self._upstream.leave()
        self.failure = reason
        self._finish("upstream_broken")

    def connection_lost(self, reason: str, *, clean: bool) -> None:
        """The server's connection ended while the answer was not complete."""
        if self._head is None:
            if self._pool.loop.time() < self._repeatable_until and not self._pool.closed:
                self.stale = True
                self._finish(self._live.outcome)
            else:
                self._fail(f"{reason} before its answer began")
            return
        rest = self._body.eof() if clean else None
        if rest is not None and self._head.events and not is_complete(b"".join(self._reads)):
            rest = None  # it ends with the connection and stopped too early: only its text tells
        if rest is None:
            self._break(reason)
        else:
            self._transport.write(rest)
            self._finish("ok")

    def _break(self, reason: str) -> None:
        """Tell the client that its answer ends here without being complete."""
        self.keep_alive = False
        transport = self._transport
        if self._head is not None and self._head.events:
            error = UpstreamError(f"The server of {self._live.model} broke the answer: {reason}.")
            ending = b"" if self._body.error else b"".join(self._reads)
            if self._head.chunked:
                ending = ending.removesuffix(b"\r\n")
            transport.write(self._body.last_words(error_event(error, ending)))
        elif self._body.open_ended:
            # a mere close would look like the end of the answer
            reset(transport)
        self._finish("upstream_broken")

    def _finish(self, outcome: str) -> None:
        self._upstream = None
        self.over = True
        self._live.outcome = outcome
        turn, self._turn = self._turn, _nobody  # no circle is left for the collector
        turn()


def _nobody() -> None:
    """The watcher of an exchange that has not begun."""
