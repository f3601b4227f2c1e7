"""/api/* and the public lists: status, start, stop, logs, the event stream."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from core.catalog import Catalog
from core.domain import DeviceReading, Model, ModelStatus
from core.errors import ModelStopped
from core.events import Bus, Event, InstanceChanged
from core.foresight import foresee
from core.model_controller import ModelController
from core.output import ModelOutput
from core.server_events import send_events


class Config(Protocol):
    """What the config store tells about itself."""

    @property
    def path(self) -> Path: ...
    @property
    def problems(self) -> tuple[Any, ...]: ...
    @property
    def warnings(self) -> tuple[Any, ...]: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """Where the program is and what it runs with."""

    version: str
    address: str
    started_at: float
    log_file: Path
    reachable_from_network: bool
    tray: Callable[[], str] = lambda: "off"
    """`on`, or `off (reason)`."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the answers are made of."""

    facts: Facts
    store: Config
    catalog: Catalog
    controller: ModelController
    bus: Bus
    readings: Callable[[], Mapping[str, DeviceReading] | None]
    plugins: Callable[[], dict[str, Any]]
    output: Callable[[str], ModelOutput]
    closing: asyncio.Event


class AdminApi:
    """One method per URL."""

    def __init__(self, sources: Sources) -> None:
        self._s = sources

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self.health),
            web.get("/v1/health", self.health),
            web.get("/api/health", self.health),
            web.get("/v1/models", self.openai_models),
            web.get("/v1/models/{id:.+}", self.openai_model),
            web.get("/api/info", self.info),
            web.get("/api/models", self.models),
            web.get("/api/devices", self.devices),
            web.get("/api/devices/info", self.devices),
            web.get("/api/plugins", self.plugins),
            web.get("/api/events", self.events),
            web.post("/api/models/restart-autostart", self.restart_autostart),
            web.post("/api/models/stop-all", self.stop_all),
            web.get("/api/models/{alias:.+}/info", self.model),
            web.get("/api/models/{alias:.+}/preview", self.preview),
            web.post("/api/models/{alias:.+}/start", self.start),
            web.post("/api/models/{alias:.+}/stop", self.stop),
            web.get("/api/models/{alias:.+}/logs", self.logs),
            web.get("/api/models/{alias:.+}/logs/stream", self.logs_stream),
        ]

    # ---- lists ---------------------------------------------------------------------------------

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "version": self._s.facts.version})

    async def openai_models(self, request: web.Request) -> web.Response:
        data = [self._openai(status) for status in self._s.controller.status()]
        return web.json_response({"object": "list", "data": data})

    async def openai_model(self, request: web.Request) -> web.Response:
        model = self._s.catalog.resolve(request.match_info["id"])
        return web.json_response(self._openai(self._s.controller.status_of(model)))

    def _openai(self, status: ModelStatus) -> dict[str, Any]:
        return {
            "id": status.name,
            "object": "model",
            "created": int(self._s.facts.started_at),
            "owned_by": "llm-manager",
            "aliases": list(status.aliases),
            "mode": status.mode,
            "state": status.state.value,
        }

    async def info(self, request: web.Request) -> web.Response:
        facts = self._s.facts
        return web.json_response(
            {
                "name": "LLM-Manager",
                "version": facts.version,
                "pid": os.getpid(),
                "address": facts.address,
                "dashboard": f"{facts.address}/",
                "uptime_seconds": round(time.time() - facts.started_at, 1),
                "config": str(self._s.store.path),
                "config_problems": [str(p) for p in self._s.store.problems],
                "config_warnings": [str(p) for p in self._s.store.warnings],
                "log_file": str(facts.log_file),
                "reachable_from_network": facts.reachable_from_network,
                "tray": facts.tray(),
                "models": len(self._s.controller.config.models),
            }
        )

    async def models(self, request: web.Request) -> web.Response:
        now = time.monotonic()
        return web.json_response(
            {"models": [status.as_json(now) for status in self._s.controller.status()]}
        )

    async def model(self, request: web.Request) -> web.Response:
        return web.json_response(self._status(self._model(request)))

    async def preview(self, request: web.Request) -> web.Response:
        """What a start would set off now; nothing of it is done."""
        model = self._model(request)
        foresight = foresee(self._s.controller.preview(model))
        return web.json_response({"model": model.name, **foresight.as_json()})

    async def devices(self, request: web.Request) -> web.Response:
        reserved: dict[str, int] = {}
        for instance in self._s.controller.fleet:
            for device, megabytes in instance.reserved.items():
                reserved[device] = reserved.get(device, 0) + megabytes
        readings = self._s.readings() or {}
        return web.json_response(
            {"devices": [_device(r, reserved.get(r.name, 0)) for r in readings.values()]}
        )

    async def plugins(self, request: web.Request) -> web.Response:
        return web.json_response(self._s.plugins())

    # ---- actions -------------------------------------------------------------------------------

    async def start(self, request: web.Request) -> web.Response:
        model = self._model(request)
        if _wants_wait(request):
            await self._s.controller.start(model)
            return web.json_response(self._status(model))
        self._s.controller.start_soon(model)
        await asyncio.sleep(0)  # so that the answer shows the start
        return web.json_response(self._status(model), status=202)

    async def stop(self, request: web.Request) -> web.Response:
        model = self._model(request)
        ended = self._s.controller.stop(model)
        if _wants_wait(request):
            if ended is not None:
                await ended.wait()
            return web.json_response(self._status(model))
        return web.json_response(self._status(model), status=202)

    async def restart_autostart(self, request: web.Request) -> web.Response:
        models = [m for m in self._s.controller.config.models.values() if m.auto_start]
        for model in models:
            self._s.controller.restart(model, "restart of the auto-start models")
        return web.json_response({"models": [m.name for m in models]}, status=202)

    async def stop_all(self, request: web.Request) -> web.Response:
        ends = []
        names = []
        for model in list(self._s.controller.config.models.values()):
            ended = self._s.controller.stop(model)
            if ended is not None:
                ends.append(ended)
                names.append(model.name)
        if _wants_wait(request):
            for ended in ends:
                await ended.wait()
        status = 200 if _wants_wait(request) else 202
        return web.json_response({"models": names}, status=status)

    # ---- logs and events -----------------------------------------------------------------------

    async def logs(self, request: web.Request) -> web.Response:
        model = self._model(request)
        lines = self._s.output(model.name).tail(_count(request, 200))
        return web.json_response({"model": model.name, "lines": lines})

    async def logs_stream(self, request: web.Request) -> web.StreamResponse:
        output = self._s.output(self._model(request).name)
        history = _count(request, 100)

        async def events() -> AsyncGenerator[str, None]:
            async for lines in output.follow(history):
                yield "".join(f"data: {json.dumps({'line': line})}\n\n" for line in lines)

        return await send_events(request, self._s.closing, events())

    async def events(self, request: web.Request) -> web.StreamResponse:
        async def events() -> AsyncGenerator[str, None]:
            with self._s.bus.subscribe() as subscription:  # before the snapshot: no gap between
                yield f"event: snapshot\ndata: {json.dumps(self._snapshot())}\n\n"
                async for event in subscription:
                    yield self._event(event)

        return await send_events(request, self._s.closing, events())

    def _snapshot(self) -> dict[str, Any]:
        now = time.monotonic()
        return {"models": [status.as_json(now) for status in self._s.controller.status()]}

    def _event(self, event: Event) -> str:
        data = dataclasses.asdict(event)
        if isinstance(event, InstanceChanged):
            model = self._s.controller.config.models.get(event.model)
            if model is not None:
                data["status"] = self._status(model)
        return f"event: {type(event).__name__}\ndata: {json.dumps(data)}\n\n"

    # ---- small parts ---------------------------------------------------------------------------

    def _model(self, request: web.Request) -> Model:
        return self._s.catalog.resolve(request.match_info["alias"])

    def _status(self, model: Model) -> dict[str, Any]:
        if model.name not in self._s.controller.config.models:
            raise ModelStopped(f"'{model.name}' is no longer configured")
        return self._s.controller.status_of(model).as_json(time.monotonic())


def _wants_wait(request: web.Request) -> bool:
    return request.query.get("wait", "") in ("1", "true", "yes")


def _count(request: web.Request, default: int) -> int:
    try:
        return max(0, int(request.query.get("lines", default)))
    except ValueError:
        return default


def _device(reading: DeviceReading, reserved: int) -> dict[str, Any]:
    return {
        "name": reading.name,
        "online": reading.online,
        "total_mb": reading.total_mb,
        "available_mb": reading.available_mb,
        "used_mb": reading.used_mb,
        "reserved_mb": reserved,
        "error": reading.error,
        "metrics": dict(reading.metrics),
    }
