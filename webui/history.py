"""The last minutes of the devices and the last requests, kept in memory for the pages."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.domain import DeviceReading
from core.events import RequestFinished

SPAN = 15 * 60.0
PACE = 5.0
"""Seconds between two samples."""
KEPT_REQUESTS = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """Megabytes per device at one moment: in use altogether, and reserved for our models."""

    at: float
    used: Mapping[str, int]
    ours: Mapping[str, int]


class DeviceHistory:
    """One sample per PACE seconds of the last SPAN; no reading means that nothing changed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=int(SPAN / PACE))
        self.count = 0
        """Samples ever taken: grows with each."""

    def due(self) -> bool:
        return not self._samples or self._clock() - self._samples[-1].at >= PACE - 0.5

    def take(self, readings: Mapping[str, DeviceReading], ours: Mapping[str, int]) -> None:
        used = {r.name: r.used_mb for r in readings.values() if r.online}
        self._samples.append(Sample(self._clock(), used, dict(ours)))
        self.count += 1

    def series(self, devices: Mapping[str, DeviceReading]) -> dict[str, object]:
        """{"t": seconds ago .. 0, "devices": {name: {"used": [...], "ours": [...]}}}, up to now."""
        now = self._clock()
        kept = [s for s in self._samples if now - s.at <= SPAN]
        if kept and now - kept[-1].at > 1:
            kept.append(Sample(now, kept[-1].used, kept[-1].ours))
        return {
            "t": [round(s.at - now, 1) for s in kept],
            "devices": {
                name: {
                    "used": [s.used.get(name) for s in kept],
                    "ours": [s.ours.get(name, 0) if name in s.used else None for s in kept],
                    "total": reading.total_mb,
                }
                for name, reading in devices.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that is over."""

    number: int
    at: float
    model: str
    path: str
    status: int
    outcome: str
    seconds: float
    tokens_in: int | None
    tokens_out: int | None
    speed: float | None
    """Generated tokens per second, as the server tells it, or over the whole time."""


class RequestHistory:
    """The last KEPT_REQUESTS requests, the newest first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._finished: deque[tuple[int, float, RequestFinished]] = deque(maxlen=KEPT_REQUESTS)
        self._count = 0

    def note(self, event: RequestFinished) -> None:
        """Called at every request, so it only keeps the event."""
        self._count += 1
        self._finished.appendleft((self._count, self._clock(), event))

    def of(self, model: str | None, limit: int = 50) -> tuple[Finished, ...]:
        chosen = (kept for kept in self._finished if model is None or kept[2].model == model)
        return tuple(_finished(*kept) for kept in itertools.islice(chosen, limit))


def _finished(number: int, at: float, event: RequestFinished) -> Finished:
    usage = event.usage
    tokens_out = usage.get("completion_tokens")
    speed = usage.get("predicted_per_second")
    if speed is None and tokens_out and event.seconds > 0:
        speed = tokens_out / event.seconds
    return Finished(
        number,
        at,
        event.model,
        event.path,
        event.status,
        event.outcome,
        event.seconds,
        _whole(usage.get("prompt_tokens")),
        _whole(tokens_out),
        speed,
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
