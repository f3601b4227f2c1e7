"""The surroundings of a controller without processes, devices or sockets."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.domain import Config, DeviceReading, LaunchSpec, Memory, Model, Program, Variant
from core.events import Bus
from core.model_controller import ModelController, Parts
from core.output import ModelOutput
from core.surroundings import Surroundings
from tests.fakes.launcher import FakeLauncher, FakeProcess
from tests.fakes.waiting import until


@dataclass
class FakeInterface:
    """Healthy or not, as the test says; `answers` go first."""

    healthy: bool = True
    answers: list[bool] = field(default_factory=list)
    asked: int = 0
    error: Exception | None = None

    def health_check(
        self, model_alias: str, port: int, start_time: float, timeout_seconds: int
    ) -> tuple[bool, str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        healthy = self.answers.pop(0) if self.answers else self.healthy
        return healthy, "answered" if healthy else "loading"


@dataclass
class FakeEngine:
    """Runs nothing in particular; sleeps if it has `asleep`, the memory that sleep keeps."""

    asleep: Memory | None = None
    error: Exception | None = None
    calls: list[str] = field(default_factory=list)
    blocked: Callable[[], None] = lambda: None

    def launch_spec(self, model: Model, variant: Variant, env: Mapping[str, str]) -> LaunchSpec:
        if self.error is not None:
            raise self.error
        return LaunchSpec((str(variant.script),), variant.script.parent, env)

    def sleep_memory(self, variant: Variant) -> Memory | None:
        return self.asleep

    def sleep(self, host: str, port: int) -> None:
        self.calls.append("sleep")
        self.blocked()

    def wake(self, host: str, port: int) -> None:
        self.calls.append("wake")
        self.blocked()


@dataclass
class FakeConnections:
    closed: bool = False

    def close(self) -> None:
        self.closed = True


class FakeDevices:
    """Devices whose used memory is what `held` says, plus what `others` hold."""

    def __init__(self, totals: Mapping[str, int]) -> None:
        self.totals = dict(totals)
        self.others: dict[str, int] = {}
        self.held: Callable[[], Mapping[str, int]] = dict
        self.offline: set[str] = set()
        self.refreshed = 0
        self.busy = False

    @property
    def readings(self) -> Mapping[str, DeviceReading] | None:
        held = self.held()
        readings = {}
        for name, total in self.totals.items():
            used = held.get(name, 0) + self.others.get(name, 0)
            readings[name] = DeviceReading(
                name,
                name not in self.offline,
                total,
                max(0, total - used),
                used,
                taken_at=time.monotonic(),
            )
        return readings

    def refresh(self) -> None:
        self.refreshed += 1

    def set_pace(self, busy: bool) -> None:
        self.busy = busy


async def _answers(port: int) -> bool:
    return True


class House:
    """A controller at work among fakes: `async with House(models, gpu=16) as house`."""

    def __init__(self, *models: Model, **totals: int) -> None:
        self.models = {model.name: model for model in models}
        self.launcher = FakeLauncher()
        self.interface = FakeInterface()
        self.engine = FakeEngine()
        self.devices = FakeDevices(totals or {"gpu": 16})
        self.bus = Bus()
        self.config = config_of(*models)
        self.connections: list[FakeConnections] = []
        self.taken_ports: set[int] = set()
        self.controller = ModelController(
            self.config,
            Parts(
                devices=self.devices,
                surroundings=self.surroundings,
                script_env=lambda model, variant, port, readings: {"LLM_PORT": str(port)},
                pick_port=self._pick_port,
                publish=self.bus.publish,
            ),
        )
        self.bus.listen(self.controller.changed)
        self.devices.held = self._held
        self._stack = contextlib.AsyncExitStack()
        self._folder = Path("/nonexistent")

    def _held(self) -> Mapping[str, int]:
        held: dict[str, int] = {}
        for instance in self.controller.fleet:
            if instance.process is not None and instance.process.alive:  # type: ignore[attr-defined]
                for name, megabytes in instance.reserved.items():
                    held[name] = held.get(name, 0) + megabytes
        return held

    def _pick_port(self, model: Model, taken: set[int]) -> int:
        if model.port in self.taken_ports:
            raise OSError(f"port {model.port} is taken by nginx (pid 1)")
        return model.port or 10_000 + len(self.launcher.processes)

    def surroundings(self, model: Model) -> Surroundings:
        return Surroundings(
            engine=self.engine,
            interface=self.interface,
            launcher=self.launcher,
            output=ModelOutput(model.name, self._folder),
            connect=self._connect,
            publish=self.bus.publish,
            port_answers=_answers,
        )

    def _connect(self, host: str, port: int) -> FakeConnections:
        self.connections.append(FakeConnections())
        return self.connections[-1]

    async def __aenter__(self) -> House:
        self._tasks = asyncio.TaskGroup()
        await self._stack.enter_async_context(self._tasks)
        self._task = self._tasks.create_task(self.controller.run(self._tasks))
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *error: Any) -> None:
        for process in self.launcher.alive:
            process.exit(0)
        await self.controller.shutdown(5.0)
        self._task.cancel()
        await self._stack.aclose()

    # ---- short words for tests -----------------------------------------------------------------

    def model(self, name: str) -> Model:
        return self.controller.config.models[name]

    def state(self, name: str) -> str:
        return self.controller.status_of(self.model(name)).state.value

    async def reaches(self, name: str, state: str) -> None:
        await until(lambda: self.state(name) == state)

    async def ready(self, *names: str) -> None:
        for name in names:
            await self.controller.start(self.model(name))

    @property
    def process(self) -> FakeProcess:
        """The newest process."""
        return self.launcher.processes[-1]

    @contextlib.asynccontextmanager
    async def request(self, name: str) -> AsyncIterator[Any]:
        async with self.controller.lease(self.model(name)) as instance:
            yield instance

    def asks(self, name: str) -> asyncio.Task[Any]:
        """A client that asks, gets its answer at once and goes."""

        async def ask() -> Any:
            try:
                async with self.request(name) as instance:
                    return str(instance.id)
            except Exception as error:  # a refused client must not end the task group
                return error

        return self._tasks.create_task(ask())


async def quiet(work: Any) -> Any:
    """The result, or the error as a value."""
    try:
        return await work
    except Exception as error:
        return error


def config_of(*models: Model, monitoring: bool = True) -> Config:
    folder = Path("/nonexistent")
    program = Program("127.0.0.1", 0, 3600.0, monitoring, folder, folder, folder, "INFO")
    return Config(folder / "config.json", program, {model.name: model for model in models})
