"""How much memory is free, and whose idle memory would make room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.domain import Memory
from core.scheduling.world import InstanceView, ModelView, World
from core.states import LEAVING, State


@dataclass(frozen=True, slots=True)
class Free:
    """Free megabytes per online device."""

    now: dict[str, int]
    """What a load may take this instant: the smaller of what the book and the driver say."""
    soon: dict[str, int]
    """The same once the instances that are leaving, and those that just left, have given back."""

    def take(self, need: Memory) -> None:
        """Set `need` aside for a demand, so that a younger one is not offered it."""
        for device, megabytes in need.items():
            self.now[device] = self.now.get(device, 0) - megabytes
            self.soon[device] = self.soon.get(device, 0) - megabytes

    def give_soon(self, gain: Memory) -> None:
        """Count memory whose owner has been told to give it back."""
        for device, megabytes in gain.items():
            self.soon[device] = self.soon.get(device, 0) + megabytes


def free_memory(world: World) -> Free:
    """Book and driver in one number per device.

    The book keeps two loading models from sharing the same megabytes; the driver covers other
    programs and memory that a dead process has not given back yet.
    """
    now: dict[str, int] = {}
    soon: dict[str, int] = {}
    for name, device in (world.devices or {}).items():
        if not device.online:
            continue
        reserved = promised = leaving = 0
        for instance in world.instances:
            megabytes = instance.reserved.get(name, 0)
            reserved += megabytes
            if not instance.counted:
                promised += megabytes
            if instance.state in LEAVING:
                leaving += megabytes
        book = device.total - reserved
        driver = device.measured_free - promised
        now[name] = min(book, driver)
        soon[name] = min(book + leaving, driver + leaving + world.returning.get(name, 0))
    return Free(now, soon)


def shortfall(need: Memory, free: Memory) -> dict[str, int]:
    """Megabytes missing per device; empty = it fits."""
    return {
        device: megabytes - free.get(device, 0)
        for device, megabytes in need.items()
        if megabytes > free.get(device, 0)
    }


def gain(instance: InstanceView, *, stop: bool) -> dict[str, int]:
    """Megabytes that releasing the instance gives back: all, or all but what sleep keeps."""
    if stop or instance.sleep_memory is None or instance.state is State.SLEEPING:
        return dict(instance.reserved)
    return {
        device: megabytes - instance.sleep_memory.get(device, 0)
        for device, megabytes in instance.reserved.items()
    }


@dataclass(frozen=True, slots=True)
class Victim:
    """An instance that would have to give its memory back, and whether sleep is not enough."""

    instance: InstanceView
    stop: bool


def choose_victims(
    need: Memory,
    free: Memory,
    candidates: Iterable[InstanceView],
    models: dict[str, ModelView],
) -> list[Victim]:
    """The fewest, least valuable candidates whose memory makes `need` fit; empty if none would do.

    Value: priority first, then how recently the instance was used. Sleeping is preferred; stopping
    is chosen only when sleep would not free enough.
    """
    ordered = sorted(candidates, key=lambda i: (_priority(i, models), i.leases > 0, i.idle_since))
    for stop in (False, True):
        chosen = _greedy(need, free, ordered, stop=stop)
        if chosen:
            return [Victim(i, stop or i.state is State.SLEEPING) for i in chosen]
    return []


def _priority(instance: InstanceView, models: dict[str, ModelView]) -> int:
    view = models.get(instance.model)
    return view.model.priority if view else 0


def _greedy(
    need: Memory, free: Memory, ordered: list[InstanceView], *, stop: bool
) -> list[InstanceView]:
    left = dict(free)
    chosen: list[InstanceView] = []
    for instance in ordered:
        gap = shortfall(need, left)
        if not gap:
            break
        back = gain(instance, stop=stop)
        if not any(back.get(device, 0) > 0 for device in gap):
            continue
        chosen.append(instance)
        for device, megabytes in back.items():
            left[device] = left.get(device, 0) + megabytes
    if shortfall(need, left):
        return []
    for instance in list(reversed(chosen)):  # spare whoever the later, larger ones made needless
        without = {d: left.get(d, 0) - mb for d, mb in gain(instance, stop=stop).items()}
        if not shortfall(need, {**left, **without}):
            left.update(without)
            chosen.remove(instance)
    return chosen
