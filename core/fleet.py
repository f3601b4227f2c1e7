"""The living instances, and how they look to the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from core.domain import DeviceReading, Model
from core.instance import Instance
from core.record import Record
from core.scheduling.world import Demand, DeviceView, InstanceView, ModelView, World
from core.states import COMING

SETTLE = 10.0
"""Seconds that a driver may take to show the memory of a dead process as free."""
NEARLY_ALL = 0.8
"""Part of the configured memory whose return counts as all of it: configs are estimates."""


@dataclass(frozen=True, slots=True)
class _Returning:
    """Memory that was given back, until the device's reading shows it."""

    device: str
    megabytes: int
    free_before: int
    since: float


class Fleet:
    """At most one living instance per Model."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_model: dict[str, Instance] = {}
        self._by_id: dict[str, Instance] = {}
        self._returning: list[_Returning] = []

    def __iter__(self) -> Iterator[Instance]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, instance: Instance) -> None:
        assert instance.model.name not in self._by_model, f"{instance.model.name} runs already"
        self._by_model[instance.model.name] = instance
        self._by_id[instance.id] = instance

    def remove(self, instance: Instance) -> None:
        del self._by_id[instance.id]
        del self._by_model[instance.model.name]

    def of(self, model: str) -> Instance | None:
        return self._by_model.get(model)

    def by_id(self, id: str) -> Instance | None:
        return self._by_id.get(id)

    def serving(self, model: str) -> Instance | None:
        """The model's instance, if it may grant leases."""
        instance = self._by_model.get(model)
        return instance if instance is not None and instance.serving else None

    def ports(self) -> set[int]:
        return {instance.port for instance in self}

    def forgive_idleness(self, seconds: float) -> None:
        """The machine was suspended: nobody could have used the instances meanwhile."""
        for instance in self:
            instance.idle_since += seconds

    def gives_back(self, instance: Instance, readings: Mapping[str, DeviceReading]) -> None:
        """Expect the driver to show the instance's memory as free before long."""
        for device, megabytes in instance.variant.memory.items():
            kept = instance.reserved.get(device, 0) if instance.sleeping else 0
            if device in readings and megabytes > kept:
                free = readings[device].available_mb
                self._returning.append(_Returning(device, megabytes - kept, free, self._clock()))

    def world(
        self,
        *,
        demands: tuple[Demand, ...],
        models: Mapping[str, Model],
        records: Mapping[str, Record],
        readings: Mapping[str, DeviceReading] | None,
        monitoring: bool,
    ) -> World:
        """Everything the scheduler looks at, as values."""
        now = self._clock()
        return World(
            now=now,
            models={name: _model_view(model, records, now) for name, model in models.items()},
            devices=None if readings is None else {n: _device(r) for n, r in readings.items()},
            instances=tuple(_view(i, readings or {}) for i in self),
            demands=demands,
            returning=self._still_returning(now, readings or {}),
            monitoring=monitoring,
            settle=SETTLE,
        )

    def _still_returning(self, now: float, readings: Mapping[str, DeviceReading]) -> dict[str, int]:
        self._returning = [
            r
            for r in self._returning
            if now - r.since < SETTLE
            and r.device in readings
            and readings[r.device].available_mb < r.free_before + NEARLY_ALL * r.megabytes
        ]
        total: dict[str, int] = {}
        for r in self._returning:
            total[r.device] = total.get(r.device, 0) + r.megabytes
        return total


def _model_view(model: Model, records: Mapping[str, Record], now: float) -> ModelView:
    failure = records[model.name].cooling(now) if model.name in records else None
    return ModelView(model, blocked=failure.reason if failure else None)


def _device(reading: DeviceReading) -> DeviceView:
    return DeviceView(reading.online, reading.total_mb, reading.available_mb)


def _view(instance: Instance, readings: Mapping[str, DeviceReading]) -> InstanceView:
    return InstanceView(
        id=instance.id,
        model=instance.model.name,
        variant=instance.variant,
        state=instance.planned_state,
        reserved=instance.reserved,
        counted=instance.state not in COMING and _read_since(instance, readings),
        leases=instance.leases,
        idle_since=instance.idle_since,
        sleep_memory=instance.sleep_memory,
    )


def _read_since(instance: Instance, readings: Mapping[str, DeviceReading]) -> bool:
    """Every device of the instance was read after it had finished to load."""
    loaded = instance.loaded_at
    return loaded is not None and all(
        readings[device].taken_at > loaded for device in instance.reserved if device in readings
    )
