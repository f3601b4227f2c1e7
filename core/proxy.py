"""One request to one instance and its stream back."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from core.answer_head import HOP_BY_HOP, connection_tokens
from core.errors import BadRequest, UpstreamError
from core.exchange import Client, Exchange
from core.flights import InFlight
from core.upstream import Upstream, UpstreamPool

DROPPED = HOP_BY_HOP | {b"host", b"content-length", b"expect"}
"""Request fields that do not go on, or are written anew."""
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close"})
_NOTHING: frozenset[bytes] = frozenset()
_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
_TARGET = re.compile(r"/[!\"$-\[\]-~]*")
_WRONG_SEGMENT = re.compile(r"(?:/|%2f)(?:\.|%2e){1,2}(?:[/;]|%2f|$)|%00|%5c", re.IGNORECASE)


class Forwarded(web.StreamResponse):
    """An answer whose bytes are out already; aiohttp learns only if the connection stays open."""

    def __init__(self, live: InFlight, writer: AbstractStreamWriter, *, keep_alive: bool) -> None:
        super().__init__(status=live.status)
        self.live = live
        self._writer = writer
        self._stays_open = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._stays_open

    @property
    def prepared(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait for a slow client, with the lease given back: its next request has to wait too."""
        await self._writer.drain()


async def forward(
    request: web.Request,
    body: bytes,
    pool: UpstreamPool,
    live: InFlight,
    *,
    extra_headers: tuple[tuple[bytes, bytes], ...] = (),
    dropped: frozenset[bytes] = DROPPED,
) -> Forwarded:
    """Send the request to the server behind `pool` and its answer, byte for byte, to the client.

    `body` must be as it came: the server runs with `auto_decompress=False`, or `dropped` names
    Content-Encoding as well (`DROPPED | {...}`, lower case). `extra_headers` go to the client.

    Raises BadRequest for a path that two readers could understand differently, UpstreamError
    while nothing has reached the client. Later breaks are told to the client in the stream.
    Cancelled (the client left): the connection to the server is closed at once.
    """
    method = request.method
    head = request_head(
        method, request.raw_path, request.raw_headers, len(body), pool.request_line_end, dropped
    )
    transport = request.transport
    if transport is None:
        raise asyncio.CancelledError
    writer = request.writer
    client = Client(
        transport,
        knows_chunks=request.version >= (1, 1),
        keep_alive=request.keep_alive,
        head_only=method == "HEAD",
    )
    exchange = Exchange(client, pool, live, extra_headers)
    watch = Watch(exchange, writer.drain)
    try:
        upstream = pool.take()
        if upstream is not None:
            await watch.run(upstream, head, body, repeatable=True)
        if upstream is None or exchange.stale:
            upstream = await pool.connect()
            await watch.run(upstream, head, body, repeatable=False)
    finally:
        exchange.settle()
        if live.status:
            writer.output_size = max(1, live.bytes)  # aiohttp must not add an answer of its own
    if exchange.failure:
        raise UpstreamError(f"The server of {live.model} gave no answer: {exchange.failure}.")
    return Forwarded(live, writer, keep_alive=exchange.keep_alive)


class Watch:
    """A handler that waits for its exchange."""

    def __init__(self, exchange: Exchange, drain: Callable[[], Awaitable[None]]) -> None:
        self._exchange = exchange
        self._drain = drain
        self._woken: asyncio.Future[None] | None = None
        self._patience: asyncio.Timeout | None = None

    async def run(self, upstream: Upstream, head: bytes, body: bytes, *, repeatable: bool) -> None:
        """Carry the answer to its end, whichever it is.

        Cancelled: the connection to the server is closed at once.
        """
        exchange, loop = self._exchange, asyncio.get_running_loop()
        self._woken = woken = loop.create_future()
        try:
            exchange.begin(upstream, head, body, self._turn, repeatable=repeatable)
            await woken
            while not exchange.over:
                self._woken = woken = loop.create_future()
                await self._client_drained()
                exchange.resume()
                await woken
        except BaseException:
            exchange.leave()
            raise

    def _turn(self) -> None:
        if self._patience is not None:
            self._patience.reschedule(0)
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _client_drained(self) -> None:
        """Wait for the client; also return when the server's side broke meanwhile."""
        try:
            async with asyncio.timeout(None) as self._patience:
                await self._drain()
        except TimeoutError:
            return
        finally:
            self._patience = None


def request_head(
    method: str,
    target: str,
    fields: Iterable[tuple[bytes, bytes]],
    length: int,
    line_end: bytes,
    dropped: frozenset[bytes] = DROPPED,
) -> bytes:
    """The head to send on: line and fields as they came, without what concerns one hop only.

    Raises BadRequest for a target that two readers could understand differently.
    """
    parts = [method.encode("ascii"), b" ", checked_path(target), line_end]
    named = _NOTHING
    for name, value in fields:
        key = name.lower()
        if key not in dropped:
            parts += (name, b": ", value, b"\r\n")
        elif key == b"connection" and value.lower() not in _PLAIN_CONNECTION:
            named |= connection_tokens(value) - _PLAIN_CONNECTION
    if named - dropped:
        del parts[4:]
        for name, value in fields:
            if (key := name.lower()) not in dropped and key not in named:
                parts += (name, b": ", value, b"\r\n")
    if length or method not in _NO_BODY:
        parts.append(b"Content-Length: %d\r\n\r\n" % length)
    else:
        parts.append(b"\r\n")
    return b"".join(parts)


@functools.lru_cache(256)
def checked_path(raw: str) -> bytes:
    """The request target as it came. Raises BadRequest where a server could read another path."""
    path, _, _ = raw.partition("?")
    if not _TARGET.fullmatch(raw) or (("." in path or "%" in path) and _WRONG_SEGMENT.search(path)):
        raise BadRequest("The path has dot segments or characters that do not belong there.")
    return raw.encode("ascii")
