"""The requests under way, and what is told of each when it is over."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from core.events import Event, RequestFinished
from core.log import log_request


@dataclass(slots=True)
class InFlight:
    """A request under way, as the dashboard sees it; kept up to date while the answer passes."""

    model: str
    path: str
    client: str
    started: float
    status: int = 0
    """0 until the answer has begun."""
    reads: int = 0
    """Pieces in which the answer came; about one per token for a stream."""
    bytes: int = 0
    """Of the answer's body, as it came."""
    first_byte_at: float | None = None
    """On the clock of the pool."""
    outcome: str = "client_closed"
    """`ok`, `client_closed` or `upstream_broken`; settled when the request is over."""
    usage: dict[str, float] = field(default_factory=dict)


class Flights:
    """All requests that hold a lease now; one log line and one event for each that ends."""

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self.in_flight: dict[int, InFlight] = {}
        """By number."""
        self._cancels: dict[int, Callable[[], object]] = {}
        self._publish = publish
        self._numbers = itertools.count(1)

    def begin(self, flight: InFlight, cancel: Callable[[], object]) -> int:
        """Its number from now on; `cancel` breaks it off as if its client had left."""
        number = next(self._numbers)
        self.in_flight[number] = flight
        self._cancels[number] = cancel
        return number

    def cancel(self, number: int) -> bool:
        """Break a request off; False if it is over."""
        cancel = self._cancels.get(number)
        if cancel is None:
            return False
        cancel()
        return True

    def forget(self, number: int) -> InFlight:
        """It goes another way, and is told of there."""
        del self._cancels[number]
        return self.in_flight.pop(number)

    def end(self, number: int, instance: str) -> None:
        """It is over, whichever way."""
        flight = self.forget(number)
        seconds = time.monotonic() - flight.started
        log_request(instance, flight.path, flight.status, flight.outcome, seconds)
        self._publish(
            RequestFinished(
                flight.model,
                instance,
                flight.path,
                flight.status,
                seconds,
                flight.outcome,
                flight.usage,
            )
        )
