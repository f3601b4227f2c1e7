"""The requests under way: a list, and a way to break one off."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from core.errors import NotFound
from core.flights import Flights, InFlight


class RequestsApi:
    """`/api/requests` and `/api/requests/{number}/cancel`."""

    def __init__(self, flights: Flights, clock: Callable[[], float] = time.monotonic) -> None:
        self._flights = flights
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/requests", self.requests),
            web.post("/api/requests/{number:[0-9]{1,15}}/cancel", self.cancel),
        ]

    async def requests(self, request: web.Request) -> web.Response:
        now = self._clock()
        flights = self._flights.in_flight.items()
        return web.json_response({"requests": [_as_json(n, f, now) for n, f in flights]})

    async def cancel(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if not self._flights.cancel(number):
            raise NotFound(f"request {number} is over")
        return web.json_response({"cancelled": number}, status=202)


def _as_json(number: int, flight: InFlight, now: float) -> dict[str, Any]:
    first = flight.first_byte_at
    return {
        "number": number,
        "model": flight.model,
        "path": flight.path,
        "client": flight.client,
        "seconds": round(now - flight.started, 1),
        "first_byte_seconds": None if first is None else round(first - flight.started, 3),
        "status": flight.status,
        "chunks": flight.reads,
        "bytes": flight.bytes,
    }
