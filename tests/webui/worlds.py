"""A program made of values, for tests of what the dashboard shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.domain import Config, DeviceReading, Model, ModelStatus, Program, Variant
from core.events import Bus, InstanceChanged
from core.output import ModelOutput
from core.scheduling.world import Action
from core.states import State
from webui.sources import Sources

STATUS = ModelStatus(
    name="m",
    aliases=("m",),
    mode="Chat",
    state=State.STOPPED,
    state_seconds=0.0,
    stage="",
    last_line="",
    pending=0,
    waiting=0,
    variant=None,
    port=None,
    pid=None,
    memory_mb={},
    idle_seconds=0.0,
    idle_limit=3600.0,
    starts=1,
    failure=None,
    startable=None,
    usual_load_seconds=None,
    pinned=False,
)


def status(name: str = "m", **changes: Any) -> ModelStatus:
    return replace(STATUS, **{"name": name, "aliases": (name,), **changes})


def model(name: str, **changes: Any) -> Model:
    variant = Variant("A", ("cpu",), {"cpu": 100}, Path("/scripts/a.sh"))
    return replace(Model(name, name, (name,), "Chat", (variant,)), **changes)


def plugin_status(*errors: str) -> dict[str, Any]:
    files = [
        {"file": f"p{n}.py", "names": ["x"], "loaded": False, "error": error, "sha256": None}
        for n, error in enumerate(errors)
    ]
    kinds: dict[str, Any] = {
        k: {"directory": k, "error": None, "plugins": []} for k in ("devices", "engines")
    }
    return {**kinds, "interfaces": {"directory": "interfaces", "error": None, "plugins": files}}


@dataclass(slots=True)
class Flight:
    model: str
    path: str = "/v1/chat/completions"
    client: str = "127.0.0.1"
    started: float = 0.0
    status: int = 0
    reads: int = 0
    first_byte_at: float | None = None


@dataclass(slots=True)
class Store:
    current: Config
    path: Path
    problems: tuple[Any, ...] = ()
    warnings: tuple[Any, ...] = ()


@dataclass(slots=True)
class World:
    """Change its fields, then call `happen`."""

    folder: Path
    statuses: list[ModelStatus] = field(default_factory=list)
    readings: Mapping[str, DeviceReading] | None = field(default_factory=dict)
    flights: dict[int, Flight] = field(default_factory=dict)
    foreseen: list[Action] = field(default_factory=list)
    plugins: dict[str, Any] = field(default_factory=plugin_status)
    problems: tuple[str, ...] = ()
    now: float = 1000.0
    bus: Bus = field(default_factory=Bus)
    outputs: dict[str, ModelOutput] = field(default_factory=dict)
    asked: int = 0
    """How often the status of all was asked for."""
    looked: list[str] = field(default_factory=list)
    """Models whose own status was asked for."""

    def status(self) -> list[ModelStatus]:
        self.asked += 1
        return self.statuses

    @property
    def in_line(self) -> int:
        return sum(status.waiting for status in self.statuses)

    def status_of(self, model: Model) -> ModelStatus:
        self.looked.append(model.name)
        return next(status for status in self.statuses if status.name == model.name)

    def running(self) -> list[ModelStatus]:
        living = [s for s in self.statuses if s.memory_mb or s.variant or s.waiting]
        self.looked += [s.name for s in living]
        return living

    def preview(self, model: Model) -> list[Action]:
        return self.foreseen

    def output(self, name: str) -> ModelOutput:
        return self.outputs.setdefault(name, ModelOutput(name, self.folder / "models"))

    def happen(self, name: str = "m") -> None:
        self.bus.publish(InstanceChanged(name, f"{name}#1", State.READY))

    def config(self) -> Config:
        program = Program(
            "127.0.0.1", 8080, 3600.0, True, self.folder, self.folder, self.folder, "INFO"
        )
        models = {s.name: model(s.name, interface=s.mode) for s in self.statuses}
        return Config(self.folder / "config.json", program, models)

    def sources(self, *, closing: asyncio.Event | None = None, real_time: bool = False) -> Sources:
        log_file = self.folder / "program.log"
        log_file.touch()
        return Sources(
            version="2.0.0",
            address="http://127.0.0.1:8080",
            log_file=log_file,
            reachable_from_network=True,
            controller=self,
            store=Store(self.config(), self.folder / "config.json", self.problems),
            bus=self.bus,
            readings=lambda: self.readings,
            in_flight=lambda: self.flights,
            endpoints=lambda: {"/v1/chat/completions": {"chat"}, "/v1/embeddings": {"embedding"}},
            plugins=lambda: self.plugins,
            output=self.output,
            closing=closing or asyncio.Event(),
            clock=time.monotonic if real_time else lambda: self.now,
        )


def devices(*readings: DeviceReading) -> dict[str, DeviceReading]:
    return {reading.name: reading for reading in readings}


def names(items: Iterable[Any]) -> list[str]:
    return [item.name for item in items]
