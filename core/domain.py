"""The nouns of the program as frozen values: what a config file, a plugin or a reading says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.states import State

Memory = Mapping[str, int]
"""Device name (lower case) to megabytes (MiB)."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run a Model."""

    name: str
    devices: tuple[str, ...]
    """Names in lower case; all of them must be online."""
    memory: Memory
    script: Path
    """Absolute path of the start-up script for this operating system; it need not exist."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a client asks for by name; durations are in seconds."""

    name: str
    """Primary name: the first alias."""
    key: str
    """Its key in the config file."""
    aliases: tuple[str, ...]
    interface: str
    """Interface name as written in the config (`mode`); compared without case."""
    variants: tuple[Variant, ...]
    port: int | None = None
    auto_start: bool = False
    engine: str = "script"
    alive_time: float | None = 3600.0
    """Idle seconds before the unload; None = never."""
    start_timeout: float = 300.0
    stop_timeout: float = 10.0
    pinned: bool = False
    priority: int = 0
    """Higher goes first in the line and is evicted last."""
    concurrency: int = 0
    """Requests at the same time; 0 = no limit."""
    queue_limit: int = 0
    """Requests that may stand in line; 0 = no limit."""
    upstream_model: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Program:
    """The `program` section; directories are absolute."""

    host: str
    port: int
    alive_time: float | None
    """Seconds; the default of every Model; None = never."""
    monitoring: bool
    """False = `Disable_GPU_monitoring`: no device checks, first variant, the user is in control."""
    device_plugin_dir: Path
    interface_plugin_dir: Path
    engine_plugin_dir: Path
    log_level: str
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """One whole, valid configuration."""

    path: Path
    program: Program
    models: Mapping[str, Model]
    """By primary name, in file order."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """What an Engine wants to run: nothing of it comes from a request."""

    argv: tuple[str, ...]
    folder: Path
    env: Mapping[str, str]
    """Added to the manager's own environment."""


@dataclass(frozen=True, slots=True)
class DeviceReading:
    """The last word of a device plugin; megabytes are MiB."""

    name: str
    """Lower case."""
    online: bool
    total_mb: int = 0
    available_mb: int = 0
    used_mb: int = 0
    error: str | None = None
    """Why it is offline or could not be read."""
    taken_at: float = 0.0
    """`time.monotonic()` when the reading was begun: later events are not in it."""
    index: int | None = None
    """The number that CUDA_VISIBLE_DEVICES wants (PCI bus order), where there is one."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Optional: `use_percent`, `temperature_c`, `power_w`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a Model is not running although somebody wanted it."""

    reason: str
    code: str = "model_failed"
    """`model_failed` or `start_timeout`."""
    exit_code: int | None = None
    log_tail: tuple[str, ...] = ()
    at: float = 0.0
    retry_at: float = 0.0
    """Monotonic time before which no new start is tried on a client's behalf."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What a user sees of a Model; derived from its instance, its line and its last failure."""

    name: str
    aliases: tuple[str, ...]
    mode: str
    state: State
    state_seconds: float
    """Time in this state."""
    stage: str
    """What it is doing now, in a few words for a person ("health check 3")."""
    last_line: str
    """The last line that the server printed."""
    pending: int
    waiting: int
    variant: str | None
    port: int | None
    pid: int | None
    memory_mb: Memory
    idle_seconds: float
    idle_limit: float | None
    """Seconds of idleness after which it is unloaded; None = never."""
    starts: int
    failure: Failure | None
    startable: str | None
    """None, or why it cannot be started at all (no device, no script)."""
    usual_load_seconds: float | None
    pinned: bool

    def as_json(self, now: float) -> dict[str, Any]:
        """The object of `GET /api/models`; ages and waits are relative to `now` (monotonic)."""
        failure = None
        if self.failure:
            failure = {
                "reason": self.failure.reason,
                "exit_code": self.failure.exit_code,
                "log_tail": list(self.failure.log_tail),
                "retry_in": round(max(0.0, self.failure.retry_at - now), 1),
            }
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "mode": self.mode,
            "state": self.state.value,
            "state_seconds": round(self.state_seconds, 1),
            "stage": self.stage,
            "last_line": self.last_line,
            "pending": self.pending,
            "waiting": self.waiting,
            "variant": self.variant,
            "port": self.port,
            "pid": self.pid,
            "memory_mb": dict(self.memory_mb),
            "idle_seconds": round(self.idle_seconds, 1),
            "idle_limit": self.idle_limit,
            "starts": self.starts,
            "failure": failure,
            "startable": self.startable,
            "usual_load_seconds": self.usual_load_seconds,
            "pinned": self.pinned,
        }
