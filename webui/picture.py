"""The one picture of the program that all tabs look at: views, renewed when something changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import quote

from core.domain import ModelStatus
from core.events import DevicesChanged, Event, RequestFinished
from core.foresight import Foresight, foresee
from core.states import COMING
from webui.history import DeviceHistory, RequestHistory
from webui.sources import Sources
from webui.views import (
    DeviceView,
    FlightView,
    ModelView,
    SummaryView,
    device_view,
    model_view,
    reserved_by_device,
    summary_view,
)

REDRAW = 60.0
"""Seconds after which all models are looked at though nothing told of a change: scripts come and go
without a word. At every reading it would cost a percent of a core with a thousand models."""


@dataclass(frozen=True, slots=True)
class Banners:
    """What a person should know before anything else."""

    reachable: bool
    problems: tuple[str, ...]
    warnings: int
    broken_plugins: int


class Picture:
    """Views of everything. It listens to events and asks; it never wishes for anything."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.history = DeviceHistory(sources.clock)
        self.finished = RequestHistory(sources.clock)
        self.models: tuple[ModelView, ...] = ()
        self.devices: tuple[DeviceView, ...] | None = None
        self.flights: tuple[FlightView, ...] = ()
        self.summary: SummaryView = summary_view((), 0, sources.address)
        self.banners = Banners(False, (), 0, 0)
        self._by_name: dict[str, ModelView] = {}
        self._statuses: list[ModelStatus] = []
        self._dirty = True
        self._moving = False
        self._online: set[str] = set()
        self._drawn_at = 0.0
        self._beat = asyncio.Event()
        sources.bus.listen(self._changed)

    def _changed(self, event: Event) -> None:
        """Called at every event, so it only takes note."""
        if not isinstance(event, DevicesChanged):
            self._dirty = True
        if isinstance(event, RequestFinished):
            self.finished.note(event)
        elif isinstance(event, DevicesChanged) and self.history.due():
            self.history.take(
                self.sources.readings() or {}, reserved_by_device(self.sources.controller.running())
            )
        self._beat.set()

    async def change(self, seconds: float) -> None:
        """Return at the next event, or after `seconds`; at once if there was one meanwhile."""
        if self._dirty:
            return
        if self._beat.is_set():
            self._beat = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._beat.wait()

    def refresh(self) -> None:
        """Draw anew if something can have changed: an event came, or something is under way."""
        sources = self.sources
        now = sources.clock()
        online = {reading.name for reading in (sources.readings() or {}).values() if reading.online}
        if not (
            self._dirty
            or self._moving
            or sources.in_flight()
            or self.flights
            or online != self._online
            or now - self._drawn_at >= REDRAW
        ):
            self.devices = self._devices()  # a new reading alone changes no model
            return
        self._dirty = False
        self._online = online
        self._drawn_at = now
        self._statuses = sources.controller.status()
        self.models = tuple(
            model_view(status, order, now) for order, status in enumerate(self._statuses)
        )
        self._by_name = {view.name: view for view in self.models}
        self._moving = any(s.state in COMING or s.waiting for s in self._statuses)
        self.devices = self._devices()
        self.flights = tuple(
            FlightView(
                number,
                flight.model,
                quote(flight.model, safe=""),
                flight.path,
                flight.client,
                round(flight.started, 1),
                round(flight.first_byte_at - flight.started, 2) if flight.first_byte_at else None,
                flight.reads,
            )
            for number, flight in sources.in_flight().items()
        )
        self.summary = summary_view(self.models, len(self.flights), sources.address)
        self.banners = self._banners()

    def _devices(self) -> tuple[DeviceView, ...] | None:
        readings = self.sources.readings()
        if readings is None:
            return None
        before = {view.name: view.others_mb for view in self.devices or () if view.online}
        return tuple(
            device_view(reading, self._statuses, before.get(reading.name))
            for reading in readings.values()
        )

    def _banners(self) -> Banners:
        store = self.sources.store
        kinds = self.sources.plugins().values()
        broken = sum(1 for kind in kinds for file in kind["plugins"] if file["error"])
        return Banners(
            self.sources.reachable_from_network,
            tuple(str(problem) for problem in store.problems),
            len(store.warnings),
            broken + sum(1 for kind in kinds if kind["error"]),
        )

    def model(self, name: str) -> ModelView | None:
        return self._by_name.get(name)

    def foresight(self, name: str) -> Foresight | None:
        """What a start of the model would set off; None where there is nothing to start."""
        view, model = self.model(name), self.sources.store.current.models.get(name)
        if view is None or model is None or view.action != "start":
            return None
        return foresee(self.sources.controller.preview(model))

    @property
    def first_run(self) -> bool:
        """Nothing was ever started."""
        return bool(self.models) and not any(view.starts for view in self.models)
