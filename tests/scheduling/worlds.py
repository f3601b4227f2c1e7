"""Short words for building worlds in tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.domain import Memory, Model, Variant
from core.scheduling.world import Demand, DeviceView, InstanceView, ModelView, World
from core.states import State


def variant(name: str = "v", **memory: int) -> Variant:
    return Variant(name, tuple(memory), dict(memory), Path("x.sh"))


def model(name: str, *variants: Variant, **policy: Any) -> Model:
    chosen = variants or (variant(gpu=10),)
    return Model(name, name, (name,), "Chat", chosen, **policy)


def device(total: int = 16, free: int | None = None, online: bool = True) -> DeviceView:
    return DeviceView(online, total, total if free is None else free)


def instance(
    of: Model,
    state: State = State.READY,
    *,
    leases: int = 0,
    idle_since: float = 0.0,
    counted: bool | None = None,
    reserved: Memory | None = None,
    sleep_memory: Memory | None = None,
    variant: int = 0,
) -> InstanceView:
    chosen = of.variants[variant]
    return InstanceView(
        id=f"{of.name}#1",
        model=of.name,
        variant=chosen,
        state=state,
        reserved=chosen.memory if reserved is None else reserved,
        counted=state not in (State.STARTING, State.WAKING) if counted is None else counted,
        leases=leases,
        idle_since=idle_since,
        sleep_memory=sleep_memory,
    )


def world(
    models: list[Model | ModelView],
    demands: list[str | tuple[str, float]],
    *,
    devices: dict[str, DeviceView] | None,
    instances: list[InstanceView] | None = None,
    now: float = 100.0,
    **more: Any,
) -> World:
    views = [m if isinstance(m, ModelView) else ModelView(m) for m in models]
    line = tuple(
        Demand(n, *((d, now) if isinstance(d, str) else d)) for n, d in enumerate(demands, 1)
    )
    return World(
        now=now,
        models={v.model.name: v for v in views},
        devices=devices,
        instances=tuple(instances or ()),
        demands=line,
        **more,
    )
