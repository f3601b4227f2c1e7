"""How long a client may take to say what it wants: a place here is not held by silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from core.errors import RequestTooSlow

FIRST_HEAD = 15.0
"""Seconds from the connection to the end of its first head; later ones have the keep-alive time."""
LOOK = 5.0
SILENCE = 60.0
"""Seconds in which something of a body must come: a wireless network may be away for a while."""
PIECE = 1024 * 1024
"""Bytes of a compressed body that are unpacked before somebody asks how many there are."""
START, PACE = 30.0, 500.0
"""A body has START seconds, and one more for every PACE bytes that have come."""


def limit(began: float, now: float, received: int) -> float:
    """Until when the next piece of a body must come."""
    return min(now + SILENCE, began + START + received / PACE)


async def read_in_time(request: web.Request) -> bytes:
    """As `request.read()`. Raises RequestTooSlow."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    most = request.client_max_size
    request.content.set_read_chunk_size(PIECE)
    body = bytearray()
    while True:
        try:
            async with asyncio.timeout_at(limit(began, loop.time(), len(body))):
                piece = await request.content.readany()
        except TimeoutError:
            raise RequestTooSlow(
                f"the body came too slowly: {len(body)} bytes in {loop.time() - began:.0f} s"
            ) from None
        if not piece:
            return bytes(body)
        body += piece
        if len(body) > most:
            raise web.HTTPRequestEntityTooLarge(most, len(body))


class Doorkeeper:
    """Closes connections that have not brought a whole request for too long."""

    def __init__(
        self,
        connections: Callable[[], Collection[RequestHandler]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._clock = clock
        self._silent: dict[RequestHandler, float] = {}
        """Since when they were seen."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            self.look()

    def look(self) -> None:
        now = self._clock()
        silent = [each for each in self._connections() if not each._request_count]
        self._silent = {each: self._silent.get(each, now) for each in silent}
        for each, since in self._silent.items():
            if now - since >= FIRST_HEAD - LOOK:  # it may have been there since the last look
                each.force_close()
