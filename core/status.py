"""What a user sees of a Model: derived from its instance, its line and its past. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from core.domain import DeviceReading, Failure, Model, ModelStatus
from core.instance import Instance
from core.record import Record
from core.states import State


def model_status(
    model: Model,
    *,
    instance: Instance | None,
    record: Record,
    waiting: int,
    why: str,
    devices: Mapping[str, DeviceReading] | None,
    now: float,
    missing: str | None = None,
) -> ModelStatus:
    """The status at `now`; `devices` is None where devices are not looked at.

    `missing`: the plugin that the model needs and nobody provides, in a sentence.
    """
    state, since = _state(instance, record, waiting, now)
    idle = instance is not None and instance.serving and not instance.leases
    return ModelStatus(
        name=model.name,
        aliases=model.aliases,
        mode=model.interface,
        state=state,
        state_seconds=max(0.0, now - since),
        stage=_stage(instance, why),
        last_line=instance.around.output.last_line if instance else "",
        pending=instance.leases if instance else 0,
        waiting=waiting,
        variant=instance.variant.name if instance else None,
        port=instance.port if instance else None,
        pid=(instance.process.pid or None) if instance and instance.process else None,
        memory_mb=dict(instance.reserved) if instance else {},
        idle_seconds=now - instance.idle_since if instance and idle else 0.0,
        idle_limit=None if model.pinned else model.alive_time,
        starts=record.starts,
        failure=record.failure,
        startable=missing or _obstacle(model, devices),
        usual_load_seconds=record.load_seconds,
        pinned=model.pinned,
    )


def _state(
    instance: Instance | None, record: Record, waiting: int, now: float
) -> tuple[State, float]:
    if instance is not None:
        return instance.planned_state, instance.since
    if waiting:
        return State.STARTING, now  # room is being made for it
    failure: Failure | None = record.failure
    if failure is not None:
        return State.FAILED, failure.at
    return State.STOPPED, now


def _stage(instance: Instance | None, why: str) -> str:
    if instance is not None:
        return instance.stage
    return why


def _obstacle(model: Model, devices: Mapping[str, DeviceReading] | None) -> str | None:
    """Why no variant can be started now, whatever is unloaded; None = one can."""
    reasons = []
    for variant in model.variants:
        missing = [d for d in variant.devices if devices is not None and not _online(devices, d)]
        if not variant.script.is_file():
            reasons.append(f"{variant.name}: the script {variant.script} does not exist")
        elif missing:
            reasons.append(f"{variant.name}: {', '.join(missing)} is offline or unknown")
        else:
            return None
        if devices is None:
            break  # without device checks only the first variant is ever tried
    return "; ".join(reasons)


def _online(devices: Mapping[str, DeviceReading], name: str) -> bool:
    return name in devices and devices[name].online
