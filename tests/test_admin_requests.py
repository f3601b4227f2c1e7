"""/api/requests: what is under way, and how it is broken off."""

from __future__ import annotations

from typing import cast

from core.admin_requests import RequestsApi
from core.flights import InFlight
from core.gateway import Gateway
from tests.fakes.http import serving


class FakeGateway:
    """One request under way; cancelling works once."""

    def __init__(self) -> None:
        flight = InFlight("m", "/v1/x", "127.0.0.1", 90.0, status=200, reads=3, bytes=12)
        flight.first_byte_at = 91.5
        self.in_flight = {7: flight}

    def cancel(self, number: int) -> bool:
        return self.in_flight.pop(number, None) is not None


async def test_requests_are_listed_and_cancelled() -> None:
    api = RequestsApi(cast("Gateway", FakeGateway()), clock=lambda: 100.0)
    async with serving(api.routes()) as client:
        listed = await (await client.get("/api/requests")).json()
        assert listed["requests"] == [
            {
                "number": 7,
                "model": "m",
                "path": "/v1/x",
                "client": "127.0.0.1",
                "seconds": 10.0,
                "first_byte_seconds": 1.5,
                "status": 200,
                "chunks": 3,
                "bytes": 12,
            }
        ]
        assert (await client.get("/api/requests/7/cancel")).status == 405
        assert (await client.post("/api/requests/7/cancel")).status == 202
        assert (await client.post("/api/requests/7/cancel")).status == 404
        assert (await client.post("/api/requests/x/cancel")).status == 404
