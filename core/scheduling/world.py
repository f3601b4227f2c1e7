"""All that the scheduler sees, and all that it can answer: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.domain import Memory, Model, Variant
from core.states import State


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device that a plugin provides."""

    online: bool
    total: int = 0
    measured_free: int = 0
    """What the driver says is free now, other programs' use included."""


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One living instance."""

    id: str
    model: str
    variant: Variant
    state: State
    reserved: Memory
    counted: bool
    """The driver's reading already contains its memory; otherwise the memory is only promised."""
    leases: int = 0
    idle_since: float = 0.0
    sleep_memory: Memory | None = None
    """What sleep would leave reserved; None = it cannot sleep."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A request standing in line for a Model."""

    id: int
    model: str
    since: float


@dataclass(frozen=True, slots=True)
class ModelView:
    """A Model with what the controller knows of its past."""

    model: Model
    blocked: str | None = None
    """Set while it may not be started: the reason, e.g. during the cooldown after a failure."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything at one instant; `now` and all times are monotonic seconds."""

    now: float
    models: Mapping[str, ModelView]
    """At least those that the demands name."""
    devices: Mapping[str, DeviceView] | None
    """None until the first readings are in."""
    instances: tuple[InstanceView, ...]
    demands: tuple[Demand, ...]
    """In the order of the line: priority, then age."""
    returning: Memory = field(default_factory=dict)
    """Megabytes of trees that ended a moment ago: the driver may not show them as free yet."""
    monitoring: bool = True
    patience: float = 30.0
    """Seconds after which a demand makes the busy instances in its way take no new work."""
    settle: float = 10.0
    """Seconds a demand waits for memory that other programs hold before it is refused."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Give the demand a lease on the instance."""

    demand: Demand
    instance: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start a new instance of the variant, on behalf of the demand."""

    demand: Demand
    variant: Variant


@dataclass(frozen=True, slots=True)
class Wake:
    """Wake a sleeping instance."""

    instance: str


@dataclass(frozen=True, slots=True)
class Release:
    """Make an idle instance give its memory back: it sleeps when it can, otherwise it stops."""

    instance: str
    reason: str
    stop: bool = False
    """Stop it even if it could sleep."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Grant no new leases on this busy instance: an older demand has waited long enough."""

    instance: str
    demand: Demand


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the demand now; `code` is an error code of the API."""

    demand: Demand
    code: str
    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to do for the demand yet; `why` is for the person who looks at the line."""

    demand: Demand
    why: str
    blockers: tuple[str, ...] = field(default=())


Action = Grant | Start | Wake | Release | Hold | Reject | Waiting
