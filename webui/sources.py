"""What the dashboard shows, as it asks for it; it changes nothing of all this."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from core.domain import Config, DeviceReading, Model, ModelStatus
from core.events import Bus
from core.output import ModelOutput
from core.scheduling.world import Action


class Controller(Protocol):
    """The asking half of the controller."""

    @property
    def in_line(self) -> int: ...
    def status(self) -> list[ModelStatus]: ...
    def status_of(self, model: Model) -> ModelStatus: ...
    def running(self) -> list[ModelStatus]: ...
    def preview(self, model: Model) -> list[Action]: ...


class Store(Protocol):
    """The config in force and what is wrong with the file."""

    @property
    def current(self) -> Config: ...
    @property
    def path(self) -> Path: ...
    @property
    def problems(self) -> tuple[Any, ...]: ...
    @property
    def warnings(self) -> tuple[Any, ...]: ...


class Flight(Protocol):
    """A request under way."""

    @property
    def model(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def client(self) -> str: ...
    @property
    def started(self) -> float: ...
    @property
    def status(self) -> int: ...
    @property
    def reads(self) -> int: ...
    @property
    def first_byte_at(self) -> float | None: ...


def _no_note() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything on the pages comes from."""

    version: str
    address: str
    log_file: Path
    reachable_from_network: bool
    controller: Controller
    store: Store
    bus: Bus
    readings: Callable[[], Mapping[str, DeviceReading] | None]
    in_flight: Callable[[], Mapping[int, Flight]]
    endpoints: Callable[[], Mapping[str, Iterable[str]]]
    """URL path to the interfaces (lower case) that serve it."""
    plugins: Callable[[], dict[str, Any]]
    output: Callable[[str], ModelOutput]
    closing: asyncio.Event
    tray_note: Callable[[], str] = _no_note
    """`on`, or `off` with the reason."""
    clock: Callable[[], float] = time.monotonic
