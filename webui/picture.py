"""The one picture of the program that all tabs look at: views, renewed when something changed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import starmap
from urllib.parse import quote

from core.config.diff import diff
from core.domain import ModelStatus
from core.events import DevicesChanged, Event, InstanceChanged, RequestFinished
from core.foresight import Foresight, foresee
from core.listening import is_local
from core.states import COMING
from webui.history import DeviceHistory, RequestHistory
from webui.sources import Flight, Sources
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
    """From the network; and it stays so, as far as the config says."""
    problems: tuple[str, ...] = ()
    path: str = ""
    """Of the config file."""
    broken_plugins: tuple[str, ...] = ()
    """Files, and folders that cannot be read."""
    after_restart: tuple[str, ...] = ()
    """Settings that were changed and wait for the next start."""
    closing: bool = False
    """From the next start on only this machine can reach it."""


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
        self.banners = Banners(False)
        self._views: dict[str, ModelView] = {}
        """By name, as the config has them."""
        self._living: list[ModelStatus] = []
        """Models that live or are waited for."""
        self._unknown = True
        """Anything may have changed."""
        self._touched: set[str] = set()
        """Models of which an event told."""
        self._moving = False
        self._online: set[str] = set()
        self._drawn_at = 0.0
        self._beat = asyncio.Event()
        self._begun_with = sources.store.current
        sources.bus.listen(self._changed)

    def _changed(self, event: Event) -> None:
        """Called at every event, so it only takes note."""
        match event:
            case InstanceChanged(model=name):
                self._touched.add(name)
            case RequestFinished(model=name):
                self._touched.add(name)
                self.finished.note(event)
            case DevicesChanged() if self.history.due():
                running = self.sources.controller.running()
                self.history.take(self.sources.readings() or {}, reserved_by_device(running))
            case DevicesChanged():
                pass
            case _:
                self._unknown = True
        self._beat.set()

    async def change(self, seconds: float) -> None:
        """Return at the next event, or after `seconds`; at once if there was one meanwhile."""
        if self._unknown or self._touched:
            return
        if self._beat.is_set():
            self._beat = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._beat.wait()

    def refresh(self) -> None:
        """Look again at what can have changed: events told of it, or it is under way.

        Of a thousand models twenty work: the others are not asked.
        """
        sources = self.sources
        now = sources.clock()
        online = {reading.name for reading in (sources.readings() or {}).values() if reading.online}
        flights, before = sources.in_flight(), (self.models, self.flights)
        new = self._touched - self._views.keys()
        if self._unknown or new or online != self._online or now - self._drawn_at >= REDRAW:
            self._unknown = False
            self._touched.clear()
            self._online = online
            self._drawn_at = now
            self._look_at_all(now)
            self.banners = self._banners()
        elif self._touched or self._moving or flights or self.flights or sources.controller.in_line:
            self._look_at_some(now)
        self.devices = self._devices()
        if flights or self.flights:
            self.flights = tuple(starmap(_flight, flights.items()))
        if before[0] is not self.models or before[1] is not self.flights:
            self.summary = summary_view(self.models, len(self.flights), sources.address)

    def _look_at_all(self, now: float) -> None:
        statuses = self.sources.controller.status()
        self._views = {s.name: model_view(s, order, now) for order, s in enumerate(statuses)}
        self.models = tuple(self._views.values())
        self._note_living(self.sources.controller.running())

    def _look_at_some(self, now: float) -> None:
        """Those that live, those that did at the last look, and those that events named."""
        controller, models = self.sources.controller, self.sources.store.current.models
        living = controller.running()
        quiet = {*self._touched, *(s.name for s in self._living)} - {s.name for s in living}
        self._touched.clear()
        looked = [*living, *(controller.status_of(models[n]) for n in quiet if n in models)]
        changed = False
        for status in looked:
            old = self._views.get(status.name)
            if old is not None:  # else its last instance ends, and the config has it no more
                view = model_view(status, old.order, now)
                changed |= view != old
                self._views[status.name] = view
        if changed:
            self.models = tuple(self._views.values())
        self._note_living(living)

    def _note_living(self, living: list[ModelStatus]) -> None:
        self._living = sorted(living, key=lambda status: self._order(status.name))
        self._moving = any(s.state in COMING or s.waiting for s in living)

    def _order(self, name: str) -> int:
        view = self._views.get(name)
        return len(self._views) if view is None else view.order

    def _devices(self) -> tuple[DeviceView, ...] | None:
        readings = self.sources.readings()
        if readings is None:
            return None
        before = {view.name: view.others_mb for view in self.devices or () if view.online}
        return tuple(
            device_view(reading, self._living, before.get(reading.name))
            for reading in readings.values()
        )

    def _banners(self) -> Banners:
        store = self.sources.store
        kinds = self.sources.plugins().values()
        broken = [f["file"] for kind in kinds for f in kind["plugins"] if f["error"]]
        broken += [kind["directory"] for kind in kinds if kind["error"]]
        after_restart = diff(self._begun_with, store.current).after_restart
        reachable = self.sources.reachable_from_network
        closing = reachable and "host" in after_restart and is_local(store.current.program.host)
        return Banners(
            reachable and not closing,
            tuple(str(problem) for problem in store.problems),
            str(store.path),
            tuple(broken),
            after_restart,
            closing,
        )

    def model(self, name: str) -> ModelView | None:
        return self._views.get(name)

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


def _flight(number: int, flight: Flight) -> FlightView:
    return FlightView(
        number,
        flight.model,
        quote(flight.model, safe=""),
        flight.path,
        flight.client,
        round(flight.started, 1),
        round(flight.first_byte_at - flight.started, 2) if flight.first_byte_at else None,
        flight.reads,
    )
