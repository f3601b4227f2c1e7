"""What an instance works with, as far as it needs to know."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from core.domain import LaunchSpec, Memory, Model, Variant
from core.events import Event
from core.health import port_answers
from core.launchers.base import Launcher
from core.output import ModelOutput


class Interface(Protocol):
    """The part of an interface plugin that an instance needs."""

    def health_check(
        self, model_alias: str, port: int, start_time: float, timeout_seconds: int, /
    ) -> tuple[bool, str]: ...


class Engine(Protocol):
    """The part of an engine plugin that an instance needs."""

    def launch_spec(
        self, model: Model, variant: Variant, env: Mapping[str, str], /
    ) -> LaunchSpec: ...
    def sleep_memory(self, variant: Variant, /) -> Memory | None: ...
    def sleep(self, host: str, port: int, /) -> None: ...
    def wake(self, host: str, port: int, /) -> None: ...


class Connections(Protocol):
    """The pooled connections to the server; closed before the server is asked to stop."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an instance works with; the same for all instances of a Model at one time."""

    engine: Engine
    interface: Interface
    launcher: Launcher
    output: ModelOutput
    connect: Callable[[str, int], Connections]
    publish: Callable[[Event], None]
    clock: Callable[[], float] = time.monotonic
    port_answers: Callable[[int], Awaitable[bool]] = port_answers
